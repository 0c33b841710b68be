// LibTorch on a GPU. Nothing links its CUDA part: most installations do not have it, and integer
// networks need none.
#pragma once

#include <memory>
#include <string>

#include "eval/engine/engine.h"

namespace squant::eval {

// Loads libtorch_cuda.so from where libtorch_cpu.so lies, in the first call. Returns why LibTorch
// cannot use a GPU; empty: it can. Where LibTorch has computed before the first call, it no longer
// finds the GPU.
const std::string& load_torch_cuda();

// Gives memory back to the GPU that LibTorch holds and does not use.
void release_torch_cuda_memory();

// make_float_engine on the current GPU, which load_torch_cuda() found: float32, without TF32.
std::unique_ptr<Engine> make_cuda_float_engine(const Model& model, const QuantizedWeights* weights,
                                               const ActivationSettings& activations);

}  // namespace squant::eval
