#include <stdlib.h>
#include <string.h>

#include "internal.h"

static dnnl_data_type_t data_type(int32_t type) {
  switch (type) {
    case ABN_DNNL_F16: return dnnl_f16;
    case ABN_DNNL_BF16: return dnnl_bf16;
    case ABN_DNNL_F32: return dnnl_f32;
    case ABN_DNNL_S32: return dnnl_s32;
    case ABN_DNNL_S8: return dnnl_s8;
    case ABN_DNNL_U8: return dnnl_u8;
#if ABN_DNNL_3
    case ABN_DNNL_F64: return dnnl_f64;
#endif
    default: return dnnl_data_type_undef;
  }
}

static int32_t type_of(dnnl_data_type_t type) {
  switch (type) {
    case dnnl_f16: return ABN_DNNL_F16;
    case dnnl_bf16: return ABN_DNNL_BF16;
    case dnnl_f32: return ABN_DNNL_F32;
    case dnnl_s32: return ABN_DNNL_S32;
    case dnnl_s8: return ABN_DNNL_S8;
    case dnnl_u8: return ABN_DNNL_U8;
#if ABN_DNNL_3
    case dnnl_f64: return ABN_DNNL_F64;
#endif
    default: return ABN_DNNL_OTHER_TYPE;
  }
}

/// The tag of a format at a rank; dnnl_format_tag_undef where there is none.
static dnnl_format_tag_t tag(int32_t format, int32_t rank) {
  static const dnnl_format_tag_t plain[] = {
      dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde, dnnl_abcdef};
  static const dnnl_format_tag_t last[] = {dnnl_ab, dnnl_acb, dnnl_acdb, dnnl_acdeb};
  static const dnnl_format_tag_t blocked8[] = {dnnl_aBc8b, dnnl_aBcd8b, dnnl_aBcde8b};
  static const dnnl_format_tag_t blocked16[] = {dnnl_aBc16b, dnnl_aBcd16b, dnnl_aBcde16b};
  switch (format) {
    case ABN_DNNL_ANY: return dnnl_format_tag_any;
    case ABN_DNNL_PLAIN:
      return rank >= 1 && rank <= 6 ? plain[rank - 1] : dnnl_format_tag_undef;
    case ABN_DNNL_CHANNELS_LAST:
      return rank >= 2 && rank <= 5 ? last[rank - 2] : dnnl_format_tag_undef;
    case ABN_DNNL_BLOCKED8:
      return rank >= 3 && rank <= 5 ? blocked8[rank - 3] : dnnl_format_tag_undef;
    case ABN_DNNL_BLOCKED16:
      return rank >= 3 && rank <= 5 ? blocked16[rank - 3] : dnnl_format_tag_undef;
    default: return dnnl_format_tag_undef;
  }
}

static dnnl_status_t fill(
    abn_dnnl_descriptor *target, int32_t rank, const dnnl_dims_t dims, dnnl_data_type_t type,
    dnnl_format_tag_t format, const int64_t *strides) {
  dnnl_dims_t steps = {0};
  if (strides) memcpy(steps, strides, (size_t)rank * sizeof(int64_t));
#if ABN_DNNL_3
  return strides ? dnnl_memory_desc_create_with_strides(&target->md, rank, dims, type, steps)
                 : dnnl_memory_desc_create_with_tag(&target->md, rank, dims, type, format);
#else
  return strides ? dnnl_memory_desc_init_by_strides(&target->md, rank, dims, type, steps)
                 : dnnl_memory_desc_init_by_tag(&target->md, rank, dims, type, format);
#endif
}

abn_dnnl_status abn_dnnl_descriptor_create(
    int32_t rank, const int64_t *dims, int32_t type, int32_t format, const int64_t *strides,
    abn_dnnl_descriptor **result) {
  if (abn_dnnl_library.failure) return ABN_DNNL_NO_LIBRARY;
  if (rank < 1 || rank > ABN_DNNL_MAX_RANK || rank > DNNL_MAX_NDIMS)
    return dnnl_invalid_arguments;
  int strided = format == ABN_DNNL_STRIDED;
  dnnl_data_type_t element = data_type(type);
  dnnl_format_tag_t layout = strided ? dnnl_format_tag_undef : tag(format, rank);
  if (element == dnnl_data_type_undef) return dnnl_unimplemented;
  if (strided ? !strides : layout == dnnl_format_tag_undef) return dnnl_invalid_arguments;
  dnnl_dims_t sizes = {0};
  memcpy(sizes, dims, (size_t)rank * sizeof(int64_t));
  abn_dnnl_descriptor *made = calloc(1, sizeof *made);
  if (!made) return dnnl_out_of_memory;
  dnnl_status_t status = fill(made, rank, sizes, element, layout, strided ? strides : NULL);
  if (status != dnnl_success) {
    free(made);
    return (abn_dnnl_status)status;
  }
  *result = made;
  return ABN_DNNL_SUCCESS;
}

