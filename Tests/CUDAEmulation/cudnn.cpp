// libcudnn.so.9 for machines without a card: the graph interface, for graphs of one convolution, by plain
// loops in float64. What a caller must not take is offered too: an engine whose order of sums
// varies comes first and gives numbers that are none, and one whose plan is made but does not run; for
// dilated convolutions in float64 there is no other.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "elements.h"
#include "stub.h"

using stub::Element;

namespace {
// Numbers of cudnn_graph.h, 9.0.
enum Status { success = 0, badParameter = 2000, notSupported = 3000, executionFailed = 5000 };
enum Kind {
  convolution = 1, engine = 2, configuration = 3, heuristics = 4, plan = 5, forward = 10,
  weightGradient = 11, dataGradient = 12, graph = 15, variantPack = 16, tensor = 17,
};
enum Type { handleType = 0, dataType = 1, int64Type = 3, noteType = 11, descriptorType = 15 };
constexpr int64_t varyingEngine = 7, decliningEngine = 8, hungryEngine = 9;
constexpr int64_t workspaceBytes = 1000;

struct Value { int type; int64_t count; std::vector<char> bytes; };
struct Descriptor { int kind; bool isFinal = false; std::map<int, Value> values; };
struct Handle { void* stream = nullptr; };
auto& lastText = *new std::string;

int refuse(int status, const std::string& why) {
  lastText = why;
  fprintf(stderr, "cuDNN stub: %s\n", why.c_str());
  return status;
}
size_t bytesOf(int type) {
  switch (type) {
    case 1: case 2: case 4: case 7: case 8: case 11: case 12: return 4;
    default: return 8;
  }
}
std::vector<int64_t> numbers(const Descriptor& d, int attribute) {
  auto found = d.values.find(attribute);
  if (found == d.values.end()) return {};
  std::vector<int64_t> result;
  for (int64_t i = 0; i < found->second.count; i++) {
    int64_t wide = 0;
    memcpy(&wide, &found->second.bytes[size_t(i) * bytesOf(found->second.type)],
           bytesOf(found->second.type));
    result.push_back(wide);
  }
  return result;
}
Descriptor* descriptor(const Descriptor& d, int attribute) {
  auto all = numbers(d, attribute);
  return all.empty() ? nullptr : reinterpret_cast<Descriptor*>(all[0]);
}
void put(Descriptor& d, int attribute, int type, const std::vector<int64_t>& list) {
  Value value{type, int64_t(list.size()), {}};
  for (int64_t each : list) {
    auto p = reinterpret_cast<const char*>(&each);
    value.bytes.insert(value.bytes.end(), p, p + bytesOf(type));
  }
  d.values[attribute] = value;
}

Element element(int64_t type) {
  switch (type) {
    case 0: return Element::f32;
    case 1: return Element::f64;
    case 2: return Element::f16;
    case 9: return Element::bf16;
    default: return Element::unknown;
  }
}

struct Tensor {
  int64_t id;
  Element type;
  std::vector<int64_t> sizes, strides;
  void* base = nullptr;

  explicit Tensor(const Descriptor& d)
      : id(numbers(d, 906)[0]), type(element(numbers(d, 901)[0])), sizes(numbers(d, 902)),
        strides(numbers(d, 903)) {}
  int64_t count() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
  /// Bytes from the first element to behind the last.
  size_t extent() const {
    int64_t last = 0;
    for (int i = 0; i < 4; i++) last += (sizes[size_t(i)] - 1) * strides[size_t(i)];
    return size_t(last + 1) * stub::bytesOf(type);
  }
  template <typename F> void each(F body) const {
    int64_t place = 0;
    for (int64_t a = 0; a < sizes[0]; a++)
      for (int64_t b = 0; b < sizes[1]; b++)
        for (int64_t c = 0; c < sizes[2]; c++)
          for (int64_t d = 0; d < sizes[3]; d++)
            body(place++, a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3]);
  }
  std::vector<double> read() const {
    std::vector<double> all;
    all.resize(size_t(count()));
    each([&](int64_t i, int64_t at) { all[size_t(i)] = stub::load(base, at, type); });
    return all;
  }
  void write(const std::vector<double>& all) const {
    each([&](int64_t i, int64_t at) { stub::store(base, at, type, all[size_t(i)]); });
  }
};

