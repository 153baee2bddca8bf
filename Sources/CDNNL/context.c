#include <pthread.h>

#include "internal.h"

static abn_dnnl_context shared;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static abn_dnnl_status make_shared(void) {
  if (abn_dnnl_library.failure) return ABN_DNNL_NO_LIBRARY;
  dnnl_status_t status = dnnl_engine_create(&shared.engine, dnnl_cpu, 0);
  if (status != dnnl_success) return status;
  status = dnnl_stream_create(&shared.stream, shared.engine, dnnl_stream_default_flags);
  if (status != dnnl_success) return status;
  status = dnnl_primitive_attr_create(&shared.attributes);
  if (status != dnnl_success) return status;
  return dnnl_primitive_attr_set_scratchpad_mode(shared.attributes, dnnl_scratchpad_mode_user);
}

static void make_once(void) { shared.status = make_shared(); }

const abn_dnnl_context *abn_dnnl_shared(void) {
  pthread_once(&once, make_once);
  return &shared;
}

void abn_dnnl_version(int32_t version[3], int32_t compiled[3]) {
  if (version) {
    static const dnnl_version_t none = {0};
    const dnnl_version_t *running = abn_dnnl_library.failure ? &none : dnnl_version();
    version[0] = running->major;
    version[1] = running->minor;
    version[2] = running->patch;
  }
  if (compiled) {
    compiled[0] = DNNL_VERSION_MAJOR;
    compiled[1] = DNNL_VERSION_MINOR;
    compiled[2] = DNNL_VERSION_PATCH;
  }
}

const char *abn_dnnl_load_failure(void) { return abn_dnnl_library.failure; }

const char *abn_dnnl_status_name(abn_dnnl_status status) {
  switch (status) {
    case ABN_DNNL_NO_LIBRARY: return "no_library";
    case dnnl_success: return "success";
    case dnnl_out_of_memory: return "out_of_memory";
    case dnnl_invalid_arguments: return "invalid_arguments";
    case dnnl_unimplemented: return "unimplemented";
    case dnnl_runtime_error: return "runtime_error";
    case dnnl_not_required: return "not_required";
    default: return "unknown";
  }
}
