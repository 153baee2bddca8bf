// libcuda.so.1 for machines without a card: modules made by nvrtc.cpp, and launches of their kernels.
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "emulator.h"
#include "stub.h"

using namespace stub;

namespace {
struct Parameter { uint32_t bytes, isPointer; };
struct Function {
  std::string name;
  void (*call)(void**) = nullptr;
  const Parameter* parameters = nullptr;
  int bounds = 1024;
  size_t shared = 0;        // static
  int mostDynamic = 49152;  // until it is asked for
  emulation::StaticShared room;
};
struct Module {
  void* library = nullptr;
  emulation::StaticShared room;
  std::map<std::string, size_t> variables;  // shared ones, mangled
  std::map<std::string, std::unique_ptr<Function>> functions;
};

/// What the image says of its shared variables, which are variables of a thread of the system.
void readShared(const char* image, Module& module) {
  auto& header = *reinterpret_cast<const Elf64_Ehdr*>(image);
  for (int i = 0; i < header.e_phnum; i++) {
    auto& part = *reinterpret_cast<const Elf64_Phdr*>(image + header.e_phoff + i * header.e_phentsize);
    if (part.p_type == PT_TLS) module.room.bytes = part.p_memsz;
  }
  auto section = [&](uint32_t i) -> const Elf64_Shdr& {
    return *reinterpret_cast<const Elf64_Shdr*>(image + header.e_shoff + i * header.e_shentsize);
  };
  for (uint32_t i = 0; i < header.e_shnum; i++) {
    if (section(i).sh_type != SHT_SYMTAB) continue;
    const char* names = image + section(section(i).sh_link).sh_offset;
    auto symbols = reinterpret_cast<const Elf64_Sym*>(image + section(i).sh_offset);
    for (size_t s = 0; s < section(i).sh_size / sizeof(Elf64_Sym); s++) {
      if (ELF64_ST_TYPE(symbols[s].st_info) != STT_TLS || symbols[s].st_shndx == SHN_UNDEF) continue;
      std::string name = names + symbols[s].st_name;
      if (name.find("emulationAnchorVariable") != std::string::npos)
        module.room.anchorOffset = symbols[s].st_value;
      else
        module.variables[name] = symbols[s].st_size;
    }
  }
}

/// Blocks that a multiprocessor holds at once.
int residentBlocks(const Function& f, size_t threads, size_t dynamic) {
  if (threads < 1 || threads > size_t(f.bounds)) return 0;
  size_t shared = f.shared + dynamic + 1024, warps = (threads + 31) / 32;
  if (f.shared + dynamic > setting("ABN_STUB_SHARED_PER_BLOCK", 49152)) return 0;
  size_t byThreads = setting("ABN_STUB_THREADS", 2048) / (32 * warps);
  return int(std::min<size_t>({32, byThreads, setting("ABN_STUB_SHARED", 65536) / shared}));
}

int run(const Function& f, const emulation::Grid& grid, std::vector<std::vector<char>>& values) {
  // Kernels may change their arguments: each thread has its own.
  size_t count = values.size();
  emulation::Fault fault = emulation::run(grid, [&] {
    void* places[64];
    for (size_t i = 0; i < count; i++) places[i] = values[i].data();
    f.call(places);
  });
  switch (fault.kind) {
    case emulation::Fault::none: return success;
    case emulation::Fault::memory: return lose(illegalAddress, fault.text);
    case emulation::Fault::endless: return lose(launchTimeout, fault.text);
    case emulation::Fault::trap: return lose(launchFailed, fault.text);
  }
  return success;
}

/// Takes the arguments of a launch, with addresses of the device made those of the process.
int take(const Function& f, void** arguments, std::vector<std::vector<char>>& values) {
  for (size_t i = 0; f.parameters[i].bytes; i++) {
    const char* from = static_cast<const char*>(arguments[i]);
    std::vector<char> value(from, from + f.parameters[i].bytes);
    for (size_t at = 0; at + 8 <= value.size(); at += 8) {
      uint64_t word;
      memcpy(&word, &value[at], 8);
      bool isAddress = word >> 56 == 0x4d && bytesBehind(word) > 0;
      if (f.parameters[i].isPointer ? word == 0 : !isAddress) continue;
      std::string what = "argument " + std::to_string(i) + " of kernel " + f.name;
      void* resolved = resolve(word, 1, what);
      if (!resolved) return lost();
      memcpy(&value[at], &resolved, 8);
    }
    values.push_back(std::move(value));
  }
  return values.size() <= 64 ? success : invalidValue;
}

int launch(
    void* handle, const uint32_t (&size)[6], uint32_t dynamic, void* stream, void** arguments,
    bool isCooperative) {
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  if (lost()) return lost();
  if (!handle) return invalidHandle;
  Function& f = *static_cast<Function*>(handle);
  auto refuse = [&](int code, const char* why) {
    fprintf(
        stderr, "CUDA stub: kernel %s, grid %u %u %u, block %u %u %u, %u bytes of shared memory: %s\n",
        f.name.c_str(), size[0], size[1], size[2], size[3], size[4], size[5], dynamic, why);
    return code;
  };
  uint64_t threads = uint64_t(size[3]) * size[4] * size[5];
  uint64_t blocks = uint64_t(size[0]) * size[1] * size[2];
  if (!blocks || size[0] > 0x7fffffff || size[1] > 65535 || size[2] > 65535)
    return refuse(invalidValue, "no such grid");
  if (!threads || size[3] > 1024 || size[4] > 1024 || size[5] > 64 || threads > 1024)
    return refuse(invalidValue, "no such block");
  if (threads > uint64_t(f.bounds)) return refuse(invalidValue, "more threads than __launch_bounds__");
  if (int64_t(dynamic) > f.mostDynamic)
    return refuse(invalidValue, "more shared memory than the function's attribute allows");
  int resident = residentBlocks(f, threads, dynamic);
  if (resident == 0) return refuse(launchOutOfResources, "a multiprocessor does not hold one block");
  uint64_t atOnce = uint64_t(resident) * setting("ABN_STUB_MULTIPROCESSORS", 4);
  if (isCooperative && !setting("ABN_STUB_COOPERATIVE", 1))
    return refuse(notSupported, "the card has no cooperative launch");
  if (isCooperative && blocks > atOnce)
    return refuse(cooperativeLaunchTooLarge, "the card does not hold all blocks at once");
  auto values = std::make_shared<std::vector<std::vector<char>>>();
  if (int code = take(f, arguments, *values)) return code;
  emulation::Grid grid;
  grid.name = f.name.c_str();
  std::copy(size, size + 3, grid.blocks);
  std::copy(size + 3, size + 6, grid.threads);
  grid.shared = dynamic;
  grid.staticShared = f.room;
  grid.resident = uint32_t(std::min<uint64_t>(atOnce, 1 << 20));
  grid.isCooperative = isCooperative;
  return enqueue(stream, [&f, grid, values] { return run(f, grid, *values); });
}
}  // namespace

