// libnvrtc.so.13 for machines without a card: compiles kernels for the processor, by clang++, behind
// cuda_on_cpu.h in place of device.cuh. What it gives as machine code is a shared library, which
// module.cpp loads. Libraries are kept in the folder ABN_STUB_CACHE, by the hash of the preprocessed text.
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#define STUB_C extern "C" __attribute__((visibility("default")))
extern char** environ;

namespace {
struct Program { std::string text, name, image, log; };

/// What NVRTC gives for errors of the text, and of itself.
enum Result { success = 0, invalidInput = 3, invalidOption = 5, compilation = 6, internal = 11 };

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
void put(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
uint64_t hash(const std::string& text) {
  uint64_t h = 0xcbf29ce484222325;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3;
  return h;
}

/// A folder of this process, removed at its end.
struct Folder {
  std::string path;
  Folder() {
    char name[] = P_tmpdir "/abn-cuda-stub-XXXXXX";
    path = mkdtemp(name) ? name : ".";
  }
  ~Folder() {
    for (const char* f : {"/kernel.cpp", "/kernel.ii", "/kernel.so", "/log"}) unlink((path + f).c_str());
    rmdir(path.c_str());
  }
};

int call(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  int code = posix_spawn(&child, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code) return -1;
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string compiler() {
  const char* given = getenv("ABN_STUB_CLANG");
  return given ? given : STUB_CLANG;
}

/// The text with this header in place of device.cuh.
std::string emulated(const std::string& text) {
  const std::string first = "// BEGIN device.cuh", last = "// END device.cuh";
  size_t from = text.find(first), to = text.find(last);
  std::string rest = text;
  if (from != std::string::npos && to != std::string::npos)
    rest = text.substr(0, from) + text.substr(to + last.size());
  return "#include \"" STUB_SOURCES "/cuda_on_cpu.h\"\n#line 1 \"kernel\"\n" + rest;
}

/// How the driver calls each kernel, appended to the preprocessed text.
std::string doors(const std::string& text) {
  static const std::regex bounds(R"re("bounds "\s*"([^"]*)")re");
  std::string result = "\nthread_local char emulationAnchorVariable;\n"
    "extern \"C\" __attribute__((visibility(\"default\"))) void* emulationAnchor() "
    "{ return &emulationAnchorVariable; }\n";
  std::vector<std::string> known;
  size_t at = 0;
  const std::string marker = "annotate(\"kernel\")))";
  while ((at = text.find(marker, at)) != std::string::npos) {
    at += marker.size();
    // Attributes and `void`, then the name.
    size_t p = at;
    std::string most = "1024", name;
    for (;;) {
      while (p < text.size() && isspace((unsigned char)text[p])) p++;
      size_t start = p;
      while (p < text.size() && (isalnum((unsigned char)text[p]) || text[p] == '_')) p++;
      std::string word = text.substr(start, p - start);
      if (word.empty()) break;
      if (word == "void") continue;
      if (word != "__attribute__") { name = word; break; }
      size_t depth = 0, open = p;
      do {
        if (text[p] == '(') depth++;
        if (text[p] == ')') depth--;
        p++;
      } while (depth > 0 && p < text.size());
      std::string attribute = text.substr(open, p - open);
      std::smatch found;
      if (std::regex_search(attribute, found, bounds)) most = found[1];
    }
    bool isNew = !name.empty();
    for (auto& each : known) isNew = isNew && each != name;
    if (!isNew) continue;
    known.push_back(name);
    const std::string exported = "extern \"C\" __attribute__((visibility(\"default\"))) ";
    result += exported + "void " + name + "__launch(void** arguments) { emulationCall(&" + name +
              ", arguments); }\n" + exported + "const EmulatedParameter* " + name +
              "__parameters() { return emulationParameters(&" + name + "); }\n" + exported +
              "extern const int " + name + "__bounds;\nconst int " + name + "__bounds = (int[]){" +
              most + "}[0];\n";
  }
  return result;
}

int compile(Program& program, const std::vector<std::string>& options) {
  Folder folder;
  std::string source = folder.path + "/kernel.cpp", plain = folder.path + "/kernel.ii";
  std::string library = folder.path + "/kernel.so", log = folder.path + "/log";
  put(source, emulated(program.text));
  std::vector<std::string> words = {compiler(), "-E", "-P", "-std=c++17", source, "-o", plain};
  for (auto& option : options)
    if (option.rfind("-D", 0) == 0) words.push_back(option);
  int code = call(words, log);
  program.log = contents(log);
  if (code) return code < 0 ? internal : compilation;
  std::string text = contents(plain);
  text += doors(text);
  std::string kept;
  if (const char* cache = getenv("ABN_STUB_CACHE"); cache && *cache) {
    mkdir(cache, 0700);
    char name[32];
    snprintf(name, sizeof name, "/%016llx.so", (unsigned long long)hash(text + compiler()));
    kept = std::string(cache) + name;
    program.image = contents(kept);
    if (!program.image.empty()) return success;
  }
  put(plain, text);
  code = call(
      {compiler(), "-std=c++17", "-O1", "-g0", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti",
       "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-w",
       "-fsanitize=alignment,bounds", "-fsanitize-trap=all", "-fuse-ld=lld", "-nostdlib++", plain,
       "-o", library},
      log);
  program.log = contents(log);
  if (code) return code < 0 ? internal : compilation;
  program.image = contents(library);
  if (!kept.empty()) {
    std::string part = kept + "." + std::to_string(getpid());
    put(part, program.image);
    rename(part.c_str(), kept.c_str());
  }
  return success;
}
}  // namespace

STUB_C int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 999;  // so that nobody takes what it makes for a card's code
  return success;
}
STUB_C const char* nvrtcGetErrorString(int code) {
  return code == success ? "NVRTC_SUCCESS" : code == compilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}
STUB_C int nvrtcCreateProgram(
    void** program, const char* text, const char* name, int headers, const void*, const void*) {
  if (headers) return invalidInput;
  *program = new Program{text, name ? name : "", "", ""};
  return success;
}
STUB_C int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return success;
}
STUB_C int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  Program& program = *static_cast<Program*>(handle);
  std::vector<std::string> words(options, options + count);
  for (auto& word : words) {
    if (word.rfind("-D", 0) == 0 || word.rfind("--gpu-architecture=", 0) == 0) continue;
    if (word == "--std=c++17" || word.rfind("--fmad", 0) == 0 ||
        word.rfind("--ptxas-options", 0) == 0)
      continue;
    program.log = "error: option " + word + " is not known";
    return invalidOption;
  }
  if (const char* folder = getenv("ABN_STUB_SOURCES"); folder && *folder) {
    // For compile.cpp: the options but the architecture and the language, then the text.
    std::string file = "//";
    for (auto& word : words)
      if (word.rfind("--gpu-architecture=", 0) != 0 && word != "--std=c++17") file += " " + word;
    file += "\n" + program.text;
    mkdir(folder, 0700);
    char name[32];
    snprintf(name, sizeof name, "/%016llx.cu", (unsigned long long)hash(file));
    put(folder + std::string(name), file);
  }
  std::string image;
  int code = compile(program, words);
  if (code) return code;
  uint64_t length = program.image.size();
  image = "ABNSTUB1";
  image.append(reinterpret_cast<const char*>(&length), 8);
  program.image = image + program.image;
  return success;
}
STUB_C int nvrtcGetCUBINSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->image.size();
  return success;
}
STUB_C int nvrtcGetCUBIN(void* program, char* image) {
  auto& from = static_cast<Program*>(program)->image;
  memcpy(image, from.data(), from.size());
  return success;
}
STUB_C int nvrtcGetPTXSize(void* program, size_t* bytes) { return nvrtcGetCUBINSize(program, bytes); }
STUB_C int nvrtcGetPTX(void* program, char* image) { return nvrtcGetCUBIN(program, image); }
STUB_C int nvrtcGetProgramLogSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->log.size() + 1;
  return success;
}
STUB_C int nvrtcGetProgramLog(void* program, char* log) {
  strcpy(log, static_cast<Program*>(program)->log.c_str());
  return success;
}
