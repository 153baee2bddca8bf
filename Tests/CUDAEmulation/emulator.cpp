// Grids on a processor. A block is a thread of the system; its CUDA threads are fibers that take turns:
// a fiber runs until it ends or waits for others, at a barrier, in an operation of its warp, or in a loop
// over a counter. So a kernel that never waits is a plain loop over its threads on one stack.
//
// Barriers and warps are exact: who has ended is not waited for, and where all that are left wait for
// something that cannot come, the grid ends with a fault that says so. Blocks meet through real
// atomics; where no block gets ahead for ABN_STUB_PATIENCE seconds (20), that is a fault too.
#include "emulator.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

struct Index3 { uint32_t x, y, z; };
/// As in cuda_on_cpu.h.
struct EmulatedBlock {
  Index3 thread, index, dimension, grid;
  unsigned char* shared;
};
extern "C" thread_local EmulatedBlock* emulationBlock
    __attribute__((tls_model("initial-exec"), visibility("default")));
thread_local EmulatedBlock* emulationBlock = nullptr;

namespace emulation {
namespace {

// MARK: Switching between stacks

#if defined(__x86_64__)
typedef void* Context;
extern "C" void emulationSwitch(void** from, void* to);
// Keeps the registers that a call keeps, then the stack is another.
asm(R"(
.text
.hidden emulationSwitch
.type emulationSwitch, @function
emulationSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.size emulationSwitch, .-emulationSwitch
)");
void change(Context& from, Context& to) { emulationSwitch(&from, to); }
void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + bytes) - 1;
  *--top = reinterpret_cast<void*>(entry);
  top -= 6;
  memset(top, 0, 6 * sizeof(void*));
  context = top;
}
#else
typedef ucontext_t Context;
void change(Context& from, Context& to) { swapcontext(&from, &to); }
void prepare(Context& context, char* stack, size_t bytes, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
#endif

// MARK: One block

constexpr size_t stackBytes = 1 << 16;
constexpr uint64_t stackEnd = 0x5afe57acc0ffee11;

struct PendingCopy { void* to; const void* from; uint32_t group; };
struct Fiber {
  enum State { runs, barrier, warp, loop, ended } state = ended;
  uint32_t number = 0, copyGroup = 0;
  Context context;
  std::vector<PendingCopy> copies;
};
struct Warp {
  uint32_t alive = 0, arrived = 0, released = 0;
  uint32_t wanted[32];
  int source[32];
  uint64_t in[32], out[32];
};

struct Run;
/// A block, and the stacks on which a thread of the system runs its fibers.
struct Block : EmulatedBlock {
  Run* run = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<uint32_t> waiting;
  char* stacks = nullptr;
  std::unique_ptr<char[]> room;
  size_t roomBytes = 0;
  uint32_t threads = 0, next = 0, alive = 0, arrived = 0, conditions = 0, held = 0;
  Fiber* current = nullptr;
  Context scheduler;
  sigjmp_buf rescue;
  const char* trap = nullptr;
  ~Block() { if (stacks) munmap(stacks, 1024 * stackBytes); }
};

struct Run {
  const Grid* grid;
  const std::function<void()>* thread;
  uint64_t count;
  std::atomic<uint64_t> next{0}, progress{0};
  std::atomic<bool> failed{false};
  std::mutex lock;
  Fault fault;
};

/// Not inlined: a fiber may go on in another thread of the system, where the variable stands elsewhere.
__attribute__((noinline)) Block& here() {
  asm volatile("" ::: "memory");
  return *static_cast<Block*>(emulationBlock);
}

void yield(Fiber::State state) {
  Block& b = here();
  b.current->state = state;
  change(b.current->context, b.scheduler);
}

/// Lets all go that wait at the barrier, where nobody is missing.
void releaseBarrier(Block& b) {
  if (b.alive == 0 || b.arrived < b.alive) return;
  b.arrived = 0;
  b.held = b.conditions;
  b.conditions = 0;
  for (uint32_t i : b.waiting)
    if (b.fibers[i].state == Fiber::barrier) b.fibers[i].state = Fiber::runs;
}

/// Lets the lanes of `mask` go, where none of them is missing.
void releaseWarp(Block& b, Warp& w, uint32_t mask) {
  uint32_t missing = mask & w.alive & ~w.arrived;
  uint32_t group = mask & w.arrived;
  if (missing || !group) return;
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; lane++)
    if (group >> lane & 1 && w.in[lane]) votes |= 1u << lane;
  for (int lane = 0; lane < 32; lane++) {
    if (!(group >> lane & 1)) continue;
    int from = w.source[lane];
    if (from == -2) w.out[lane] = votes;
    else if (from < 0) w.out[lane] = w.in[lane];
    else w.out[lane] = group >> (from & 31) & 1 ? w.in[from & 31] : ~uint64_t(0);
  }
  w.arrived &= ~group;
  w.released |= group;
}

