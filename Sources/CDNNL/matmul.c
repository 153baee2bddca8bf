#include "internal.h"

abn_dnnl_status abn_dnnl_matmul(
    const abn_dnnl_descriptor *source, const abn_dnnl_descriptor *weights,
    const abn_dnnl_descriptor *bias, const abn_dnnl_descriptor *destination,
    abn_dnnl_primitive **result) {
  static const int32_t roles[] = {
      ABN_DNNL_SOURCE, ABN_DNNL_WEIGHTS, ABN_DNNL_BIAS, ABN_DNNL_DESTINATION,
      ABN_DNNL_SCRATCHPAD};
  const abn_dnnl_context *shared = abn_dnnl_shared();
  ABN_TRY(shared->status);
  dnnl_primitive_desc_t pd = NULL;
#if ABN_DNNL_3
  ABN_TRY(dnnl_matmul_primitive_desc_create(
      &pd, shared->engine, abn_md_of(source), abn_md_of(weights), abn_md_of(bias),
      abn_md_of(destination), shared->attributes));
#else
  dnnl_matmul_desc_t operation;
  ABN_TRY(dnnl_matmul_desc_init(
      &operation, abn_md_of(source), abn_md_of(weights), abn_md_of(bias),
      abn_md_of(destination)));
  ABN_TRY(dnnl_primitive_desc_create(
      &pd, &operation, shared->attributes, shared->engine, NULL));
#endif
  return abn_dnnl_finish(pd, roles, 5, result);
}

abn_dnnl_status abn_dnnl_reorder(
    const abn_dnnl_descriptor *source, const abn_dnnl_descriptor *destination,
    abn_dnnl_primitive **result) {
  static const int32_t roles[] = {ABN_DNNL_SOURCE, ABN_DNNL_DESTINATION, ABN_DNNL_SCRATCHPAD};
  const abn_dnnl_context *shared = abn_dnnl_shared();
  ABN_TRY(shared->status);
  dnnl_primitive_desc_t pd = NULL;
  ABN_TRY(dnnl_reorder_primitive_desc_create(
      &pd, abn_md_of(source), shared->engine, abn_md_of(destination), shared->engine,
      shared->attributes));
  return abn_dnnl_finish(pd, roles, 3, result);
}
