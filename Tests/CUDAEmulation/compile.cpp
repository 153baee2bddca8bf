// Compiles kernels by NVIDIA's own compiler, which needs no card: compile LIBRARY ARCHITECTURE FILE...
// The first line of each file is `// ` and its options. Prints what the compiler says of those that it
// declines, and ends with 1 where there is one.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

template <typename... A> static int call(void* library, const char* name, A... arguments) {
  auto f = reinterpret_cast<int (*)(A...)>(dlsym(library, name));
  if (!f) {
    fprintf(stderr, "no function %s\n", name);
    exit(2);
  }
  return f(arguments...);
}

int main(int count, char** words) {
  if (count < 4) {
    fprintf(stderr, "compile LIBRARY ARCHITECTURE FILE...\n");
    return 2;
  }
  void* library = dlopen(words[1], RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  bool isRight = true;
  for (int i = 3; i < count; i++) {
    std::ifstream file(words[i]);
    std::string first, word;
    std::getline(file, first);
    std::stringstream rest, list(first.substr(first.size() < 3 ? first.size() : 3));
    rest << file.rdbuf();
    std::string text = rest.str();
    std::vector<std::string> options = {
        std::string("--gpu-architecture=") + words[2], "--std=c++17"};
    while (list >> word) options.push_back(word);
    std::vector<const char*> pointers;
    for (auto& option : options) pointers.push_back(option.c_str());
    void* program;
    call(library, "nvrtcCreateProgram", &program, text.c_str(), words[i], 0, (void*)0, (void*)0);
    int code = call(
        library, "nvrtcCompileProgram", program, int(pointers.size()),
        (const char* const*)pointers.data());
    size_t bytes = 0;
    if (code) {
      isRight = false;
      call(library, "nvrtcGetProgramLogSize", program, &bytes);
      std::vector<char> log(bytes + 1);
      call(library, "nvrtcGetProgramLog", program, log.data());
      fprintf(stderr, "%s %s:\n%s\n", words[2], first.c_str(), log.data());
    } else if (call(library, "nvrtcGetCUBINSize", program, &bytes) || bytes == 0) {
      isRight = false;
      fprintf(stderr, "%s %s: no machine code\n", words[2], first.c_str());
    }
    call(library, "nvrtcDestroyProgram", &program);
  }
  return isRight ? 0 : 1;
}
