// libcuda.so.1 for machines without a card: device, memory, streams, events and graphs.
//
// Addresses of the device are no addresses of the process: who follows one without the driver dies.
// Memory is poison (0xFF) until it is written, and ends at a page that nothing may touch.
//
// Work runs as late as it may: a stream stands still until it is waited for, or until a stream that
// is waited for waits for one of its events. So a missing event or a missing wait shows in the numbers.
// ABN_STUB_EAGER=1 runs all work at once.
#include "stub.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace stub {
namespace {
/// Added to the address of the process; such a sum is no address of an x86-64 or ARM processor.
constexpr uint64_t tag = uint64_t(0x4d) << 56;

struct Allocation { char* mapping; size_t mapped, bytes; };
/// What calls in atexit may still need is never destroyed.
auto& allocations = *new std::map<uint64_t, Allocation>;
auto& pinned = *new std::map<char*, size_t>;
size_t allocated = 0;
int lostCode = 0;
auto& lostText = *new std::string;

struct Stream;
/// A place in a stream's work.
struct Mark { Stream* stream = nullptr; bool reached = false; double time = 0; };
struct Graph { std::vector<std::function<int()>> work; bool isInvalid = false; };
struct Event { std::shared_ptr<Mark> mark; std::shared_ptr<Graph> graph; };
struct Stream {
  std::deque<std::function<int()>> work;
  std::shared_ptr<Graph> graph;  // while its work is recorded
};
struct Executable { std::vector<std::function<int()>> work; };
auto& standard = *new Stream;
auto& streams = *new std::set<Stream*>{&standard};

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) * 1e-6;
}

Stream* find(void* handle) {
  // 0, 1 and 2: the default streams.
  if (uintptr_t(handle) <= 2) return &standard;
  Stream* stream = static_cast<Stream*>(handle);
  return streams.count(stream) ? stream : nullptr;
}

/// Runs a stream's work up to a mark, or all of it.
int drain(Stream& stream, const Mark* until = nullptr) {
  while (!stream.work.empty() && !(until && until->reached)) {
    auto work = std::move(stream.work.front());
    stream.work.pop_front();
    if (int code = lostCode ? lostCode : work()) return code;
  }
  return lostCode;
}
}  // namespace

size_t setting(const char* name, size_t standard) {
  const char* text = getenv(name);
  return text && *text ? strtoull(text, nullptr, 10) : standard;
}
std::recursive_mutex& lock() {
  static auto& mutex = *new std::recursive_mutex;
  return mutex;
}
int lose(int code, const std::string& text) {
  fprintf(stderr, "CUDA stub: %s\n", text.c_str());
  if (!lostCode) {
    lostCode = code;
    lostText = text;
  }
  return code;
}
int lost() { return lostCode; }

size_t bytesBehind(uint64_t address) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return 0;
  auto& [start, allocation] = *std::prev(next);
  return address - start >= allocation.bytes ? 0 : allocation.bytes - (address - start);
}

void* resolve(uint64_t address, size_t bytes, const std::string& what) {
  if (bytesBehind(address) >= bytes && bytes > 0) return reinterpret_cast<char*>(address - tag);
  for (auto& [start, length] : pinned) {
    uint64_t at = address - reinterpret_cast<uint64_t>(start);
    if (at <= length && bytes <= length - at) return start + at;
  }
  char text[160];
  snprintf(
      text, sizeof text, ": %zu bytes at 0x%llx, where %zu are allocated", bytes,
      (unsigned long long)address, bytesBehind(address));
  lose(illegalAddress, what + text);
  return nullptr;
}

int enqueue(void* handle, std::function<int()> work) {
  Stream* stream = find(handle);
  if (!stream) return invalidHandle;
  if (lostCode) return lostCode;
  if (stream->graph) {
    stream->graph->work.push_back(std::move(work));
    return success;
  }
  stream->work.push_back(std::move(work));
  static const bool isEager = setting("ABN_STUB_EAGER", 0) != 0;
  return isEager ? drain(*stream) : success;
}

