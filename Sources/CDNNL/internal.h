#ifndef ABN_DNNL_INTERNAL_H
#define ABN_DNNL_INTERNAL_H

#include "abn_dnnl.h"
#include "library.h"

// A call by a function's own name goes through the table.
#define dnnl_convolution_backward_data_primitive_desc_create abn_dnnl_library.dnnl_convolution_backward_data_primitive_desc_create_pointer
#define dnnl_convolution_backward_weights_primitive_desc_create abn_dnnl_library.dnnl_convolution_backward_weights_primitive_desc_create_pointer
#define dnnl_convolution_forward_primitive_desc_create abn_dnnl_library.dnnl_convolution_forward_primitive_desc_create_pointer
#define dnnl_dilated_convolution_backward_data_desc_init abn_dnnl_library.dnnl_dilated_convolution_backward_data_desc_init_pointer
#define dnnl_dilated_convolution_backward_weights_desc_init abn_dnnl_library.dnnl_dilated_convolution_backward_weights_desc_init_pointer
#define dnnl_dilated_convolution_forward_desc_init abn_dnnl_library.dnnl_dilated_convolution_forward_desc_init_pointer
#define dnnl_engine_create abn_dnnl_library.dnnl_engine_create_pointer
#define dnnl_matmul_desc_init abn_dnnl_library.dnnl_matmul_desc_init_pointer
#define dnnl_matmul_primitive_desc_create abn_dnnl_library.dnnl_matmul_primitive_desc_create_pointer
#define dnnl_memory_create abn_dnnl_library.dnnl_memory_create_pointer
#define dnnl_memory_desc_clone abn_dnnl_library.dnnl_memory_desc_clone_pointer
#define dnnl_memory_desc_create_with_strides abn_dnnl_library.dnnl_memory_desc_create_with_strides_pointer
#define dnnl_memory_desc_create_with_tag abn_dnnl_library.dnnl_memory_desc_create_with_tag_pointer
#define dnnl_memory_desc_destroy abn_dnnl_library.dnnl_memory_desc_destroy_pointer
#define dnnl_memory_desc_equal abn_dnnl_library.dnnl_memory_desc_equal_pointer
#define dnnl_memory_desc_get_size abn_dnnl_library.dnnl_memory_desc_get_size_pointer
#define dnnl_memory_desc_init_by_strides abn_dnnl_library.dnnl_memory_desc_init_by_strides_pointer
#define dnnl_memory_desc_init_by_tag abn_dnnl_library.dnnl_memory_desc_init_by_tag_pointer
#define dnnl_memory_desc_query abn_dnnl_library.dnnl_memory_desc_query_pointer
#define dnnl_memory_destroy abn_dnnl_library.dnnl_memory_destroy_pointer
#define dnnl_memory_set_data_handle abn_dnnl_library.dnnl_memory_set_data_handle_pointer
#define dnnl_memory_set_data_handle_v2 abn_dnnl_library.dnnl_memory_set_data_handle_v2_pointer
#define dnnl_pooling_backward_desc_init abn_dnnl_library.dnnl_pooling_backward_desc_init_pointer
#define dnnl_pooling_backward_primitive_desc_create abn_dnnl_library.dnnl_pooling_backward_primitive_desc_create_pointer
#define dnnl_pooling_forward_desc_init abn_dnnl_library.dnnl_pooling_forward_desc_init_pointer
#define dnnl_pooling_forward_primitive_desc_create abn_dnnl_library.dnnl_pooling_forward_primitive_desc_create_pointer
#define dnnl_post_ops_append_eltwise abn_dnnl_library.dnnl_post_ops_append_eltwise_pointer
#define dnnl_post_ops_append_sum abn_dnnl_library.dnnl_post_ops_append_sum_pointer
#define dnnl_post_ops_create abn_dnnl_library.dnnl_post_ops_create_pointer
#define dnnl_post_ops_destroy abn_dnnl_library.dnnl_post_ops_destroy_pointer
#define dnnl_primitive_attr_create abn_dnnl_library.dnnl_primitive_attr_create_pointer
#define dnnl_primitive_attr_destroy abn_dnnl_library.dnnl_primitive_attr_destroy_pointer
#define dnnl_primitive_attr_set_post_ops abn_dnnl_library.dnnl_primitive_attr_set_post_ops_pointer
#define dnnl_primitive_attr_set_scratchpad_mode abn_dnnl_library.dnnl_primitive_attr_set_scratchpad_mode_pointer
#define dnnl_primitive_create abn_dnnl_library.dnnl_primitive_create_pointer
#define dnnl_primitive_desc_create abn_dnnl_library.dnnl_primitive_desc_create_pointer
#define dnnl_primitive_desc_destroy abn_dnnl_library.dnnl_primitive_desc_destroy_pointer
#define dnnl_primitive_desc_iterator_create abn_dnnl_library.dnnl_primitive_desc_iterator_create_pointer
#define dnnl_primitive_desc_iterator_destroy abn_dnnl_library.dnnl_primitive_desc_iterator_destroy_pointer
#define dnnl_primitive_desc_iterator_fetch abn_dnnl_library.dnnl_primitive_desc_iterator_fetch_pointer
#define dnnl_primitive_desc_iterator_next abn_dnnl_library.dnnl_primitive_desc_iterator_next_pointer
#define dnnl_primitive_desc_next_impl abn_dnnl_library.dnnl_primitive_desc_next_impl_pointer
#define dnnl_primitive_desc_query abn_dnnl_library.dnnl_primitive_desc_query_pointer
#define dnnl_primitive_desc_query_md abn_dnnl_library.dnnl_primitive_desc_query_md_pointer
#define dnnl_primitive_destroy abn_dnnl_library.dnnl_primitive_destroy_pointer
#define dnnl_primitive_execute abn_dnnl_library.dnnl_primitive_execute_pointer
#define dnnl_reorder_primitive_desc_create abn_dnnl_library.dnnl_reorder_primitive_desc_create_pointer
#define dnnl_sgemm abn_dnnl_library.dnnl_sgemm_pointer
#define dnnl_stream_create abn_dnnl_library.dnnl_stream_create_pointer
#define dnnl_stream_wait abn_dnnl_library.dnnl_stream_wait_pointer
#define dnnl_version abn_dnnl_library.dnnl_version_pointer

