#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define SLOTS 6

struct abn_dnnl_primitive {
  dnnl_primitive_t primitive;
  dnnl_primitive_desc_t description;
  pthread_mutex_t turn;
  int32_t slots;
  int32_t role[SLOTS];
  abn_dnnl_descriptor *descriptor[SLOTS];
  size_t scratchpad_bytes;
  char passed_over[64];
  // The used slots, in the form that the library takes; `from` says which pointer each reads.
  int32_t used;
  int32_t from[SLOTS];
  void *handle[SLOTS];
  dnnl_exec_arg_t arguments[SLOTS];
};

static const char *name_of(const_dnnl_primitive_desc_t description) {
  const char *name = NULL;
  dnnl_status_t status =
      dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name);
  return status == dnnl_success && name ? name : "";
}

/// Whether a description's implementation is refused; notes the first that is.
static int is_refused(const_dnnl_primitive_desc_t description, abn_dnnl_choice *choice) {
  const char *name = name_of(description);
  if (!choice->refused || strncmp(name, choice->refused, strlen(choice->refused)) != 0) return 0;
  if (!choice->found[0]) strncpy(choice->found, name, sizeof choice->found - 1);
  return 1;
}

#if ABN_DNNL_3

dnnl_status_t abn_dnnl_choose(dnnl_primitive_desc_t pd, abn_dnnl_choice *choice) {
  dnnl_status_t status = dnnl_success;
  while (status == dnnl_success && is_refused(pd, choice))
    status = dnnl_primitive_desc_next_impl(pd);
  if (status == dnnl_success) return status;
  dnnl_primitive_desc_destroy(pd);
  return status == dnnl_last_impl_reached ? dnnl_unimplemented : status;
}

#else

dnnl_status_t abn_dnnl_choose(
    dnnl_primitive_desc_t *pd, const_dnnl_op_desc_t operation,
    const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
    abn_dnnl_choice *choice) {
  dnnl_primitive_desc_iterator_t all;
  dnnl_status_t status = dnnl_primitive_desc_iterator_create(
      &all, operation, attributes, abn_dnnl_shared()->engine, hint);
  if (status != dnnl_success) return status;
  while (status == dnnl_success) {
    dnnl_primitive_desc_t found = dnnl_primitive_desc_iterator_fetch(all);
    if (!found) {
      status = dnnl_out_of_memory;
    } else if (is_refused(found, choice)) {
      dnnl_primitive_desc_destroy(found);
      status = dnnl_primitive_desc_iterator_next(all);
      if (status == dnnl_iterator_ends) status = dnnl_unimplemented;
    } else {
      *pd = found;
      break;
    }
  }
  dnnl_primitive_desc_iterator_destroy(all);
  return status;
}

#endif

void abn_dnnl_note_choice(abn_dnnl_primitive *primitive, const abn_dnnl_choice *choice) {
  memcpy(primitive->passed_over, choice->found, sizeof choice->found);
}

static int argument_of(int32_t role) {
  switch (role) {
    case ABN_DNNL_SOURCE: return DNNL_ARG_SRC;
    case ABN_DNNL_WEIGHTS: return DNNL_ARG_WEIGHTS;
    case ABN_DNNL_BIAS: return DNNL_ARG_BIAS;
    case ABN_DNNL_DESTINATION: return DNNL_ARG_DST;
    case ABN_DNNL_DIFF_SOURCE: return DNNL_ARG_DIFF_SRC;
    case ABN_DNNL_DIFF_WEIGHTS: return DNNL_ARG_DIFF_WEIGHTS;
    case ABN_DNNL_DIFF_BIAS: return DNNL_ARG_DIFF_BIAS;
    case ABN_DNNL_DIFF_DESTINATION: return DNNL_ARG_DIFF_DST;
    case ABN_DNNL_WORKSPACE: return DNNL_ARG_WORKSPACE;
    default: return DNNL_ARG_SCRATCHPAD;
  }
}

static abn_dnnl_status add_slot(abn_dnnl_primitive *self, int32_t slot) {
  int argument = argument_of(self->role[slot]);
  abn_md md =
      dnnl_primitive_desc_query_md(self->description, dnnl_query_exec_arg_md, argument);
  if (!md) return ABN_DNNL_SUCCESS;
  abn_dnnl_descriptor *descriptor = NULL;
  abn_dnnl_layout layout;
  abn_dnnl_status status = abn_dnnl_descriptor_copy(md, &descriptor);
  if (status != ABN_DNNL_SUCCESS) return status;
  status = abn_dnnl_descriptor_layout(descriptor, &layout);
  // Rank 0 is how the library says that the primitive has no such argument.
  if (status != ABN_DNNL_SUCCESS || layout.rank == 0) {
    abn_dnnl_descriptor_destroy(descriptor);
    return status;
  }
  self->descriptor[slot] = descriptor;
  if (argument == DNNL_ARG_SCRATCHPAD) {
    self->scratchpad_bytes = layout.bytes;
    if (layout.bytes == 0) return ABN_DNNL_SUCCESS;
  }
  dnnl_exec_arg_t *entry = &self->arguments[self->used];
  entry->arg = argument;
  ABN_TRY(dnnl_memory_create(
      &entry->memory, abn_md_of(descriptor), abn_dnnl_shared()->engine,
      DNNL_MEMORY_NONE));
  self->from[self->used] = slot;
  self->used += 1;
  return ABN_DNNL_SUCCESS;
}