int drainAll() {
  for (Stream* stream : streams) drain(*stream);
  return lostCode;
}

namespace {
/// The error of a call that may not be made while work is recorded; the recording is spoiled.
int refuseWhileRecording(const char* what) {
  int code = success;
  for (Stream* stream : streams) {
    if (!stream->graph) continue;
    stream->graph->isInvalid = true;
    code = captureUnsupported;
  }
  if (code) fprintf(stderr, "CUDA stub: %s while a stream is recorded\n", what);
  return code;
}
}  // namespace
}  // namespace stub

using namespace stub;
#define ENTER                                             \
  std::lock_guard<std::recursive_mutex> guard(stub::lock()); \
  if (lost()) return lost()

// MARK: Device

STUB_C int cuInit(unsigned) { return setting("ABN_STUB_DEVICES", 1) ? success : noDevice; }
STUB_C int cuDriverGetVersion(int* version) {
  *version = int(setting("ABN_STUB_DRIVER", 13000));
  return success;
}
STUB_C int cuDeviceGetCount(int* count) {
  *count = int(setting("ABN_STUB_DEVICES", 1));
  return success;
}
STUB_C int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && size_t(ordinal) < setting("ABN_STUB_DEVICES", 1) ? success : invalidDevice;
}
STUB_C int cuDeviceGetName(char* name, int length, int) {
  snprintf(name, size_t(length), "emulated card");
  return success;
}
STUB_C int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = setting("ABN_STUB_BYTES", size_t(2) << 30);
  return success;
}
STUB_C int cuDeviceGetAttribute(int* value, int attribute, int) {
  // Numbers of CUdevice_attribute.
  switch (attribute) {
    case 1: *value = 1024; break;                      // threads of a block
    case 2: case 3: *value = 1024; break;              // block's sizes
    case 4: *value = 64; break;
    case 5: *value = 0x7fffffff; break;                // grid's sizes
    case 6: case 7: *value = 65535; break;
    case 8: *value = 49152; break;                     // shared memory of a block, not asked for
    case 10: *value = 32; break;                       // lanes of a warp
    case 12: case 82: *value = 65536; break;           // registers
    case 16: *value = int(setting("ABN_STUB_MULTIPROCESSORS", 4)); break;
    case 31: case 41: *value = 1; break;               // kernels at once, one address space
    case 38: *value = 1 << 20; break;                  // L2
    case 39: *value = int(setting("ABN_STUB_THREADS", 2048)); break;
    case 75: *value = int(setting("ABN_STUB_CAPABILITY", 90) / 10); break;
    case 76: *value = int(setting("ABN_STUB_CAPABILITY", 90) % 10); break;
    case 81: *value = int(setting("ABN_STUB_SHARED", 65536)); break;
    case 88: *value = 0; break;                        // whether it reads memory that can be paged out
    case 95: *value = int(setting("ABN_STUB_COOPERATIVE", 1)); break;
    case 97: *value = int(setting("ABN_STUB_SHARED_PER_BLOCK", 49152)); break;
    case 106: *value = 32; break;                      // blocks of a multiprocessor
    case 111: *value = 1024; break;                    // shared memory that the driver takes of a block
    default:
      fprintf(stderr, "CUDA stub: device attribute %d is not known\n", attribute);
      return invalidValue;
  }
  return success;
}

static thread_local void* currentContext = nullptr;
static int primary;
STUB_C int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &primary;
  return success;
}
STUB_C int cuDevicePrimaryCtxRelease_v2(int) { return success; }
STUB_C int cuCtxSetCurrent(void* context) {
  currentContext = context;
  return context == nullptr || context == &primary ? success : invalidContext;
}
STUB_C int cuCtxGetCurrent(void** context) {
  *context = currentContext;
  return success;
}
#define ENTER_CONTEXT \
  ENTER;              \
  if (!currentContext) return invalidContext