// 3.x made memory descriptors opaque and reference them by pointer; 2.x passes a pointer to a
// plain structure. `abn_md` is what either takes as an argument.
#if DNNL_VERSION_MAJOR >= 3
#define ABN_DNNL_3 1
typedef const_dnnl_memory_desc_t abn_md;
struct abn_dnnl_descriptor {
  dnnl_memory_desc_t md;
};
static inline abn_md abn_md_of(const abn_dnnl_descriptor *descriptor) {
  return descriptor ? descriptor->md : NULL;
}
#else
#define ABN_DNNL_3 0
typedef const dnnl_memory_desc_t *abn_md;
struct abn_dnnl_descriptor {
  dnnl_memory_desc_t md;
};
static inline abn_md abn_md_of(const abn_dnnl_descriptor *descriptor) {
  return descriptor ? &descriptor->md : NULL;
}
#endif

#define ABN_TRY(call)                              \
  do {                                             \
    dnnl_status_t abn_try_status = (call);         \
    if (abn_try_status != dnnl_success)            \
      return (abn_dnnl_status)abn_try_status;      \
  } while (0)

/// The one engine, stream and attributes of the process, made at the first use.
typedef struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attributes;
  abn_dnnl_status status;
} abn_dnnl_context;

const abn_dnnl_context *abn_dnnl_shared(void);

/// A new descriptor with a copy of `md`.
abn_dnnl_status abn_dnnl_descriptor_copy(abn_md md, abn_dnnl_descriptor **result);
/// A new descriptor with the dimensions of `like`, another element type and a layout to choose.
abn_dnnl_status abn_dnnl_descriptor_any(
    const abn_dnnl_descriptor *like, int32_t type, abn_dnnl_descriptor **result);

/// The implementation that was passed over because of its name.
typedef struct {
  /// NULL or the beginning of the names that are refused.
  const char *refused;
  /// The first name that was; empty where there was none.
  char found[64];
} abn_dnnl_choice;

/// Describes a primitive by its first implementation whose name does not begin with
/// `choice->refused`.
#if ABN_DNNL_3
/// `pd` has its first implementation and is destroyed where the call fails.
dnnl_status_t abn_dnnl_choose(dnnl_primitive_desc_t pd, abn_dnnl_choice *choice);
#else
dnnl_status_t abn_dnnl_choose(
    dnnl_primitive_desc_t *pd, const_dnnl_op_desc_t operation,
    const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
    abn_dnnl_choice *choice);
#endif

/// Tells a primitive which implementation its choice passed over.
void abn_dnnl_note_choice(abn_dnnl_primitive *primitive, const abn_dnnl_choice *choice);

/// Makes the primitive of `pd`, which it takes over in every case; `roles` are its slots.
abn_dnnl_status abn_dnnl_finish(
    dnnl_primitive_desc_t pd, const int32_t *roles, int32_t slots, abn_dnnl_primitive **result);

#endif
