#ifndef ABN_DNNL_LIBRARY_H
#define ABN_DNNL_LIBRARY_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

#if DNNL_VERSION_MAJOR < 2 || DNNL_VERSION_MAJOR > 3
#error "oneDNN 2.x or 3.x is needed"
#endif

// oneDNN is loaded when the process starts, not linked: it brings libgomp, which CParallel has to load
// first. Every function of it that the shim calls stands here once; one that does not is an undefined
// symbol when a program is linked.

#define ABN_DNNL_COMMON(F)               \
  F(dnnl_engine_create)                  \
  F(dnnl_memory_create)                  \
  F(dnnl_memory_desc_equal)              \
  F(dnnl_memory_desc_get_size)           \
  F(dnnl_memory_destroy)                 \
  F(dnnl_post_ops_append_eltwise)        \
  F(dnnl_post_ops_append_sum)            \
  F(dnnl_post_ops_create)                \
  F(dnnl_post_ops_destroy)               \
  F(dnnl_primitive_attr_create)          \
  F(dnnl_primitive_attr_destroy)         \
  F(dnnl_primitive_attr_set_post_ops)    \
  F(dnnl_primitive_attr_set_scratchpad_mode) \
  F(dnnl_primitive_create)               \
  F(dnnl_primitive_desc_destroy)         \
  F(dnnl_primitive_desc_query)           \
  F(dnnl_primitive_desc_query_md)        \
  F(dnnl_primitive_destroy)              \
  F(dnnl_primitive_execute)              \
  F(dnnl_reorder_primitive_desc_create)  \
  F(dnnl_sgemm)                          \
  F(dnnl_stream_create)                  \
  F(dnnl_stream_wait)                    \
  F(dnnl_version)

#if DNNL_VERSION_MAJOR >= 3
#define ABN_DNNL_FUNCTIONS(F)                                \
  ABN_DNNL_COMMON(F)                                         \
  F(dnnl_convolution_backward_data_primitive_desc_create)    \
  F(dnnl_convolution_backward_weights_primitive_desc_create) \
  F(dnnl_convolution_forward_primitive_desc_create)          \
  F(dnnl_matmul_primitive_desc_create)                       \
  F(dnnl_memory_desc_clone)                                  \
  F(dnnl_memory_desc_create_with_strides)                    \
  F(dnnl_memory_desc_create_with_tag)                        \
  F(dnnl_memory_desc_destroy)                                \
  F(dnnl_memory_desc_query)                                  \
  F(dnnl_memory_set_data_handle)                             \
  F(dnnl_pooling_backward_primitive_desc_create)             \
  F(dnnl_pooling_forward_primitive_desc_create)              \
  F(dnnl_primitive_desc_next_impl)
#else
#define ABN_DNNL_FUNCTIONS(F)                            \
  ABN_DNNL_COMMON(F)                                     \
  F(dnnl_dilated_convolution_backward_data_desc_init)    \
  F(dnnl_dilated_convolution_backward_weights_desc_init) \
  F(dnnl_dilated_convolution_forward_desc_init)          \
  F(dnnl_matmul_desc_init)                               \
  F(dnnl_memory_desc_init_by_strides)                    \
  F(dnnl_memory_desc_init_by_tag)                        \
  F(dnnl_memory_set_data_handle_v2)                      \
  F(dnnl_pooling_backward_desc_init)                     \
  F(dnnl_pooling_forward_desc_init)                      \
  F(dnnl_primitive_desc_create)                          \
  F(dnnl_primitive_desc_iterator_create)                 \
  F(dnnl_primitive_desc_iterator_destroy)                \
  F(dnnl_primitive_desc_iterator_fetch)                  \
  F(dnnl_primitive_desc_iterator_next)
#endif

typedef struct {
  /// Why the library cannot be used; NULL where it can.
  const char *failure;
#define ABN_DNNL_FIELD(name) __typeof__(name) *name##_pointer;
  ABN_DNNL_FUNCTIONS(ABN_DNNL_FIELD)
#undef ABN_DNNL_FIELD
} abn_dnnl_functions;

/// The functions as they were found.
extern abn_dnnl_functions abn_dnnl_library;

#endif