STUB_C int cuGetErrorString(int code, const char** text) {
  static const std::map<int, const char*> texts = {
      {success, "no error"}, {invalidValue, "invalid argument"}, {outOfMemory, "out of memory"},
      {notInitialized, "initialization error"}, {noDevice, "no CUDA-capable device is detected"},
      {invalidDevice, "invalid device ordinal"}, {invalidImage, "device kernel image is invalid"},
      {invalidContext, "invalid device context"}, {invalidHandle, "invalid resource handle"},
      {notFound, "named symbol not found"}, {notReady, "device not ready"},
      {illegalAddress, "an illegal memory access was encountered"},
      {launchOutOfResources, "too many resources requested for launch"},
      {launchTimeout, "the launch timed out and was terminated"},
      {launchFailed, "unspecified launch failure"},
      {cooperativeLaunchTooLarge, "too many blocks in cooperative launch"},
      {notSupported, "operation not supported"},
      {captureUnsupported, "operation not permitted when stream is capturing"},
      {captureInvalidated, "operation failed due to a previous error during capture"},
      {captureUnmatched, "stream is not capturing"},
      {captureIsolation, "dependency created on uncaptured work in another stream"}};
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  auto found = texts.find(code);
  *text = code && code == lostCode ? lostText.c_str()
          : found != texts.end()   ? found->second
                                   : "unknown error";
  return found != texts.end() ? success : invalidValue;
}
STUB_C int cuGetErrorName(int code, const char** text) { return cuGetErrorString(code, text); }

// MARK: Memory

STUB_C int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  ENTER_CONTEXT;
  if (bytes == 0) return invalidValue;
  if (int code = refuseWhileRecording("cuMemAlloc")) return code;
  if (allocated + bytes > setting("ABN_STUB_BYTES", size_t(2) << 30)) return outOfMemory;
  size_t page = size_t(sysconf(_SC_PAGESIZE)), rounded = (bytes + 255) / 256 * 256;
  size_t mapped = (rounded + page - 1) / page * page + page;
  void* mapping = mmap(
      nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return outOfMemory;
  char* end = static_cast<char*>(mapping) + mapped - page;
  mprotect(end, page, PROT_NONE);
  memset(end - rounded, 0xff, rounded);
  *address = reinterpret_cast<uint64_t>(end - rounded) + tag;
  allocations[*address] = {static_cast<char*>(mapping), mapped, bytes};
  allocated += bytes;
  return success;
}
STUB_C int cuMemFree_v2(uint64_t address) {
  ENTER_CONTEXT;
  if (address == 0) return success;
  if (int code = refuseWhileRecording("cuMemFree")) return code;
  if (int code = drainAll()) return code;
  auto found = allocations.find(address);
  if (found == allocations.end()) return invalidValue;
  munmap(found->second.mapping, found->second.mapped);
  allocated -= found->second.bytes;
  allocations.erase(found);
  return success;
}
STUB_C int cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTER_CONTEXT;
  *total = setting("ABN_STUB_BYTES", size_t(2) << 30);
  *free = *total - allocated;
  return success;
}
STUB_C int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  ENTER_CONTEXT;
  if (int code = refuseWhileRecording("cuMemHostAlloc")) return code;
  *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*address) return outOfMemory;
  memset(*address, 0xff, bytes);
  pinned[static_cast<char*>(*address)] = bytes;
  return success;
}
STUB_C int cuMemFreeHost(void* address) {
  ENTER_CONTEXT;
  if (int code = drainAll()) return code;
  if (!pinned.erase(static_cast<char*>(address))) return invalidValue;
  free(address);
  return success;
}
STUB_C int cuMemHostGetDevicePointer_v2(uint64_t* device, void* host, unsigned) {
  *device = reinterpret_cast<uint64_t>(host);
  return success;
}

