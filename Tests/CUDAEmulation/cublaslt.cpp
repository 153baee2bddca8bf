// libcublasLt.so.13 for machines without a card: products of matrices by plain loops in float64.
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "elements.h"
#include "stub.h"

using stub::Element;

namespace {
// Numbers of cublasLt.h, 12.0.
enum Status { success = 0, invalidValue = 7, executionFailed = 13, notSupported = 15 };
constexpr size_t workspaceBytes = 512;
constexpr uint64_t algorithmMark = 0x6d616e79206f6f6b;

struct Product { int compute, scale; std::map<int, int32_t> attributes; };
struct Layout { Element type; uint64_t rows, columns; int64_t leading; };
struct Preference { std::map<int, uint64_t> attributes; };

int refuse(int status, const char* why) {
  fprintf(stderr, "cuBLASLt stub: %s\n", why);
  return status;
}
Element element(int type) {
  switch (type) {  // cudaDataType_t
    case 0: return Element::f32;
    case 1: return Element::f64;
    case 2: return Element::f16;
    case 14: return Element::bf16;
    default: return Element::unknown;
  }
}
/// Rows and columns behind the operation that attribute 3 (A) or 4 (B) asks for.
bool isTransposed(const Product& p, int attribute) {
  auto found = p.attributes.find(attribute);
  return found != p.attributes.end() && found->second != 0;
}
const char* mistake(const Product& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  bool ta = isTransposed(p, 3), tb = isTransposed(p, 4);
  for (auto* l : {&a, &b, &c, &d})
    if (l->type == Element::unknown || l->leading < int64_t(l->rows)) return "a matrix";
  if ((ta ? a.columns : a.rows) != d.rows || (tb ? b.rows : b.columns) != d.columns ||
      (ta ? a.rows : a.columns) != (tb ? b.columns : b.rows) || c.rows != d.rows ||
      c.columns != d.columns)
    return "sizes that do not fit";
  bool isDouble = d.type == Element::f64;
  if (p.scale != (isDouble ? 1 : 0) || (p.compute == 70) != isDouble) return "types that do not fit";
  return nullptr;
}
void* place(const void* address, const Layout& l) {
  size_t bytes = size_t((int64_t(l.columns) - 1) * l.leading + int64_t(l.rows)) * stub::bytesOf(l.type);
  return stub::resolve(reinterpret_cast<uint64_t>(address), bytes, "a matrix of a product");
}
}  // namespace

STUB_C size_t cublasLtGetVersion() { return 130999; }
STUB_C int cublasLtCreate(void** handle) {
  *handle = new int(0);
  return success;
}
STUB_C int cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return success;
}
STUB_C int cublasLtMatmulDescCreate(void** made, int compute, int scale) {
  *made = new Product{compute, scale, {}};
  return success;
}
STUB_C int cublasLtMatmulDescSetAttribute(void* product, int attribute, const void* value, size_t bytes) {
  if (bytes != 4) return refuse(invalidValue, "an attribute of a product");
  memcpy(&static_cast<Product*>(product)->attributes[attribute], value, 4);
  return success;
}
STUB_C int cublasLtMatmulDescDestroy(void* product) {
  delete static_cast<Product*>(product);
  return success;
}
STUB_C int cublasLtMatrixLayoutCreate(
    void** made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  *made = new Layout{element(type), rows, columns, leading};
  return success;
}
STUB_C int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return success;
}
STUB_C int cublasLtMatmulPreferenceCreate(void** made) {
  *made = new Preference;
  return success;
}
STUB_C int cublasLtMatmulPreferenceSetAttribute(
    void* preference, int attribute, const void* value, size_t bytes) {
  uint64_t number = 0;
  memcpy(&number, value, bytes < 8 ? bytes : 8);
  static_cast<Preference*>(preference)->attributes[attribute] = number;
  return success;
}
STUB_C int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return success;
}
STUB_C int cublasLtMatmulAlgoGetHeuristic(
    void*, void* product, void* a, void* b, void* c, void* d, void* preference, int most,
    void* results, int* count) {
  *count = 0;
  auto layout = [](void* l) -> Layout& { return *static_cast<Layout*>(l); };
  if (auto why = mistake(*static_cast<Product*>(product), layout(a), layout(b), layout(c), layout(d)))
    return refuse(invalidValue, why);
  // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES.
  if (most < 1 || static_cast<Preference*>(preference)->attributes[1] < workspaceBytes)
    return notSupported;
  // cublasLtMatmulHeuristicResult_t.
  struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } result = {};
  result.algorithm[0] = algorithmMark;
  result.workspace = workspaceBytes;
  memcpy(results, &result, sizeof result);
  *count = 1;
  return success;
}
STUB_C int cublasLtMatmul(
    void*, void* productHandle, const void* alpha, const void* A, void* aLayout, const void* B,
    void* bLayout, const void* beta, const void* C, void* cLayout, void* D, void* dLayout,
    const void* algorithm, void* workspace, size_t bytes, void* stream) {
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  Product& product = *static_cast<Product*>(productHandle);
  Layout a = *static_cast<Layout*>(aLayout), b = *static_cast<Layout*>(bLayout);
  Layout c = *static_cast<Layout*>(cLayout), d = *static_cast<Layout*>(dLayout);
  if (auto why = mistake(product, a, b, c, d)) return refuse(invalidValue, why);
  uint64_t mark;
  memcpy(&mark, algorithm, 8);
  if (mark != algorithmMark) return refuse(invalidValue, "an algorithm that was not proposed");
  if (bytes < workspaceBytes) return refuse(invalidValue, "too little workspace");
  void* room = stub::resolve(reinterpret_cast<uint64_t>(workspace), workspaceBytes, "workspace of a product");
  void *pa = place(A, a), *pb = place(B, b), *pc = place(C, c), *pd = place(D, d);
  if (!room || !pa || !pb || !pc || !pd) return executionFailed;
  Element scale = product.scale ? Element::f64 : Element::f32;
  double factor = stub::load(alpha, 0, scale), old = stub::load(beta, 0, scale);
  bool ta = isTransposed(product, 3), tb = isTransposed(product, 4);
  int code = stub::enqueue(stream, [=] {
    memset(room, 0xff, workspaceBytes);
    int64_t rows = int64_t(d.rows), columns = int64_t(d.columns);
    int64_t inner = int64_t(ta ? a.rows : a.columns);
    // op(A) by rows and op(B) by columns, so that sums run over neighbours.
    std::vector<double> left(size_t(rows * inner)), right(size_t(inner * columns));
    for (int64_t i = 0; i < rows; i++)
      for (int64_t k = 0; k < inner; k++)
        left[size_t(i * inner + k)] = stub::load(pa, ta ? k + i * a.leading : i + k * a.leading, a.type);
    for (int64_t j = 0; j < columns; j++)
      for (int64_t k = 0; k < inner; k++)
        right[size_t(j * inner + k)] = stub::load(pb, tb ? j + k * b.leading : k + j * b.leading, b.type);
    for (int64_t j = 0; j < columns; j++)
      for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t k = 0; k < inner; k++) sum += left[size_t(i * inner + k)] * right[size_t(j * inner + k)];
        sum *= factor;
        if (old != 0) sum += old * stub::load(pc, i + j * c.leading, c.type);
        stub::store(pd, i + j * d.leading, d.type, sum);
      }
    return int(stub::success);
  });
  return code ? refuse(executionFailed, "work that the stream does not take") : int(success);
}
