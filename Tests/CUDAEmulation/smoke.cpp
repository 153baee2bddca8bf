// Holds the stub against what a card does: a client of the two libraries, by dlopen.
//   smoke FOLDER [address|trailing|bounds|index|barrier|counter]
// With a second word: a mistake that must be caught; the program ends with 0 where it was.
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static void* driver;
static void* compiler;
template <typename... A> static int call(void* library, const char* name, A... arguments) {
  auto f = reinterpret_cast<int (*)(A...)>(dlsym(library, name));
  if (!f) {
    fprintf(stderr, "no function %s\n", name);
    exit(1);
  }
  return f(arguments...);
}
static void need(bool isTrue, const char* what) {
  if (isTrue) return;
  fprintf(stderr, "wrong: %s\n", what);
  exit(1);
}
#define OK(...) need(call(__VA_ARGS__) == 0, #__VA_ARGS__)

static const char* const text = R"(// BEGIN device.cuh
what stands here is not used
// END device.cuh
struct Sizes { i64 count; f32 factor; };
extern "C" __global__ void __launch_bounds__(THREADS)
    scale(const f32* x, f32* y, const Sizes s) {
  for (i64 i = (i64)blockIdx.x * THREADS + threadIdx.x; i < s.count; i += (i64)gridDim.x * THREADS)
    y[i] = x[i] * s.factor;
}
// Sums of rows of 256 by barriers, warps and dynamic shared memory, then of all rows behind a barrier
// of the grid.
extern "C" __global__ void total(const f32* x, f64* partial, f64* result, u32* counter) {
  DYNAMIC_SHARED(f64, room);
  __shared__ f64 warps[8];
  room[threadIdx.x] = x[blockIdx.x * 256 + threadIdx.x];
  __syncthreads();
  f64 v = room[255 - threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < 8; i++) v += warps[i];
    storeShared(partial + blockIdx.x, v);
  }
  groupBarrier(counter, gridDim.x, blockIdx.x);
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    f64 all = 0;
    for (u32 i = 0; i < gridDim.x; i++) all += loadShared(partial + i);
    *result = all;
  }
}
// What is not waited for is not there.
extern "C" __global__ void copies(const f32* x, f32* y, int waits) {
  __shared__ Chunk room;
  copyAsync(&room, x);
  commitAsync();
  if (waits) waitAsyncGroups<0>();
  f32 v[4];
  unpack<f32>(room, v);
  for (int i = 0; i < 4; i++) y[i] = v[i];
}
extern "C" __global__ void halfBarrier() {
  // Threads of the second warp wait for a lane that is at the barrier.
  if (threadIdx.x == 40) __syncthreads();
  else if (threadIdx.x >= 32) __ballot_sync(0xffffffffu, 1);
}
extern "C" __global__ void waits(const u32* counter) { while (acquire(counter) != 1) {} }
extern "C" __global__ void beyond(f32* x, i64 at) { x[at] = 1; }
extern "C" __global__ void outside(f32* x, int at) {
  f32 v[4] = {1, 2, 3, 4};
  x[0] = v[at];
}
extern "C" __global__ void warpParts(u32* out) {
  // Disjoint masks at once, votes, lanes that have ended.
  u32 lane = threadIdx.x % 32, mask = lane < 8 ? 0xffu : 0xffffff00u;
  if (lane == 31) return;
  u32 sum = 0;
  for (int i = 0; i < 3; i++) sum += __shfl_sync(mask, lane + i, lane < 8 ? 3 : 9);
  u32 votes = __ballot_sync(mask, lane % 2);
  out[threadIdx.x] = sum + votes;
}
)";

static void* module;
static void* function(const char* name) {
  void* f;
  OK(driver, "cuModuleGetFunction", &f, module, name);
  return f;
}
static int launch(
    void* stream, const char* name, unsigned blocks, unsigned threads, unsigned shared,
    std::vector<void*> arguments, bool isCooperative = false) {
  void* f = function(name);
  if (isCooperative)
    return call(driver, "cuLaunchCooperativeKernel", f, blocks, 1u, 1u, threads, 1u, 1u, shared,
                stream, arguments.data());
  return call(driver, "cuLaunchKernel", f, blocks, 1u, 1u, threads, 1u, 1u, shared, stream,
              arguments.data(), (void**)nullptr);
}

