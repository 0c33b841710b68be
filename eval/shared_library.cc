#include "eval/shared_library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <utility>

namespace squant::eval {

SharedLibrary::SharedLibrary(std::string name, const std::vector<std::string>& candidates)
    : name_(std::move(name)) {
  std::string reasons;
  for (const std::string& candidate : candidates) {
    handle_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
  }
  throw std::runtime_error(name_ + " cannot be loaded: " + reasons);
}

void* SharedLibrary::address(const char* symbol) const {
  void* found = dlsym(handle_, symbol);
  if (found == nullptr) throw std::runtime_error(name_ + " is too old here: it has no " + symbol);
  return found;
}

}  // namespace squant::eval