void enter() {
  for (;;) {
    Block& b = here();
    (*b.run->thread)();
    Block& after = here();
    Fiber& f = *after.current;
    Warp& w = after.warps[f.number / 32];
    w.alive &= ~(1u << f.number % 32);
    after.alive--;
    releaseBarrier(after);
    for (int lane = 0; lane < 32; lane++)
      if (w.arrived >> lane & 1) releaseWarp(after, w, w.wanted[lane]);
    f.copies.clear();
    yield(Fiber::ended);
  }
}

char* stack(Block& b, uint32_t fiber) { return b.stacks + fiber * stackBytes; }

void place(Block& b, uint32_t number) {
  uint32_t x = b.dimension.x, y = b.dimension.y;
  b.thread = {number % x, number / x % y, number / x / y};
}

std::string describe(Block& b, const char* what) {
  char text[512];
  snprintf(
      text, sizeof text, "%s in kernel %s, block %u of %llu, thread %u of %u", what,
      b.run->grid->name, b.index.x + b.grid.x * (b.index.y + b.grid.y * b.index.z),
      (unsigned long long)b.run->count, b.current ? b.current->number : 0, b.threads);
  return text;
}

void fail(Run& run, Fault::Kind kind, const std::string& text) {
  std::lock_guard<std::mutex> guard(run.lock);
  if (run.fault.kind == Fault::none) run.fault = {kind, text};
  run.failed = true;
}

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}
double patience() {
  static const double value = [] {
    const char* text = getenv("ABN_STUB_PATIENCE");
    return text ? atof(text) : 20.0;
  }();
  return value;
}

std::string whatIsWaitedFor(Block& b) {
  uint32_t atBarrier = 0, inWarp = 0, inLoop = 0;
  for (uint32_t i : b.waiting) {
    atBarrier += b.fibers[i].state == Fiber::barrier;
    inWarp += b.fibers[i].state == Fiber::warp;
    inLoop += b.fibers[i].state == Fiber::loop;
  }
  char text[256];
  snprintf(
      text, sizeof text,
      "threads wait for ever (%u at __syncthreads, %u in an operation of their warp, %u in a loop, "
      "%u have ended)",
      atBarrier, inWarp, inLoop, b.threads - atBarrier - inWarp - inLoop);
  return text;
}

/// Runs a fiber until it waits or ends.
bool resume(Block& b, uint32_t index) {
  Fiber& f = b.fibers[index];
  b.current = &f;
  place(b, f.number);
  f.state = Fiber::runs;
  change(b.scheduler, f.context);
  uint64_t word;
  memcpy(&word, stack(b, index), 8);
  if (word != stackEnd) {
    fail(*b.run, Fault::trap, describe(b, "a thread's stack is full"));
    return false;
  }
  return f.state != Fiber::ended;
}

