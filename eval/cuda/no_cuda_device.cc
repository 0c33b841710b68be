#include <stdexcept>

#include "eval/cuda/cuda_device.h"

namespace squant::eval {
namespace {

const char* const kReason =
    "this build has no CUDA: build where nvcc is found (docs/building.md), or use the CPU";

}  // namespace

bool cuda_usable(std::string* why_not) {
  if (why_not != nullptr) *why_not = kReason;
  return false;
}

CudaFacts cuda_facts(int /*device*/) { throw std::invalid_argument(kReason); }

std::shared_ptr<CudaDevice> open_cuda_device() { throw std::invalid_argument(kReason); }

}  // namespace squant::eval
