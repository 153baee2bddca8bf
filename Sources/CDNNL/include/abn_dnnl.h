#ifndef ABN_DNNL_H
#define ABN_DNNL_H
#include <stdint.h>
const char *abn_dnnl_version(void);
#endif