/// Runs the threads of a block that has been set up.
void runThreads(Block& b) {
  Run& run = *b.run;
  // First all threads from their start, each on the first stack that is free.
  while (b.next < b.threads) {
    if (run.failed.load(std::memory_order_relaxed)) return;
    uint32_t index = uint32_t(b.waiting.size());
    Fiber& f = b.fibers[index];
    f.number = b.next++;
    f.copyGroup = 0;
    b.waiting.push_back(index);
    if (!resume(b, index)) b.waiting.pop_back();
  }
  uint64_t seen = run.progress.load();
  double since = 0;
  while (b.alive) {
    if (run.failed.load(std::memory_order_relaxed)) return;
    bool ran = false, loops = false;
    for (size_t i = 0; i < b.waiting.size(); i++) {
      Fiber& f = b.fibers[b.waiting[i]];
      if (f.state == Fiber::warp) {
        Warp& w = b.warps[f.number / 32];
        if (!(w.released >> f.number % 32 & 1)) continue;
        w.released &= ~(1u << f.number % 32);
      } else if (f.state == Fiber::loop) {
        loops = true;
      } else if (f.state != Fiber::runs) {
        continue;
      }
      ran = ran || f.state != Fiber::loop;
      resume(b, b.waiting[i]);
      if (run.failed.load(std::memory_order_relaxed)) return;
      ran = ran || f.state != Fiber::loop;
    }
    if (ran) {
      // The order of the rest stays, so that every run does the same.
      size_t kept = 0;
      for (uint32_t i : b.waiting)
        if (b.fibers[i].state != Fiber::ended) b.waiting[kept++] = i;
      b.waiting.resize(kept);
      since = 0;
      continue;
    }
    if (!loops) {
      if (b.alive) fail(run, Fault::endless, describe(b, whatIsWaitedFor(b).c_str()));
      return;
    }
    uint64_t now = run.progress.load();
    if (since == 0 || now != seen) {
      seen = now;
      since = seconds();
    } else if (seconds() - since > patience()) {
      fail(run, Fault::endless, describe(b, whatIsWaitedFor(b).c_str()));
      return;
    }
    std::this_thread::yield();
  }
}

void runBlock(Block& b, uint64_t number) {
  const Grid& grid = *b.run->grid;
  b.grid = {grid.blocks[0], grid.blocks[1], grid.blocks[2]};
  b.dimension = {grid.threads[0], grid.threads[1], grid.threads[2]};
  b.index = {
      uint32_t(number % b.grid.x), uint32_t(number / b.grid.x % b.grid.y),
      uint32_t(number / b.grid.x / b.grid.y)};
  b.threads = b.dimension.x * b.dimension.y * b.dimension.z;
  if (!b.stacks) {
    b.stacks = static_cast<char*>(mmap(
        nullptr, 1024 * stackBytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (b.stacks == MAP_FAILED) {
      perror("stacks of an emulated block");
      abort();
    }
  }
  while (b.fibers.size() < b.threads) {
    b.fibers.emplace_back();
    uint32_t index = uint32_t(b.fibers.size() - 1);
    memcpy(stack(b, index), &stackEnd, 8);
    prepare(b.fibers.back().context, stack(b, index), stackBytes, enter);
  }
  // What is left over behind the dynamic part is poison too.
  size_t bytes = grid.shared + 256;
  if (b.roomBytes < bytes) {
    b.room.reset(new char[bytes + 128]);
    b.roomBytes = bytes;
  }
  b.shared = reinterpret_cast<unsigned char*>((uintptr_t(b.room.get()) + 127) & ~uintptr_t(127));
  memset(b.shared, 0xff, bytes);
  if (grid.staticShared.anchor) {
    char* anchor = static_cast<char*>(grid.staticShared.anchor());
    memset(anchor - grid.staticShared.anchorOffset, 0xff, grid.staticShared.bytes);
  }
  b.warps.assign((b.threads + 31) / 32, Warp());
  for (uint32_t i = 0; i < b.threads; i++) b.warps[i / 32].alive |= 1u << i % 32;
  b.alive = b.threads;
  b.next = b.arrived = b.conditions = 0;
  b.waiting.clear();
  b.trap = nullptr;
  emulationBlock = &b;
  if (sigsetjmp(b.rescue, 0) == 0) {
    runThreads(b);
  } else {
    // A signal came; its handler's mask is still set.
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE}) sigaddset(&set, s);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    bool isTrap = b.trap != nullptr;
    fail(
        *b.run, isTrap ? Fault::trap : Fault::memory,
        describe(b, isTrap ? b.trap : "an illegal memory access"));
  }
  emulationBlock = nullptr;
  for (size_t i = 0; i < 256; i++) {
    if (b.shared[grid.shared + i] == 0xff) continue;
    fail(*b.run, Fault::memory, describe(b, "a store behind the dynamic shared memory"));
    break;
  }
  if (!b.waiting.empty() || b.run->failed) {
    // Fibers that will not go on: their stacks start anew.
    for (uint32_t i = 0; i < b.fibers.size(); i++) {
      b.fibers[i].copies.clear();
      memcpy(stack(b, i), &stackEnd, 8);
      prepare(b.fibers[i].context, stack(b, i), stackBytes, enter);
    }
  }
  b.run->progress.fetch_add(1, std::memory_order_relaxed);
}