struct Product {
  int kind;
  Tensor x, w, y;
  std::vector<int64_t> before, after, stride, dilation;

  static int first(int kind) { return kind == forward ? 700 : kind == dataGradient ? 706 : 712; }
  explicit Product(const Descriptor& o)
      : kind(o.kind), x(*descriptor(o, first(o.kind) + 4)), w(*descriptor(o, first(o.kind) + 3)),
        y(*descriptor(o, first(o.kind) + 5)) {
    Descriptor& c = *descriptor(o, first(o.kind) + 2);
    dilation = numbers(c, 102), stride = numbers(c, 103);
    after = numbers(c, 104), before = numbers(c, 105);
  }

  /// What does not fit; empty where all does.
  std::string mistake() const {
    for (auto* t : {&x, &w, &y}) {
      if (t->sizes.size() != 4 || t->strides.size() != 4) return "tensors of four dimensions only";
      if (t->type == Element::unknown || t->type != x.type) return "one floating-point type only";
      if (t->count() <= 0) return "an empty tensor";
    }
    if (x.sizes[1] % w.sizes[1] || w.sizes[0] % (x.sizes[1] / w.sizes[1])) return "groups do not divide";
    if (y.sizes[0] != x.sizes[0] || y.sizes[1] != w.sizes[0]) return "sizes of the result";
    for (size_t i = 0; i < 2; i++) {
      int64_t covered = (w.sizes[i + 2] - 1) * dilation[i] + 1;
      int64_t wanted = (x.sizes[i + 2] + before[i] + after[i] - covered) / stride[i] + 1;
      if (y.sizes[i + 2] != wanted) return "sizes of the result";
    }
    return "";
  }

  void run() const {
    auto X = kind == dataGradient ? std::vector<double>(size_t(x.count())) : x.read();
    auto W = kind == weightGradient ? std::vector<double>(size_t(w.count())) : w.read();
    auto Y = kind == forward ? std::vector<double>(size_t(y.count())) : y.read();
    int64_t C = x.sizes[1], H = x.sizes[2], V = x.sizes[3], F = y.sizes[1], P = y.sizes[2];
    int64_t Q = y.sizes[3], G = w.sizes[1], perGroup = F / (C / G);
    int64_t R = w.sizes[2], S = w.sizes[3];
    for (int64_t n = 0; n < x.sizes[0]; n++)
      for (int64_t f = 0; f < F; f++)
        for (int64_t g = 0; g < G; g++) {
          int64_t c = f / perGroup * G + g;
          for (int64_t r = 0; r < R; r++)
            for (int64_t s = 0; s < S; s++) {
              double& weight = W[size_t(((f * G + g) * R + r) * S + s)];
              int64_t shift = s * dilation[1] - before[1];
              // Places of the result whose input lies inside of the picture.
              int64_t from = shift < 0 ? (-shift + stride[1] - 1) / stride[1] : 0;
              int64_t end = V - 1 - shift < 0 ? 0 : std::min(Q, (V - 1 - shift) / stride[1] + 1);
              double sum = 0;
              for (int64_t p = 0; p < P; p++) {
                int64_t h = p * stride[0] + r * dilation[0] - before[0];
                if (h < 0 || h >= H) continue;
                double* row = &X[size_t(((n * C + c) * H + h) * V)] + shift;
                double* out = &Y[size_t(((n * F + f) * P + p) * Q)];
                if (kind == forward)
                  for (int64_t q = from; q < end; q++) out[q] += weight * row[q * stride[1]];
                else if (kind == dataGradient)
                  for (int64_t q = from; q < end; q++) row[q * stride[1]] += weight * out[q];
                else
                  for (int64_t q = from; q < end; q++) sum += out[q] * row[q * stride[1]];
              }
              if (kind == weightGradient) weight += sum;
            }
        }
    if (kind == forward) y.write(Y);
    else if (kind == dataGradient) x.write(X);
    else w.write(W);
  }
};

