#include "abn_test_support.h"
#include <unistd.h>

int abn_test_fork(void) { return fork(); }
