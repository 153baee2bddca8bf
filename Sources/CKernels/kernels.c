// The headers are all there is; a target needs a file to compile.
#include "flat_call.h"
#include "kernel_call.h"
#include "prefetch.h"
