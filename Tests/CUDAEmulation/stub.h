// What the libraries of the stub share: libcuda.so.1 has it, the others are linked to that.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#define STUB_EXPORTED __attribute__((visibility("default")))
#define STUB_C extern "C" __attribute__((visibility("default")))

namespace stub {
// Numbers of CUresult, CUDA Driver API reference.
enum Result {
  success = 0, invalidValue = 1, outOfMemory = 2, notInitialized = 3, noDevice = 100,
  invalidDevice = 101, invalidImage = 200, invalidContext = 201, invalidHandle = 400,
  notFound = 500, notReady = 600, illegalAddress = 700, launchOutOfResources = 701,
  launchTimeout = 702, launchFailed = 719, cooperativeLaunchTooLarge = 720, notSupported = 801,
  captureUnsupported = 900, captureInvalidated = 901, captureUnmatched = 903,
  captureIsolation = 905,
};

/// A number of the environment, which a test may set to make another card.
STUB_EXPORTED size_t setting(const char* name, size_t standard);

/// Held by every call.
STUB_EXPORTED std::recursive_mutex& lock();

/// The bytes behind an address of the device that are allocated, for the host; nullptr and an error with
/// `what` where they are not all in one allocation.
STUB_EXPORTED void* resolve(uint64_t address, size_t bytes, const std::string& what);

/// The most bytes behind an address that one allocation has; 0 for what is no address of the device.
STUB_EXPORTED size_t bytesBehind(uint64_t address);

/// Notes an error that all later calls give, as a card whose context is lost.
STUB_EXPORTED int lose(int code, const std::string& text);
/// The error that was noted.
STUB_EXPORTED int lost();

/// Puts work on a stream, or into the graph that is recorded from it.
STUB_EXPORTED int enqueue(void* stream, std::function<int()> work);

/// Runs everything that was put on streams.
STUB_EXPORTED int drainAll();
}  // namespace stub