static bool isPinned(const void* address, size_t bytes) {
  for (auto& [start, length] : pinned)
    if (address >= start && static_cast<const char*>(address) + bytes <= start + length) return true;
  return false;
}
STUB_C int cuMemcpyHtoDAsync_v2(uint64_t target, const void* source, size_t bytes, void* stream) {
  ENTER_CONTEXT;
  void* to = bytes ? resolve(target, bytes, "a copy to the device") : nullptr;
  if (!to) return lost();
  if (isPinned(source, bytes))
    return enqueue(stream, [=] { return memcpy(to, source, bytes), success; });
  // Memory of the host that can be paged out is read before the call returns.
  auto copy = std::make_shared<std::vector<char>>(
      static_cast<const char*>(source), static_cast<const char*>(source) + bytes);
  return enqueue(stream, [=] { return memcpy(to, copy->data(), bytes), success; });
}
STUB_C int cuMemcpyDtoHAsync_v2(void* target, uint64_t source, size_t bytes, void* stream) {
  ENTER_CONTEXT;
  void* from = bytes ? resolve(source, bytes, "a copy from the device") : nullptr;
  if (!from) return lost();
  return enqueue(stream, [=] { return memcpy(target, from, bytes), success; });
}
STUB_C int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, void* stream) {
  ENTER_CONTEXT;
  if (bytes == 0) return success;
  void* to = resolve(target, bytes, "a copy on the device");
  void* from = resolve(source, bytes, "a copy on the device");
  if (!to || !from) return lost();
  return enqueue(stream, [=] { return memmove(to, from, bytes), success; });
}
STUB_C int cuMemsetD8Async(uint64_t target, unsigned char value, size_t bytes, void* stream) {
  ENTER_CONTEXT;
  void* to = bytes ? resolve(target, bytes, "cuMemsetD8") : nullptr;
  if (!to) return lost();
  return enqueue(stream, [=] { return memset(to, value, bytes), success; });
}
STUB_C int cuMemsetD32Async(uint64_t target, unsigned value, size_t count, void* stream) {
  ENTER_CONTEXT;
  void* to = count ? resolve(target, 4 * count, "cuMemsetD32") : nullptr;
  if (!to) return lost();
  return enqueue(stream, [=] {
    for (size_t i = 0; i < count; i++) static_cast<unsigned*>(to)[i] = value;
    return success;
  });
}

// MARK: Streams and events

STUB_C int cuStreamCreate(void** stream, unsigned) {
  ENTER_CONTEXT;
  auto made = new Stream;
  streams.insert(made);
  *stream = made;
  return success;
}
STUB_C int cuStreamDestroy_v2(void* handle) {
  ENTER_CONTEXT;
  Stream* stream = find(handle);
  if (!stream || stream == &standard) return invalidHandle;
  int code = drain(*stream);
  streams.erase(stream);  // its marks may still point to it
  return code;
}
STUB_C int cuStreamSynchronize(void* handle) {
  ENTER_CONTEXT;
  Stream* stream = find(handle);
  if (!stream) return invalidHandle;
  if (int code = refuseWhileRecording("cuStreamSynchronize")) return code;
  return drain(*stream);
}
STUB_C int cuStreamQuery(void* handle) { return cuStreamSynchronize(handle); }
STUB_C int cuCtxSynchronize() {
  ENTER_CONTEXT;
  if (int code = refuseWhileRecording("cuCtxSynchronize")) return code;
  return drainAll();
}
STUB_C int cuMemcpyHtoD_v2(uint64_t target, const void* source, size_t bytes) {
  int code = cuMemcpyHtoDAsync_v2(target, source, bytes, nullptr);
  return code ? code : cuStreamSynchronize(nullptr);
}
STUB_C int cuMemcpyDtoH_v2(void* target, uint64_t source, size_t bytes) {
  int code = cuMemcpyDtoHAsync_v2(target, source, bytes, nullptr);
  return code ? code : cuStreamSynchronize(nullptr);
}