int main(int count, char** words) {
  need(count >= 2, "smoke FOLDER [mistake]");
  std::string folder = words[1], mistake = count > 2 ? words[2] : "";
  driver = dlopen((folder + "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_GLOBAL);
  compiler = dlopen((folder + "/libnvrtc.so.13").c_str(), RTLD_NOW | RTLD_GLOBAL);
  need(driver && compiler, "libraries");
  void *context, *stream, *other, *program;
  OK(driver, "cuInit", 0u);
  OK(driver, "cuDevicePrimaryCtxRetain", &context, 0);
  OK(driver, "cuCtxSetCurrent", context);
  OK(driver, "cuStreamCreate", &stream, 1u);
  OK(driver, "cuStreamCreate", &other, 1u);
  OK(compiler, "nvrtcCreateProgram", &program, text, "smoke.cu", 0, (void*)0, (void*)0);
  const char* options[] = {"--gpu-architecture=sm_90", "--std=c++17", "-DTHREADS=128"};
  if (call(compiler, "nvrtcCompileProgram", program, 3, (const char* const*)options) != 0) {
    std::vector<char> log(1 << 16);
    call(compiler, "nvrtcGetProgramLog", program, log.data());
    need(false, log.data());
  }
  size_t bytes;
  OK(compiler, "nvrtcGetCUBINSize", program, &bytes);
  std::vector<char> image(bytes);
  OK(compiler, "nvrtcGetCUBIN", program, image.data());
  OK(driver, "cuModuleLoadData", &module, (const void*)image.data());

  constexpr int n = 4096, rows = n / 256;
  std::vector<float> x(n), y(n), z(n);
  double sum = 0;
  srand(7);
  for (float& v : x) sum += v = float(rand()) / float(RAND_MAX) - 0.5f;
  uint64_t dx, dy, partial, result, counter;
  OK(driver, "cuMemAlloc_v2", &dx, size_t(4 * n));
  OK(driver, "cuMemAlloc_v2", &dy, size_t(4 * n));
  OK(driver, "cuMemAlloc_v2", &partial, size_t(8 * rows));
  OK(driver, "cuMemAlloc_v2", &result, size_t(8));
  OK(driver, "cuMemAlloc_v2", &counter, size_t(4));
  auto in = [&](uint64_t to, const void* from, size_t b) {
    return call(driver, "cuMemcpyHtoDAsync_v2", to, from, b, stream);
  };
  auto out = [&](void* to, uint64_t from, size_t b) {
    int code = call(driver, "cuMemcpyDtoHAsync_v2", to, from, b, stream);
    return code ? code : call(driver, "cuStreamSynchronize", stream);
  };
  need(out(y.data(), dy, 4 * n) == 0 && std::isnan(y[17]), "fresh memory is poison");
  need(in(dx, x.data(), 4 * n) == 0, "copy");
  OK(driver, "cuMemsetD8Async", counter, (unsigned char)0, size_t(4), stream);

  struct { int64_t count; float factor; } sizes = {n, 3};
  std::vector<void*> scaled = {&dx, &dy, &sizes};
  std::vector<void*> summed = {&dx, &partial, &result, &counter};
  if (mistake.empty()) {
    need(launch(stream, "scale", 5, 128, 0, scaled) == 0, "launch");
    need(out(y.data(), dy, 4 * n) == 0, "copy back");
    for (int i = 0; i < n; i++) need(y[i] == x[i] * 3, "scale");
    // Threads that the bounds do not allow, memory that was not asked for, a grid too large.
    need(launch(stream, "scale", 5, 256, 0, scaled) == 1, "more threads than bounds");
    need(launch(stream, "total", 4, 256, 60000, summed) == 1, "too much shared memory");
    int resident;
    OK(driver, "cuOccupancyMaxActiveBlocksPerMultiprocessor", &resident, function("total"), 256,
       size_t(2048));
    need(resident == 8, "resident blocks: 2,048 threads of a multiprocessor");
    int shared;
    OK(driver, "cuFuncGetAttribute", &shared, 1, function("total"));
    need(shared == 64, "static shared memory of the kernel alone");
    need(launch(stream, "total", 33, 256, 2048, summed, true) == 720, "a grid that does not fit");
    for (int i = 0; i < 3; i++) {
      need(launch(stream, "total", rows, 256, 2048, summed, true) == 0, "cooperative");
      double total = 0;
      need(out(&total, result, 8) == 0, "sum");
      need(std::fabs(total - sum) < 1e-9, "sum of a grid");
    }
    int waits = 1;
    std::vector<void*> copied = {&dx, &dy, &waits};
    need(launch(stream, "copies", 1, 1, 0, copied) == 0 && out(y.data(), dy, 16) == 0, "copies");
    need(y[3] == x[3], "a copy that is waited for");
    waits = 0;
    need(launch(stream, "copies", 1, 1, 0, copied) == 0 && out(y.data(), dy, 16) == 0, "copies");
    need(std::isnan(y[3]), "a copy that is not waited for");
    std::vector<void*> parts = {&dy};
    need(launch(stream, "warpParts", 1, 64, 0, parts) == 0 && out(y.data(), dy, 256) == 0, "warps");
    std::vector<unsigned> lanes(64);
    memcpy(lanes.data(), y.data(), 256);
    for (unsigned i = 0; i < 64; i++) {
      unsigned lane = i % 32, votes = lane < 8 ? 0xaau : 0x2aaaaa00u;
      if (lane != 31) need(lanes[i] == 3 * (lane < 8 ? 3 : 9) + 3 + votes, "lanes of two masks");
    }
    // A graph: not run while recorded, with the arguments of that time, as often as it is launched.
    void *graph, *executable;
    OK(driver, "cuStreamBeginCapture_v2", stream, 2);
    sizes.factor = 5;
    need(launch(stream, "scale", 40000, 128, 0, scaled) == 0, "recorded launch");
    sizes.factor = 7;
    OK(driver, "cuMemcpyDtoDAsync_v2", dx, dy, size_t(4 * n), stream);
    OK(driver, "cuStreamEndCapture", stream, &graph);
    OK(driver, "cuGraphInstantiateWithFlags", &executable, graph, 0ull);
    OK(driver, "cuGraphDestroy", graph);
    need(out(z.data(), dx, 4 * n) == 0 && z == x, "recording runs nothing");
    OK(driver, "cuGraphLaunch", executable, stream);
    OK(driver, "cuGraphLaunch", executable, stream);
    need(out(z.data(), dx, 4 * n) == 0, "graph");
    for (int i = 0; i < n; i++) need(z[i] == x[i] * 5 * 5, "graph");
    OK(driver, "cuGraphExecDestroy", executable);
    // What must not be recorded.
    uint64_t more;
    OK(driver, "cuStreamBeginCapture_v2", stream, 2);
    need(call(driver, "cuMemAlloc_v2", &more, size_t(16)) == 900, "allocation while recording");
    need(call(driver, "cuStreamEndCapture", stream, &graph) == 901, "a recording that was spoiled");
    OK(driver, "cuStreamBeginCapture_v2", stream, 2);
    need(call(driver, "cuStreamSynchronize", stream) == 900, "waiting while recording");
    need(call(driver, "cuStreamEndCapture", stream, &graph) == 901, "a recording that was spoiled");
    // Two streams: without an event the second does not see what the first was told to do.
    sizes.factor = 2;
    need(in(dx, x.data(), 4 * n) == 0, "copy");
    OK(driver, "cuMemsetD8Async", dy, (unsigned char)0, size_t(4 * n), stream);
    OK(driver, "cuStreamSynchronize", stream);
    void* event;
    OK(driver, "cuEventCreate", &event, 0u);
    need(launch(stream, "scale", 4, 128, 0, scaled) == 0, "launch");
    OK(driver, "cuEventRecord", event, stream);
    OK(driver, "cuMemcpyDtoHAsync_v2", (void*)y.data(), dy, size_t(4 * n), other);
    OK(driver, "cuStreamSynchronize", other);
    need(y[5] == 0, "a stream that does not wait");
    OK(driver, "cuStreamWaitEvent", other, event, 0u);
    OK(driver, "cuMemcpyDtoHAsync_v2", (void*)y.data(), dy, size_t(4 * n), other);
    OK(driver, "cuStreamSynchronize", other);
    need(y[5] == x[5] * 2, "a stream that waits");
    OK(driver, "cuMemFree_v2", dy);
    puts("right");
    return 0;
  }

  int code = 0;
  if (mistake == "address") {  // an address that is not allocated any more
    OK(driver, "cuMemFree_v2", dy);
    code = launch(stream, "scale", 4, 128, 0, scaled);
  } else if (mistake == "trailing") {  // a copy longer than its target
    code = in(dx + 16, x.data(), 4 * n);
  } else if (mistake == "bounds") {  // a store behind an allocation
    int64_t at = n + 64;
    std::vector<void*> arguments = {&dx, &at};
    code = launch(stream, "beyond", 3, 64, 0, arguments);
  } else if (mistake == "index") {  // an index beyond a local array
    int at = 4;
    std::vector<void*> arguments = {&dx, &at};
    code = launch(stream, "outside", 3, 64, 0, arguments);
  } else if (mistake == "barrier") {
    code = launch(stream, "halfBarrier", 2, 64, 0, {});
  } else if (mistake == "counter") {
    std::vector<void*> arguments = {&counter};
    code = launch(stream, "waits", 2, 64, 0, arguments);
  } else {
    need(false, "a known mistake");
  }
  if (code == 0) code = call(driver, "cuStreamSynchronize", stream);
  need(code >= 700 && code <= 719, "the mistake is caught");
  const char* message;
  call(driver, "cuGetErrorString", code, &message);
  printf("%d %s\n", code, message);
  need(call(driver, "cuCtxSynchronize") == code, "the context stays lost");
  return 0;
}
