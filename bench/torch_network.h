// LibTorch's own forward pass of a network in floating point, for comparison with our engines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "eval/engine/engine.h"

namespace squant::bench {

enum class TorchPrecision : std::uint8_t { kFloat32, kTf32, kFloat16 };

// Loads LibTorch's CUDA part, which nothing here links: libtorch_cuda.so beside libtorch_cpu.so,
// with cuDNN and cuBLAS. Returns why that is not possible, or nothing.
std::string load_torch_cuda();

// Channels last, batch norm folded into the convolution before it, no gradients. `device`: "cpu",
// or "cuda" after load_torch_cuda(). kTf32 is for "cuda". Pixels go there and logits come back with
// each call. Keeps nothing of `model`.
std::unique_ptr<eval::Engine> make_torch_engine(const eval::Model& model, const std::string& device,
                                                TorchPrecision precision);

}  // namespace squant::bench
