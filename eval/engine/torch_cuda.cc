#include "eval/engine/torch_cuda.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

namespace squant::eval {
namespace {

std::string load() {
  Dl_info found{};
  if (dladdr(reinterpret_cast<void*>(&at::globalContext), &found) == 0) {
    return "libtorch_cpu.so was not found among the loaded libraries";
  }
  const std::string cpu = found.dli_fname;
  const std::string cuda = cpu.substr(0, cpu.rfind('/') + 1) + "libtorch_cuda.so";
  if (dlopen(cuda.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) return dlerror();
  return at::hasCUDA() ? "" : "LibTorch finds no CUDA device";
}

}  // namespace

const std::string& load_torch_cuda() {
  static const std::string why_not = load();
  return why_not;
}

void release_torch_cuda_memory() {
  if (!load_torch_cuda().empty()) return;
  auto* const caching = dynamic_cast<c10::DeviceAllocator*>(at::GetAllocator(at::kCUDA));
  if (caching != nullptr && caching->initialized()) caching->emptyCache();
}

}  // namespace squant::eval
