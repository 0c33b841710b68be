// Copies within a GPU's memory, as a measure of its bandwidth.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace squant::eval::cuda {

// The GPU's time for a copy of so many bytes: the median of `repeats`, by CUDA events, after a
// warm-up that is long enough for the clocks to rise. `past_caches`: each copy has other bytes than
// those before it, more of them than the caches hold. Errors are quant::CudaError.
double copy_ms(std::size_t size_bytes, int repeats, bool past_caches, cudaStream_t stream);

}  // namespace squant::eval::cuda
