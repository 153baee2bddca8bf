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

/// The steps of an epilogue, in the order in which they are done.
static dnnl_status_t append_epilogue(dnnl_post_ops_t steps, const abn_dnnl_epilogue *epilogue) {
  dnnl_status_t status = dnnl_success;
  if (epilogue->adds)
#if ABN_DNNL_3
    status = dnnl_post_ops_append_sum(steps, 1.0f, 0, dnnl_data_type_undef);
#else
    status = dnnl_post_ops_append_sum(steps, 1.0f);
#endif
  if (status != dnnl_success || !epilogue->has_slope) return status;
#if ABN_DNNL_3
  return dnnl_post_ops_append_eltwise(steps, dnnl_eltwise_relu, epilogue->slope, 0.0f);
#else
  return dnnl_post_ops_append_eltwise(steps, 1.0f, dnnl_eltwise_relu, epilogue->slope, 0.0f);
#endif
}

/// Attributes with an epilogue, the scratchpad being the caller's as everywhere; to be destroyed.
static dnnl_status_t make_attributes(
    const abn_dnnl_epilogue *epilogue, dnnl_primitive_attr_t *result) {
  dnnl_primitive_attr_t attributes;
  dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
  if (status != dnnl_success) return status;
  dnnl_post_ops_t steps = NULL;
  status = dnnl_post_ops_create(&steps);
  if (status == dnnl_success) status = append_epilogue(steps, epilogue);
  if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, steps);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
  if (steps) dnnl_post_ops_destroy(steps);
  if (status == dnnl_success)
    *result = attributes;
  else
    dnnl_primitive_attr_destroy(attributes);
  return status;
}

/// `attributes` NULL: those that all primitives share.
static dnnl_status_t describe_forward(
    dnnl_primitive_desc_t *pd, dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm, abn_md source,
    abn_md weights, abn_md bias, abn_md destination, const window *w,
    const_dnnl_primitive_attr_t attributes, abn_dnnl_choice *choice) {
  const abn_dnnl_context *shared = abn_dnnl_shared();
  if (shared->status != dnnl_success) return shared->status;
  if (!attributes) attributes = shared->attributes;
#if ABN_DNNL_3
  dnnl_status_t status = dnnl_convolution_forward_primitive_desc_create(
      pd, shared->engine, kind, algorithm, source, weights, bias, destination, w->strides,
      w->dilations, w->low, w->high, attributes);
  return status == dnnl_success ? abn_dnnl_choose(*pd, choice) : status;
#else
  dnnl_convolution_desc_t operation;
  dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
      &operation, kind, algorithm, source, weights, bias, destination, w->strides,
      w->dilations, w->low, w->high);
  if (status != dnnl_success) return status;
  return abn_dnnl_choose(pd, &operation, attributes, NULL, choice);
#endif
}

/// A forward description for a backward one to lean on, layouts left open; NULL where the element
/// types have no forward convolution, which the library accepts as "no hint".
static dnnl_primitive_desc_t hint(
    dnnl_alg_kind_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *destination,
    const window *w) {
  dnnl_primitive_desc_t pd = NULL;
  abn_dnnl_choice choice = {NULL, {0}};
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
                  NULL, abn_md_of(any[2]), w, NULL, &choice) != dnnl_success)
    pd = NULL;
  for (int i = 0; i < 3; ++i) abn_dnnl_descriptor_destroy(any[i]);
  return pd;
}

static abn_dnnl_status finish(
    dnnl_primitive_desc_t pd, const int32_t *roles, int32_t slots, const abn_dnnl_choice *choice,
    abn_dnnl_primitive **result) {
  abn_dnnl_status status = abn_dnnl_finish(pd, roles, slots, result);
  if (status == ABN_DNNL_SUCCESS) abn_dnnl_note_choice(*result, choice);
  return status;
}

