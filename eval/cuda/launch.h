// Starts operations on a GPU. Every launch is enqueued on `stream` and not waited for; memory must
// outlive the work. Returns what the runtime says of the launch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "eval/cuda/operations.h"

namespace squant::eval::cuda {

// A thread an element, over n images. For every operation of operations.h.
template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream);

// A layer with op.tensor_cores, in tiles.
cudaError_t launch_tiles(const ConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream);
cudaError_t launch_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream);

}  // namespace squant::eval::cuda
