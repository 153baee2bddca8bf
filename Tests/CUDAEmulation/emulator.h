// Runs grids of kernels that were compiled behind cuda_on_cpu.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace emulation {
/// The memory that a kernel's `__shared__` variables have in each thread of the system.
struct StaticShared {
  /// Gives an address within it, for the thread that asks.
  void* (*anchor)() = nullptr;
  size_t anchorOffset = 0, bytes = 0;
};

struct Grid {
  const char* name = "kernel";
  uint32_t blocks[3] = {1, 1, 1}, threads[3] = {1, 1, 1};
  /// Bytes of dynamic shared memory.
  size_t shared = 0;
  StaticShared staticShared;
  /// The most blocks that are run at once; all of them with `isCooperative`.
  uint32_t resident = 1;
  bool isCooperative = false;
};

/// What went wrong in a grid; empty where nothing did.
struct Fault {
  enum Kind { none, memory, endless, trap } kind = none;
  std::string text;
};

/// Runs `thread` in every thread of a grid.
Fault run(const Grid& grid, const std::function<void()>& thread);

/// Ends the program where a grid fails; for tests without a driver.
void launch(uint32_t blocks, uint32_t threads, size_t shared, const std::function<void()>& thread);
}  // namespace emulation