abn_dnnl_status abn_dnnl_convolution_forward(
    int32_t training, int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *bias,
    const abn_dnnl_descriptor *destination, const int64_t *strides, const int64_t *dilations,
    const int64_t *padding_low, const int64_t *padding_high, const abn_dnnl_epilogue *epilogue,
    const char *refused, abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_SOURCE, ABN_DNNL_WEIGHTS, ABN_DNNL_BIAS, ABN_DNNL_DESTINATION,
      ABN_DNNL_SCRATCHPAD};
  window w;
  abn_dnnl_status status =
      make_window(source, strides, dilations, padding_low, padding_high, &w);
  if (status != ABN_DNNL_SUCCESS) return status;
  dnnl_primitive_attr_t attributes = NULL;
  if (epilogue) ABN_TRY(make_attributes(epilogue, &attributes));
  dnnl_primitive_desc_t pd = NULL;
  abn_dnnl_choice choice = {refused, {0}};
  dnnl_status_t described = describe_forward(
      &pd, training ? dnnl_forward_training : dnnl_forward_inference, algorithm_of(algorithm),
      abn_md_of(source), abn_md_of(weights), abn_md_of(bias), abn_md_of(destination), &w,
      attributes, &choice);
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  ABN_TRY(described);
  return finish(pd, roles, 5, &choice, result);
}

abn_dnnl_status abn_dnnl_convolution_backward_data(
    int32_t algorithm, const abn_dnnl_descriptor *diff_source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *diff_destination,
    const int64_t *strides, const int64_t *dilations, const int64_t *padding_low,
    const int64_t *padding_high, const char *refused, abn_dnnl_primitive **result) {
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
  abn_dnnl_choice choice = {refused, {0}};
  dnnl_status_t status;
#if ABN_DNNL_3
  status = dnnl_convolution_backward_data_primitive_desc_create(
      &pd, shared->engine, kind, abn_md_of(diff_source), abn_md_of(weights),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high, forward,
      shared->attributes);
  if (status == dnnl_success) status = abn_dnnl_choose(pd, &choice);
#else
  dnnl_convolution_desc_t operation;
  status = dnnl_dilated_convolution_backward_data_desc_init(
      &operation, kind, abn_md_of(diff_source), abn_md_of(weights),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high);
  if (status == dnnl_success)
    status = abn_dnnl_choose(&pd, &operation, shared->attributes, forward, &choice);
#endif
  if (forward) dnnl_primitive_desc_destroy(forward);
  ABN_TRY(status);
  return finish(pd, roles, 4, &choice, result);
}

abn_dnnl_status abn_dnnl_convolution_backward_weights(
    int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *diff_weights, const abn_dnnl_descriptor *diff_bias,
    const abn_dnnl_descriptor *diff_destination, const int64_t *strides,
    const int64_t *dilations, const int64_t *padding_low, const int64_t *padding_high,
    const char *refused, abn_dnnl_primitive **result) {
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
  abn_dnnl_choice choice = {refused, {0}};
  dnnl_status_t status;
#if ABN_DNNL_3
  status = dnnl_convolution_backward_weights_primitive_desc_create(
      &pd, shared->engine, kind, abn_md_of(source), abn_md_of(diff_weights),
      abn_md_of(diff_bias), abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high,
      forward, shared->attributes);
  if (status == dnnl_success) status = abn_dnnl_choose(pd, &choice);
#else
  dnnl_convolution_desc_t operation;
  status = dnnl_dilated_convolution_backward_weights_desc_init(
      &operation, kind, abn_md_of(source), abn_md_of(diff_weights), abn_md_of(diff_bias),
      abn_md_of(diff_destination), w.strides, w.dilations, w.low, w.high);
  if (status == dnnl_success)
    status = abn_dnnl_choose(&pd, &operation, shared->attributes, forward, &choice);
#endif
  if (forward) dnnl_primitive_desc_destroy(forward);
  ABN_TRY(status);
  return finish(pd, roles, 5, &choice, result);
}