int fillEngine(Descriptor& d, Descriptor* of, int64_t number) {
  d.values[1300] = Value{descriptorType, 1, std::vector<char>(8)};
  put(d, 1300, descriptorType, {reinterpret_cast<int64_t>(of)});
  put(d, 1301, int64Type, {number});
  // CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC.
  put(d, 1303, noteType, number == varyingEngine ? std::vector<int64_t>{4} : std::vector<int64_t>{});
  d.isFinal = true;
  return success;
}
void fillConfiguration(Descriptor& d, Descriptor* of, int64_t number) {
  put(d, 300, descriptorType, {reinterpret_cast<int64_t>(of)});
  put(d, 9000, int64Type, {number});  // of the stub's own
  d.isFinal = true;
}
std::vector<int64_t> proposals(const Descriptor& h) {
  std::vector<int64_t> list;
  if (numbers(h, 200)[0] != 3) return {hungryEngine};  // no CUDNN_HEUR_MODE_A
  list = {varyingEngine, decliningEngine};
  Product product(*descriptor(*descriptor(h, 201), 801));
  if (product.x.type == Element::f64 && product.dilation != std::vector<int64_t>{1, 1}) return list;
  for (size_t i = 0; i < stub::setting("ABN_STUB_ENGINES", 1); i++) list.push_back(int64_t(i) + 1);
  return list;
}
}  // namespace

STUB_C size_t cudnnGetVersion() { return 91999; }
STUB_C int cudnnCreate(void** handle) {
  *handle = new Handle;
  return success;
}
STUB_C int cudnnDestroy(void* handle) {
  delete static_cast<Handle*>(handle);
  return success;
}
STUB_C int cudnnSetStream(void* handle, void* stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return success;
}
STUB_C void cudnnGetLastErrorString(char* text, size_t bytes) {
  snprintf(text, bytes, "%s", lastText.c_str());
}
STUB_C int cudnnBackendCreateDescriptor(int kind, void** made) {
  *made = new Descriptor{kind, false, {}};
  return success;
}
STUB_C int cudnnBackendDestroyDescriptor(void* d) {
  delete static_cast<Descriptor*>(d);
  return success;
}
STUB_C int cudnnBackendSetAttribute(
    void* handle, int attribute, int type, int64_t count, const void* values) {
  Descriptor& d = *static_cast<Descriptor*>(handle);
  if (d.isFinal) return refuse(badParameter, "an attribute of a final descriptor");
  auto p = static_cast<const char*>(values);
  d.values[attribute] = Value{type, count, {p, p + size_t(count) * bytesOf(type)}};
  return success;
}
STUB_C int cudnnBackendGetAttribute(
    void* handle, int attribute, int type, int64_t most, int64_t* count, void* values) {
  Descriptor& d = *static_cast<Descriptor*>(handle);
  if (!d.isFinal) return refuse(badParameter, "what a descriptor says before it is final");
  auto targets = static_cast<void**>(values);
  if (d.kind == heuristics && attribute == 202) {
    auto list = proposals(d);
    *count = int64_t(list.size());
    for (size_t i = 0; values && i < list.size() && int64_t(i) < most; i++)
      fillConfiguration(*static_cast<Descriptor*>(targets[i]), descriptor(d, 201), list[i]);
    return success;
  }
  if (d.kind == configuration && attribute == 300) {
    *count = 1;
    return most < 1 ? int(success)
                    : fillEngine(*static_cast<Descriptor*>(targets[0]), descriptor(d, 300),
                                 numbers(d, 9000)[0]);
  }
  auto found = d.values.find(attribute);
  if (found == d.values.end() || found->second.type != type)
    return refuse(badParameter, "attribute " + std::to_string(attribute) + " has no such value");
  *count = std::min(found->second.count, most);
  if (values && *count)
    memcpy(values, found->second.bytes.data(), size_t(*count) * bytesOf(type));
  return success;
}

