#include "internal.h"

#include <float.h>
#include <string.h>

static dnnl_alg_kind_t algorithm_of(int32_t algorithm) {
  switch (algorithm) {
    case ABN_DNNL_MAX: return dnnl_pooling_max;
    case ABN_DNNL_AVERAGE_INCLUDING_PADDING: return dnnl_pooling_avg_include_padding;
    default: return dnnl_pooling_avg_exclude_padding;
  }
}

typedef struct {
  dnnl_dims_t strides, kernel, dilations, low, high;
} window;

static abn_dnnl_status make_window(
    const abn_dnnl_descriptor *source, const int64_t *strides, const int64_t *kernel,
    const int64_t *low, const int64_t *high, window *result) {
  abn_dnnl_layout layout;
  abn_dnnl_status status = abn_dnnl_descriptor_layout(source, &layout);
  if (status != ABN_DNNL_SUCCESS) return status;
  if (layout.rank < 3 || layout.rank > 5) return dnnl_invalid_arguments;
  for (int32_t i = 0; i < layout.rank - 2; ++i) {
    result->strides[i] = strides[i];
    result->kernel[i] = kernel[i];
    result->dilations[i] = 0;
    result->low[i] = low[i];
    result->high[i] = high[i];
  }
  return ABN_DNNL_SUCCESS;
}

static dnnl_status_t describe_forward(
    dnnl_primitive_desc_t *pd, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm, abn_md source,
    abn_md destination, const window *w) {
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return shared->status;
#if ABN_DNNL_3
  return dnnl_pooling_forward_primitive_desc_create(
      pd, shared->engine, kind, algorithm, source, destination, w->strides, w->kernel,
      w->dilations, w->low, w->high, shared->attributes);
#else
  dnnl_pooling_desc_t operation;
  dnnl_status_t status = dnnl_pooling_forward_desc_init(
      &operation, kind, algorithm, source, destination, w->strides, w->kernel, w->low,
      w->high);
  if (status != dnnl_success) return status;
  return dnnl_primitive_desc_create(
      pd, &operation, shared->attributes, shared->engine, NULL);
#endif
}

abn_dnnl_status abn_dnnl_pooling_forward(
    int32_t training, int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *destination, const int64_t *strides, const int64_t *kernel,
    const int64_t *padding_low, const int64_t *padding_high, abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_SOURCE, ABN_DNNL_DESTINATION, ABN_DNNL_WORKSPACE, ABN_DNNL_SCRATCHPAD};
  window w;
  abn_dnnl_status status =
      make_window(source, strides, kernel, padding_low, padding_high, &w);
  if (status != ABN_DNNL_SUCCESS) return status;
  dnnl_primitive_desc_t pd = NULL;
  ABN_TRY(describe_forward(
      &pd, training ? dnnl_forward_training : dnnl_forward_inference, algorithm_of(algorithm),
      abn_md_of(source), abn_md_of(destination), &w));
  return abn_dnnl_finish(pd, roles, 4, result);
}

abn_dnnl_status abn_dnnl_pooling_backward(
    int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *destination, const abn_dnnl_descriptor *diff_source,
    const abn_dnnl_descriptor *diff_destination, const int64_t *strides,
    const int64_t *kernel, const int64_t *padding_low, const int64_t *padding_high,
    abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_DIFF_DESTINATION, ABN_DNNL_WORKSPACE, ABN_DNNL_DIFF_SOURCE,
      ABN_DNNL_SCRATCHPAD};
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return (abn_dnnl_status)shared->status;
  window w;
  abn_dnnl_status checked =
      make_window(source, strides, kernel, padding_low, padding_high, &w);
  if (checked != ABN_DNNL_SUCCESS) return checked;
  dnnl_alg_kind_t kind = algorithm_of(algorithm);
  dnnl_primitive_desc_t forward = NULL;
  ABN_TRY(describe_forward(
      &forward, dnnl_forward_training, kind, abn_md_of(source), abn_md_of(destination), &w));
  dnnl_primitive_desc_t pd = NULL;
  dnnl_status_t status;
#if ABN_DNNL_3
  status = dnnl_pooling_backward_primitive_desc_create(
      &pd, shared->engine, kind, abn_md_of(diff_source), abn_md_of(diff_destination),
      w.strides, w.kernel, w.dilations, w.low, w.high, forward, shared->attributes);
#else
  dnnl_pooling_desc_t operation;
  status = dnnl_pooling_backward_desc_init(
      &operation, kind, abn_md_of(diff_source), abn_md_of(diff_destination), w.strides,
      w.kernel, w.low, w.high);
  if (status == dnnl_success)
    status = dnnl_primitive_desc_create(
        &pd, &operation, shared->attributes, shared->engine, forward);
#endif
  dnnl_primitive_desc_destroy(forward);
  ABN_TRY(status);
  return abn_dnnl_finish(pd, roles, 4, result);
}

// Vectors by hand, so that an unoptimized build is fast enough too.
typedef float lanes __attribute__((vector_size(64)));
typedef int32_t flags __attribute__((vector_size(64)));

static inline lanes loaded(const float *x) {
  lanes v;
  memcpy(&v, x, sizeof v);
  return v;
}

/// Whether no lane is set.
static int32_t none(flags bad) {
  int32_t any = 0;
  for (int i = 0; i < 16; ++i) any |= bad[i];
  return any == 0;
}

int32_t abn_dnnl_all_above_lowest(const float *x, int64_t count) {
  const lanes lowest = (lanes){0} - FLT_MAX;
  flags bad = {0};
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) bad |= ~(loaded(x + i) > lowest);
  for (; i < count; ++i) bad[0] |= x[i] > -FLT_MAX ? 0 : -1;
  return none(bad);
}

int32_t abn_dnnl_all_finite(const float *x, int64_t count) {
  const lanes zero = {0};
  flags bad = {0};
  int64_t i = 0;
  // Infinity less itself, and NaN, are not 0.
  for (; i + 16 <= count; i += 16) {
    const lanes v = loaded(x + i);
    bad |= ~((v - v) == zero);
  }
  for (; i < count; ++i) bad[0] |= x[i] - x[i] == 0 ? 0 : -1;
  return none(bad);
}
