// A library that is loaded when it is first used: a program starts where there is none, and says so
// when it is asked to use it.
#pragma once

#include <string>
#include <vector>

namespace squant::eval {

// Stays loaded for as long as the process lives, whatever happens to the object.
class SharedLibrary {
 public:
  // The first of `candidates`, names or paths, that the loader takes. `name` is what messages call
  // it: "NCCL". Throws std::runtime_error with the loader's reason.
  SharedLibrary(std::string name, const std::vector<std::string>& candidates);

  // Throws std::runtime_error where the library has no such symbol.
  template <typename Function>
  void find(const char* symbol, Function& function) const {
    function = reinterpret_cast<Function>(address(symbol));
  }

 private:
  void* address(const char* symbol) const;

  std::string name_;
  void* handle_ = nullptr;
};

}  // namespace squant::eval