STUB_C int cuEventCreate(void** event, unsigned) {
  ENTER_CONTEXT;
  *event = new Event;
  return success;
}
STUB_C int cuEventDestroy_v2(void* event) {
  ENTER;
  delete static_cast<Event*>(event);
  return success;
}
STUB_C int cuEventRecord(void* handle, void* streamHandle) {
  ENTER_CONTEXT;
  Stream* stream = find(streamHandle);
  if (!stream) return invalidHandle;
  Event& event = *static_cast<Event*>(handle);
  event.graph = stream->graph;
  event.mark = nullptr;
  if (stream->graph) return success;  // what is recorded runs in the order of the calls
  auto mark = std::make_shared<Mark>();
  mark->stream = stream;
  event.mark = mark;
  return enqueue(streamHandle, [=] {
    mark->reached = true;
    mark->time = now();
    return success;
  });
}
STUB_C int cuStreamWaitEvent(void* handle, void* eventHandle, unsigned) {
  ENTER_CONTEXT;
  Stream* stream = find(handle);
  if (!stream) return invalidHandle;
  Event& event = *static_cast<Event*>(eventHandle);
  if (event.graph) {
    if (stream->graph && stream->graph != event.graph) return captureIsolation;
    stream->graph = event.graph;
    return success;
  }
  if (stream->graph) return captureIsolation;
  auto mark = event.mark;
  if (!mark) return success;
  return enqueue(handle, [=] { return mark->reached ? int(success) : drain(*mark->stream, mark.get()); });
}
STUB_C int cuEventSynchronize(void* handle) {
  ENTER_CONTEXT;
  Event& event = *static_cast<Event*>(handle);
  if (event.graph) return refuseWhileRecording("cuEventSynchronize");
  return event.mark && !event.mark->reached ? drain(*event.mark->stream, event.mark.get()) : success;
}
STUB_C int cuEventQuery(void* event) { return cuEventSynchronize(event); }
STUB_C int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  ENTER_CONTEXT;
  auto &from = static_cast<Event*>(start)->mark, &to = static_cast<Event*>(end)->mark;
  if (!from || !to) return invalidHandle;
  if (!from->reached || !to->reached) return notReady;
  *milliseconds = float(to->time - from->time);
  return success;
}
STUB_C int cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  return cuEventElapsedTime(milliseconds, start, end);
}

// MARK: Graphs

STUB_C int cuStreamBeginCapture_v2(void* handle, int) {
  ENTER_CONTEXT;
  Stream* stream = find(handle);
  if (!stream || stream->graph) return invalidHandle;
  if (stream == &standard) return captureUnsupported;
  stream->graph = std::make_shared<Graph>();
  return success;
}
STUB_C int cuStreamIsCapturing(void* handle, int* status) {
  ENTER;
  Stream* stream = find(handle);
  *status = !stream || !stream->graph ? 0 : stream->graph->isInvalid ? 2 : 1;
  return success;
}
STUB_C int cuStreamEndCapture(void* handle, void** result) {
  ENTER_CONTEXT;
  Stream* stream = find(handle);
  *result = nullptr;
  if (!stream || !stream->graph) return captureUnmatched;
  auto graph = stream->graph;
  for (Stream* each : streams)
    if (each->graph == graph) each->graph = nullptr;
  if (graph->isInvalid) return captureInvalidated;
  *result = new Executable{graph->work};
  return success;
}
STUB_C int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  ENTER_CONTEXT;
  *executable = new Executable(*static_cast<Executable*>(graph));
  return success;
}
STUB_C int cuGraphUpload(void*, void*) { return success; }
STUB_C int cuGraphLaunch(void* handle, void* stream) {
  ENTER_CONTEXT;
  for (auto& work : static_cast<Executable*>(handle)->work)
    if (int code = enqueue(stream, work)) return code;
  return success;
}
STUB_C int cuGraphDestroy(void* graph) {
  delete static_cast<Executable*>(graph);
  return success;
}
STUB_C int cuGraphExecDestroy(void* graph) {
  delete static_cast<Executable*>(graph);
  return success;
}