// MARK: Faults of the processor

struct sigaction former[65];

void handle(int signal, siginfo_t* info, void* context) {
  if (emulationBlock) {
    Block& b = here();
    if (signal == SIGILL || signal == SIGTRAP)
      b.trap = "an address that is not aligned, or an index beyond an array,";
    if (signal == SIGFPE) b.trap = "a division by zero";
    siglongjmp(b.rescue, 1);
  }
  const struct sigaction& before = former[signal];
  if (before.sa_flags & SA_SIGINFO && before.sa_sigaction) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else {
    struct sigaction plain = {};
    plain.sa_handler = SIG_DFL;
    sigaction(signal, &plain, nullptr);  // the access is repeated, and ends the program
  }
}

void installHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE}) sigaction(s, &action, &former[s]);
  });
}

/// A fiber's stack may be what a handler cannot run on.
struct SignalStack {
  char memory[1 << 16];
  stack_t before = {};
  SignalStack() {
    stack_t mine = {};
    mine.ss_sp = memory;
    mine.ss_size = sizeof memory;
    sigaltstack(&mine, &before);
  }
  ~SignalStack() { sigaltstack(&before, nullptr); }
};

// MARK: Threads of the system

void work(Run& run, Block& block) {
  block.run = &run;
  for (;;) {
    uint64_t number = run.next.fetch_add(1);
    if (number >= run.count || run.failed) return;
    runBlock(block, number);
  }
}

/// Threads that stay, with their stacks.
class Workers {
 public:
  /// Runs `run` in `count` threads, of which the caller is one.
  void work(Run& run, uint32_t count) {
    std::unique_lock<std::mutex> guard(lock);
    while (started + 1 < count) {
      started++;
      std::thread([this] { loop(); }).detach();
    }
    current = &run;
    wanted = count - 1;
    busy = count - 1;
    if (wanted) wake.notify_all();
    guard.unlock();
    {
      auto stack = std::make_unique<SignalStack>();
      emulation::work(run, own);
    }
    guard.lock();
    done.wait(guard, [this] { return busy == 0; });
    current = nullptr;
  }

 private:
  void loop() {
    auto stack = std::make_unique<SignalStack>();
    Block block;
    std::unique_lock<std::mutex> guard(lock);
    for (;;) {
      wake.wait(guard, [this] { return wanted > 0; });
      wanted--;
      Run& run = *current;
      guard.unlock();
      emulation::work(run, block);
      guard.lock();
      if (--busy == 0) done.notify_all();
    }
  }
  std::mutex lock;
  std::condition_variable wake, done;
  uint32_t started = 0, wanted = 0, busy = 0;
  Run* current = nullptr;
  Block own;
};
}  // namespace