STUB_C int cudnnBackendFinalize(void* handle) {
  Descriptor& d = *static_cast<Descriptor*>(handle);
  static const std::map<int, std::vector<int>> needed = {
      {convolution, {100, 101, 102, 103, 104, 105, 106}}, {heuristics, {200, 201}},
      {plan, {400, 401}}, {forward, {700, 701, 702, 703, 704, 705}},
      {dataGradient, {706, 707, 708, 709, 710, 711}},
      {weightGradient, {712, 713, 714, 715, 716, 717}}, {graph, {800, 801}},
      {variantPack, {1000, 1001, 1003}}, {tensor, {900, 901, 902, 903, 906}}};
  if (needed.count(d.kind))
    for (int attribute : needed.at(d.kind))
      if (!d.values.count(attribute))
        return refuse(badParameter, "attribute " + std::to_string(attribute) + " is missing");
  for (auto& [attribute, value] : d.values)
    if (value.type == descriptorType)
      for (int64_t each : numbers(d, attribute))
        if (!reinterpret_cast<Descriptor*>(each)->isFinal)
          return refuse(badParameter, "a part is not final");
  if (d.kind == convolution && numbers(d, 101)[0] != 1)
    return refuse(notSupported, "cross correlation only");
  if (Product::first(d.kind) && (d.kind == forward || d.kind == dataGradient || d.kind == weightGradient)) {
    std::string mistake = Product(d).mistake();
    if (!mistake.empty()) return refuse(badParameter, "convolution: " + mistake);
  }
  if (d.kind == plan) {
    bool isHungry = numbers(*descriptor(d, 401), 9000)[0] == hungryEngine;
    put(d, 402, int64Type, {isHungry ? int64_t(1) << 40 : workspaceBytes});
  }
  d.isFinal = true;
  return success;
}

STUB_C int cudnnBackendExecute(void* handle, void* planHandle, void* packHandle) {
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  Descriptor &p = *static_cast<Descriptor*>(planHandle), &pack = *static_cast<Descriptor*>(packHandle);
  if (!p.isFinal || !pack.isFinal) return refuse(badParameter, "a plan that is not final");
  Descriptor& settings = *descriptor(p, 401);
  int64_t number = numbers(settings, 9000)[0];
  if (number == decliningEngine) {
    lastText = "this engine declines when it runs";
    return notSupported;
  }
  Product product(*descriptor(*descriptor(settings, 300), 801));
  auto ids = numbers(pack, 1000), addresses = numbers(pack, 1001);
  for (Tensor* t : {&product.x, &product.w, &product.y}) {
    size_t i = size_t(std::find(ids.begin(), ids.end(), t->id) - ids.begin());
    if (i >= addresses.size()) return refuse(badParameter, "a tensor without an address");
    if (addresses[i] % 16) return refuse(badParameter, "an address that is not aligned");
    t->base = stub::resolve(uint64_t(addresses[i]), t->extent(), "a tensor of a convolution");
    if (!t->base) return executionFailed;
  }
  uint64_t room = uint64_t(numbers(pack, 1003)[0]);
  void* workspace = stub::resolve(room, size_t(workspaceBytes), "workspace of a convolution");
  if (!workspace) return executionFailed;
  int code = stub::enqueue(static_cast<Handle*>(handle)->stream, [=] {
    memset(workspace, 0xff, size_t(workspaceBytes));
    if (number == varyingEngine) {
      const Tensor& out = product.kind == forward ? product.y
                          : product.kind == dataGradient ? product.x : product.w;
      out.write(std::vector<double>(size_t(out.count()), NAN));
    } else {
      product.run();
    }
    return int(stub::success);
  });
  return code ? refuse(executionFailed, "work that the stream does not take") : int(success);
}