STUB_C int cuModuleLoadData(void** result, const void* image) {
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  if (lost()) return lost();
  const char* bytes = static_cast<const char*>(image);
  if (memcmp(bytes, "ABNSTUB1", 8) != 0) return invalidImage;
  uint64_t length;
  memcpy(&length, bytes + 8, 8);
  // The loader knows a library by its path too: each has its own.
  static int number = 0;
  std::string path = P_tmpdir "/abn-cuda-stub-" + std::to_string(getpid()) + "-" +
                     std::to_string(number++);
  int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0700);
  if (file < 0 || write(file, bytes + 16, length) != ssize_t(length)) return invalidImage;
  close(file);
  auto module = new Module;
  module->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(path.c_str());
  if (!module->library) {
    fprintf(stderr, "CUDA stub: %s\n", dlerror());
    delete module;
    return invalidImage;
  }
  module->room.anchor = reinterpret_cast<void* (*)()>(dlsym(module->library, "emulationAnchor"));
  readShared(bytes + 16, *module);
  *result = module;
  return success;
}

STUB_C int cuModuleUnload(void*) {
  // Work that has not run yet may call it: it stays until the process ends.
  return drainAll();
}

STUB_C int cuModuleGetFunction(void** result, void* handle, const char* name) {
  std::lock_guard<std::recursive_mutex> guard(stub::lock());
  Module& module = *static_cast<Module*>(handle);
  auto& known = module.functions[name];
  if (!known) {
    auto symbol = [&](const char* what) {
      return dlsym(module.library, (std::string(name) + what).c_str());
    };
    void* call = symbol("__launch");
    if (!call) return notFound;
    known = std::make_unique<Function>();
    known->name = name;
    known->call = reinterpret_cast<void (*)(void**)>(call);
    known->parameters =
        reinterpret_cast<const Parameter* (*)()>(symbol("__parameters"))();
    known->bounds = *static_cast<const int*>(symbol("__bounds"));
    known->room = module.room;
    // Those of the kernel itself, and of functions that are no kernels: _ZZ4nameE...
    for (auto& [variable, bytes] : module.variables) {
      bool isOther = false;
      if (variable.rfind("_ZZ", 0) == 0) {
        std::string rest = variable.substr(3);
        size_t digits = rest.find_first_not_of("0123456789");
        std::string function = rest.substr(digits, size_t(std::stoi(rest)));
        isOther = function != name && dlsym(module.library, (function + "__launch").c_str());
      }
      if (!isOther) known->shared += bytes;
    }
  }
  *result = known.get();
  return success;
}

STUB_C int cuFuncGetAttribute(int* value, int attribute, void* function) {
  // Numbers of CUfunction_attribute.
  Function& f = *static_cast<Function*>(function);
  switch (attribute) {
    case 0: *value = f.bounds; break;
    case 1: *value = int(f.shared); break;
    case 2: case 3: *value = 0; break;
    case 4: *value = 32; break;
    case 8: *value = f.mostDynamic; break;
    default: return invalidValue;
  }
  return success;
}

STUB_C int cuFuncSetAttribute(void* function, int attribute, int value) {
  Function& f = *static_cast<Function*>(function);
  if (attribute == 9) return success;  // how to share out the cache
  if (attribute != 8 || value < 0) return invalidValue;
  if (size_t(value) + f.shared > setting("ABN_STUB_SHARED_PER_BLOCK", 49152)) return invalidValue;
  f.mostDynamic = value;
  return success;
}

STUB_C int cuOccupancyMaxActiveBlocksPerMultiprocessor(
    int* count, void* function, int threads, size_t dynamic) {
  if (threads < 1) return invalidValue;
  *count = residentBlocks(*static_cast<Function*>(function), size_t(threads), dynamic);
  return success;
}

STUB_C int cuLaunchKernel(
    void* f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz,
    uint32_t shared, void* stream, void** arguments, void**) {
  return launch(f, {gx, gy, gz, bx, by, bz}, shared, stream, arguments, false);
}
STUB_C int cuLaunchCooperativeKernel(
    void* f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz,
    uint32_t shared, void* stream, void** arguments) {
  return launch(f, {gx, gy, gz, bx, by, bz}, shared, stream, arguments, true);
}