Fault run(const Grid& grid, const std::function<void()>& thread) {
  // One grid at a time; never destroyed, as its threads go on until the process ends.
  static std::mutex* turn = new std::mutex;
  static Workers* workers = new Workers;
  std::lock_guard<std::mutex> guard(*turn);
  installHandlers();
  Run run;
  run.grid = &grid;
  run.thread = &thread;
  run.count = uint64_t(grid.blocks[0]) * grid.blocks[1] * grid.blocks[2];
  uint64_t threads = uint64_t(grid.threads[0]) * grid.threads[1] * grid.threads[2];
  uint64_t most = run.count;
  if (!grid.isCooperative) {
    uint64_t cores = std::max(1u, std::thread::hardware_concurrency());
    most = std::min<uint64_t>({most, grid.resident, cores});
    if (run.count * threads <= 2048) most = 1;  // waking others takes longer
  }
  workers->work(run, uint32_t(std::max<uint64_t>(most, 1)));
  return run.fault;
}

void launch(uint32_t blocks, uint32_t threads, size_t shared, const std::function<void()>& thread) {
  Grid grid;
  grid.blocks[0] = blocks;
  grid.threads[0] = threads;
  grid.shared = shared;
  grid.isCooperative = true;
  Fault fault = run(grid, thread);
  if (fault.kind == Fault::none) return;
  fprintf(stderr, "%s\n", fault.text.c_str());
  abort();
}
}  // namespace emulation

// MARK: What kernels call

using namespace emulation;
#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED [[noreturn]] void emulationTrap(const char* what) {
  Block& b = here();
  b.trap = what;
  siglongjmp(b.rescue, 1);
}

EXPORTED int emulationBarrier(int condition) {
  Block& b = here();
  b.arrived++;
  b.conditions += condition != 0;
  b.current->state = Fiber::barrier;
  releaseBarrier(b);
  yield(b.current->state);
  return int(here().held);
}

static uint64_t inWarp(uint32_t mask, uint64_t value, int source) {
  Block& b = here();
  uint32_t number = b.current->number, lane = number % 32;
  Warp& w = b.warps[number / 32];
  if (!(mask >> lane & 1)) emulationTrap("a warp's mask without the thread that calls");
  w.in[lane] = value;
  w.source[lane] = source;
  w.wanted[lane] = mask;
  w.arrived |= 1u << lane;
  releaseWarp(b, w, mask);
  yield(Fiber::warp);
  return here().warps[number / 32].out[lane];
}
EXPORTED uint64_t emulationExchange(uint32_t mask, uint64_t value, int source) {
  return inWarp(mask, value, source);
}
EXPORTED uint32_t emulationBallot(uint32_t mask, int condition) {
  return uint32_t(inWarp(mask, condition != 0, -2));
}

EXPORTED void emulationWait() { yield(Fiber::loop); }
EXPORTED void emulationProgress() {
  here().run->progress.fetch_add(1, std::memory_order_relaxed);
}

EXPORTED void emulationCopyAsync(void* shared, const void* global) {
  Block& b = here();
  if ((uintptr_t(shared) | uintptr_t(global)) % 16)
    emulationTrap("copyAsync with an address that is not aligned");
  b.current->copies.push_back({shared, global, b.current->copyGroup});
}
EXPORTED void emulationCommitAsync() { here().current->copyGroup++; }
EXPORTED void emulationWaitAsync(int pendingGroups) {
  Fiber& f = *here().current;
  size_t kept = 0;
  for (PendingCopy copy : f.copies) {
    if (pendingGroups < 0 || int(f.copyGroup - copy.group) > pendingGroups)
      memcpy(copy.to, copy.from, 16);
    else
      f.copies[kept++] = copy;
  }
  f.copies.resize(kept);
}
