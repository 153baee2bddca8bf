#define _GNU_SOURCE
#include "library.h"

#include <dlfcn.h>
#include <stdio.h>

abn_dnnl_functions abn_dnnl_library;

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

/// The library of the headers' own version: another one's structures are different.
static const char name[] = "libdnnl.so." TEXT(DNNL_VERSION_MAJOR);

static char failure[512];

static void fail(const char *what) {
  snprintf(failure, sizeof failure, "%s", what ? what : "an unknown error");
  abn_dnnl_library.failure = failure;
}

/// After CParallel's constructor, which loads the OpenMP library, and before `main`.
__attribute__((constructor(102))) static void load(void) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fail(dlerror());
    return;
  }
#define ABN_DNNL_FIND(function)                                                    \
  *(void **)&abn_dnnl_library.function##_pointer = dlsym(library, #function);      \
  if (!abn_dnnl_library.function##_pointer) fail(dlerror());
  ABN_DNNL_FUNCTIONS(ABN_DNNL_FIND)
}
