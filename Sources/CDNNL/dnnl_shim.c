#include "abn_dnnl.h"
#include <oneapi/dnnl/dnnl.h>
const char *abn_dnnl_version(void) { return dnnl_version()->hash; }
