#include "internal.h"

/// The numbers of a window as oneDNN wants them: a dilation of 0 is a dense kernel there.
typedef struct {
  dnnl_dims_t strides, dilations, low, high;
} window;

static abn_dnnl_status make_window(
    const abn_dnnl_descriptor *source, const int64_t *strides, const int64_t *dilations,
    const int64_t *low, const int64_t *high, window *result) {
  abn_dnnl_layout layout;
  abn_dnnl_status status = abn_dnnl_descriptor_layout(source, &layout);
  if (status != ABN_DNNL_SUCCESS) return status;
  if (layout.rank < 3 || layout.rank > 5) return dnnl_invalid_arguments;
  for (int32_t i = 0; i < layout.rank - 2; ++i) {
    result->strides[i] = strides[i];
    result->dilations[i] = dilations[i] - 1;
    result->low[i] = low[i];
    result->high[i] = high[i];
  }
  return ABN_DNNL_SUCCESS;
}

static dnnl_alg_kind_t algorithm_of(int32_t algorithm) {
  return algorithm == ABN_DNNL_AUTO ? dnnl_convolution_auto : dnnl_convolution_direct;
}

static dnnl_status_t describe_forward(
    dnnl_primitive_desc_t *pd, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm, abn_md source,
    abn_md weights, abn_md bias, abn_md destination, const window *w) {
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return shared->status;
#if ABN_DNNL_3
  return dnnl_convolution_forward_primitive_desc_create(
      pd, shared->engine, kind, algorithm, source, weights, bias, destination, w->strides,
      w->dilations, w->low, w->high, shared->attributes);
#else
  dnnl_convolution_desc_t operation;
  dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
      &operation, kind, algorithm, source, weights, bias, destination, w->strides,
      w->dilations, w->low, w->high);
  if (status != dnnl_success) return status;
  return dnnl_primitive_desc_create(
      pd, &operation, shared->attributes, shared->engine, NULL);
#endif
}

/// A forward description for a backward one to lean on, layouts left open; NULL where the element
/// types have no forward convolution, which the library accepts as "no hint".
static dnnl_primitive_desc_t hint(
    dnnl_alg_kind_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *destination,
    const window *w) {
  dnnl_primitive_desc_t pd = NULL;
  abn_dnnl_descriptor *any[3] = {NULL, NULL, NULL};
  const abn_dnnl_descriptor *given[3] = {source, weights, destination};
  int made = 1;
  for (int i = 0; i < 3; ++i) {
    abn_dnnl_layout layout;
    made = made && abn_dnnl_descriptor_layout(given[i], &layout) == ABN_DNNL_SUCCESS &&
           abn_dnnl_descriptor_any(given[i], layout.type, &any[i]) == ABN_DNNL_SUCCESS;
  }
  if (made && describe_forward(
                  &pd, dnnl_forward_training, algorithm, abn_md_of(any[0]), abn_md_of(any[1]),
                  NULL, abn_md_of(any[2]), w) != dnnl_success)
    pd = NULL;
  for (int i = 0; i < 3; ++i) abn_dnnl_descriptor_destroy(any[i]);
  return pd;
}

abn_dnnl_status abn_dnnl_convolution_forward(
    int32_t training, int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *bias,
    const abn_dnnl_descriptor *destination, const int64_t *strides, const int64_t *dilations,
    const int64_t *padding_low, const int64_t *padding_high, abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_SOURCE, ABN_DNNL_WEIGHTS, ABN_DNNL_BIAS, ABN_DNNL_DESTINATION,
      ABN_DNNL_SCRATCHPAD};
  window w;
  abn_dnnl_status status =
      make_window(source, strides, dilations, padding_low, padding_high, &w);
  if (status != ABN_DNNL_SUCCESS) return status;
  dnnl_primitive_desc_t pd = NULL;
  ABN_TRY(describe_forward(
      &pd, training ? dnnl_forward_training : dnnl_forward_inference, algorithm_of(algorithm),
      abn_md_of(source), abn_md_of(weights), abn_md_of(bias), abn_md_of(destination), &w));
  return abn_dnnl_finish(pd, roles, 5, result);
}

abn_dnnl_status abn_dnnl_convolution_backward_data(
    int32_t algorithm, const abn_dnnl_descriptor *diff_source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *diff_destination,
    const int64_t *strides, const int64_t *dilations, const int64_t *padding_low,
    const int64_t *padding_high, abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_DIFF_DESTINATION, ABN_DNNL_WEIGHTS, ABN_DNNL_DIFF_SOURCE, ABN_DNNL_SCRATCHPAD};
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return (abn_dnnl_status)shared->status;
  window w;
  abn_dnnl_status checked =
      make_window(diff_source, strides, dilations, padding_low, padding_high, &w);
  if (checked != ABN_DNNL_SUCCESS) return checked;
  dnnl_alg_kind_t kind = algorithm_of(algorithm);
  dnnl_primitive_desc_t forward = hint(kind, diff_source, weights, diff_destination, &w);
  dnnl_primitive_desc_t pd = NULL;
  dnnl_status_t status;
#if ABN_DNNL_3
  status = dnnl_convolution_backward_data_primitive_desc_create(
      &pd, shared->engine, kind, abn_md_of(diff_source), abn_md_of(weights),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high, forward,
      shared->attributes);
#else
  dnnl_convolution_desc_t operation;
  status = dnnl_dilated_convolution_backward_data_desc_init(
      &operation, kind, abn_md_of(diff_source), abn_md_of(weights),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high);
  if (status == dnnl_success)
    status = dnnl_primitive_desc_create(
        &pd, &operation, shared->attributes, shared->engine, forward);
#endif
  if (forward) dnnl_primitive_desc_destroy(forward);
  ABN_TRY(status);
  return abn_dnnl_finish(pd, roles, 4, result);
}

abn_dnnl_status abn_dnnl_convolution_backward_weights(
    int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *diff_weights, const abn_dnnl_descriptor *diff_bias,
    const abn_dnnl_descriptor *diff_destination, const int64_t *strides,
    const int64_t *dilations, const int64_t *padding_low, const int64_t *padding_high,
    abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_SOURCE, ABN_DNNL_DIFF_DESTINATION, ABN_DNNL_DIFF_WEIGHTS, ABN_DNNL_DIFF_BIAS,
      ABN_DNNL_SCRATCHPAD};
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return (abn_dnnl_status)shared->status;
  window w;
  abn_dnnl_status checked =
      make_window(source, strides, dilations, padding_low, padding_high, &w);
  if (checked != ABN_DNNL_SUCCESS) return checked;
  dnnl_alg_kind_t kind = algorithm_of(algorithm);
  dnnl_primitive_desc_t forward = hint(kind, source, diff_weights, diff_destination, &w);
  dnnl_primitive_desc_t pd = NULL;
  dnnl_status_t status;
#if ABN_DNNL_3
  status = dnnl_convolution_backward_weights_primitive_desc_create(
      &pd, shared->engine, kind, abn_md_of(source), abn_md_of(diff_weights),
      abn_md_of(diff_bias), abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high,
      forward, shared->attributes);
#else
  dnnl_convolution_desc_t operation;
  status = dnnl_dilated_convolution_backward_weights_desc_init(
      &operation, kind, abn_md_of(source), abn_md_of(diff_weights), abn_md_of(diff_bias),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high);
  if (status == dnnl_success)
    status = dnnl_primitive_desc_create(
        &pd, &operation, shared->attributes, shared->engine, forward);
#endif
  if (forward) dnnl_primitive_desc_destroy(forward);
  ABN_TRY(status);
  return abn_dnnl_finish(pd, roles, 5, result);
}