void abn_dnnl_descriptor_destroy(abn_dnnl_descriptor *descriptor) {
  if (!descriptor) return;
#if ABN_DNNL_3
  dnnl_memory_desc_destroy(descriptor->md);
#endif
  free(descriptor);
}

abn_dnnl_status abn_dnnl_descriptor_copy(abn_md md, abn_dnnl_descriptor **result) {
  abn_dnnl_descriptor *made = calloc(1, sizeof *made);
  if (!made) return dnnl_out_of_memory;
#if ABN_DNNL_3
  dnnl_status_t status = dnnl_memory_desc_clone(&made->md, md);
  if (status != dnnl_success) {
    free(made);
    return (abn_dnnl_status)status;
  }
#else
  made->md = *md;
#endif
  *result = made;
  return ABN_DNNL_SUCCESS;
}

abn_dnnl_status abn_dnnl_descriptor_any(
    const abn_dnnl_descriptor *like, int32_t type, abn_dnnl_descriptor **result) {
  abn_dnnl_layout layout;
  abn_dnnl_status status = abn_dnnl_descriptor_layout(like, &layout);
  if (status != ABN_DNNL_SUCCESS) return status;
  return abn_dnnl_descriptor_create(
      layout.rank, layout.dims, type, ABN_DNNL_ANY, NULL, result);
}

int32_t abn_dnnl_descriptor_equal(
    const abn_dnnl_descriptor *left, const abn_dnnl_descriptor *right) {
  return dnnl_memory_desc_equal(abn_md_of(left), abn_md_of(right));
}

#if ABN_DNNL_3

static dnnl_status_t read_dims(abn_md md, dnnl_query_t what, int count, int64_t *into) {
  const dnnl_dims_t *found = NULL;
  dnnl_status_t status = dnnl_memory_desc_query(md, what, &found);
  if (status == dnnl_success) memcpy(into, *found, (size_t)count * sizeof(int64_t));
  return status;
}

abn_dnnl_status abn_dnnl_descriptor_layout(
    const abn_dnnl_descriptor *descriptor, abn_dnnl_layout *layout) {
  abn_md md = descriptor->md;
  memset(layout, 0, sizeof *layout);
  int rank = 0, blocks = 0;
  dnnl_data_type_t type;
  dnnl_format_kind_t kind;
  ABN_TRY(dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank));
  layout->rank = rank;
  if (rank == 0) return ABN_DNNL_SUCCESS;
  ABN_TRY(dnnl_memory_desc_query(md, dnnl_query_data_type, &type));
  ABN_TRY(dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind));
  ABN_TRY(read_dims(md, dnnl_query_dims, rank, layout->dims));
  layout->type = type_of(type);
  layout->is_any = kind == dnnl_format_kind_any;
  if (layout->is_any) return ABN_DNNL_SUCCESS;
  layout->bytes = dnnl_memory_desc_get_size(md);
  ABN_TRY(read_dims(md, dnnl_query_padded_dims, rank, layout->padded_dims));
  if (kind != dnnl_blocked) return ABN_DNNL_SUCCESS;
  ABN_TRY(read_dims(md, dnnl_query_strides, rank, layout->strides));
  ABN_TRY(dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &layout->offset));
  ABN_TRY(dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks));
  layout->inner_blocks = blocks;
  if (blocks > 0) {
    ABN_TRY(read_dims(md, dnnl_query_inner_blks, blocks, layout->inner_sizes));
    ABN_TRY(read_dims(md, dnnl_query_inner_idxs, blocks, layout->inner_axes));
  }
  layout->is_blocked = 1;
  return ABN_DNNL_SUCCESS;
}

#else

abn_dnnl_status abn_dnnl_descriptor_layout(
    const abn_dnnl_descriptor *descriptor, abn_dnnl_layout *layout) {
  const dnnl_memory_desc_t *md = &descriptor->md;
  memset(layout, 0, sizeof *layout);
  layout->rank = md->ndims;
  if (md->ndims == 0) return ABN_DNNL_SUCCESS;
  size_t bytes = (size_t)md->ndims * sizeof(int64_t);
  layout->type = type_of(md->data_type);
  memcpy(layout->dims, md->dims, bytes);
  layout->is_any = md->format_kind == dnnl_format_kind_any;
  if (layout->is_any) return ABN_DNNL_SUCCESS;
  layout->bytes = dnnl_memory_desc_get_size(md);
  memcpy(layout->padded_dims, md->padded_dims, bytes);
  if (md->format_kind != dnnl_blocked) return ABN_DNNL_SUCCESS;
  const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
  size_t inner = (size_t)blocking->inner_nblks * sizeof(int64_t);
  memcpy(layout->strides, blocking->strides, bytes);
  layout->offset = md->offset0;
  layout->inner_blocks = blocking->inner_nblks;
  memcpy(layout->inner_sizes, blocking->inner_blks, inner);
  memcpy(layout->inner_axes, blocking->inner_idxs, inner);
  layout->is_blocked = md->extra.flags == 0;
  return ABN_DNNL_SUCCESS;
}

#endif