/// The library compiles its matrix product, some 7 MiB of code, when it is first asked for one. That
/// belongs to the set-up: a step is to need no memory but what was planned.
static void multiply_once(void) {
  enum { size = 16 };
  float a[size * size] = {0}, b[size * size] = {0}, c[size * size];
  dnnl_sgemm('N', 'N', size, size, size, 1, a, size, b, size, 0, c, size);
}

static pthread_once_t multiplied = PTHREAD_ONCE_INIT;

abn_dnnl_status abn_dnnl_finish(
    dnnl_primitive_desc_t pd, const int32_t *roles, int32_t slots,
    abn_dnnl_primitive **result) {
  abn_dnnl_primitive *self = calloc(1, sizeof *self);
  if (!self) {
    dnnl_primitive_desc_destroy(pd);
    return dnnl_out_of_memory;
  }
  self->description = pd;
  self->slots = slots;
  pthread_mutex_init(&self->turn, NULL);
  abn_dnnl_status status = (abn_dnnl_status)dnnl_primitive_create(&self->primitive, pd);
  for (int32_t slot = 0; slot < slots && status == ABN_DNNL_SUCCESS; ++slot) {
    self->role[slot] = roles[slot];
    status = add_slot(self, slot);
  }
  if (status != ABN_DNNL_SUCCESS) {
    abn_dnnl_primitive_destroy(self);
    return status;
  }
  if (strstr(abn_dnnl_primitive_implementation(self), "gemm"))
    pthread_once(&multiplied, multiply_once);
  *result = self;
  return ABN_DNNL_SUCCESS;
}

void abn_dnnl_primitive_destroy(abn_dnnl_primitive *self) {
  if (!self) return;
  for (int32_t i = 0; i < SLOTS; ++i) {
    if (self->arguments[i].memory) dnnl_memory_destroy(self->arguments[i].memory);
    abn_dnnl_descriptor_destroy(self->descriptor[i]);
  }
  if (self->primitive) dnnl_primitive_destroy(self->primitive);
  dnnl_primitive_desc_destroy(self->description);
  pthread_mutex_destroy(&self->turn);
  free(self);
}

int32_t abn_dnnl_primitive_slots(const abn_dnnl_primitive *self) { return self->slots; }

int32_t abn_dnnl_primitive_role(const abn_dnnl_primitive *self, int32_t slot) {
  return self->role[slot];
}

abn_dnnl_status abn_dnnl_primitive_descriptor(
    const abn_dnnl_primitive *self, int32_t slot, abn_dnnl_descriptor **result) {
  if (slot < 0 || slot >= self->slots) return dnnl_invalid_arguments;
  if (!self->descriptor[slot]) {
    *result = NULL;
    return ABN_DNNL_SUCCESS;
  }
  return abn_dnnl_descriptor_copy(abn_md_of(self->descriptor[slot]), result);
}

size_t abn_dnnl_primitive_scratchpad_bytes(const abn_dnnl_primitive *self) {
  return self->scratchpad_bytes;
}

const char *abn_dnnl_primitive_implementation(const abn_dnnl_primitive *self) {
  return name_of(self->description);
}

const char *abn_dnnl_primitive_passed_over(const abn_dnnl_primitive *self) {
  return self->passed_over;
}

static abn_dnnl_status run(abn_dnnl_primitive *self, void *const *pointers) {
  dnnl_stream_t stream = abn_dnnl_shared()->stream;
  for (int32_t i = 0; i < self->used; ++i) {
    void *pointer = pointers[self->from[i]];
    // 2.x writes zeros into a layout's padding whenever a handle is set, so set only new ones.
    if (pointer == self->handle[i]) continue;
#if ABN_DNNL_3
    ABN_TRY(dnnl_memory_set_data_handle(self->arguments[i].memory, pointer));
#else
    ABN_TRY(dnnl_memory_set_data_handle_v2(self->arguments[i].memory, pointer, stream));
#endif
    self->handle[i] = pointer;
  }
  ABN_TRY(dnnl_primitive_execute(self->primitive, stream, self->used, self->arguments));
  return (abn_dnnl_status)dnnl_stream_wait(stream);
}

abn_dnnl_status abn_dnnl_primitive_execute(abn_dnnl_primitive *self, void *const *pointers) {
  pthread_mutex_lock(&self->turn);
  abn_dnnl_status status = run(self, pointers);
  pthread_mutex_unlock(&self->turn);
  return status;
}
