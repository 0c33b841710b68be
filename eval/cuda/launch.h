// Starts operations on a GPU. Every launch is enqueued on `stream` and not waited for; memory must
// outlive the work. Returns what the runtime says of the launch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "eval/cuda/operations.h"

namespace squant::eval::cuda {

// Whether this program holds code for the current GPU.
cudaError_t check_code();

// A thread an element, over n images. For every operation of operations.h.
template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream);

// All of them, for the one file of a program that defines launch_elements().
#define SQ_LAUNCH_ELEMENTS(Op) \
  template cudaError_t launch_elements(const Op&, const Memory&, std::int64_t, cudaStream_t);
#define SQ_INSTANTIATE_LAUNCH_ELEMENTS \
  SQ_LAUNCH_ELEMENTS(ConvOp)           \
  SQ_LAUNCH_ELEMENTS(DepthwiseOp)      \
  SQ_LAUNCH_ELEMENTS(PixelConvOp)      \
  SQ_LAUNCH_ELEMENTS(FloatConvOp)      \
  SQ_LAUNCH_ELEMENTS(ElementwiseOp)    \
  SQ_LAUNCH_ELEMENTS(PoolOp)           \
  SQ_LAUNCH_ELEMENTS(GlobalAverageOp)  \
  SQ_LAUNCH_ELEMENTS(CopyOp)           \
  SQ_LAUNCH_ELEMENTS(ShuffleOp)        \
  SQ_LAUNCH_ELEMENTS(NormalizeOp)      \
  SQ_LAUNCH_ELEMENTS(ChannelsLastOp)

// A layer with op.tensor_cores, in tiles.
cudaError_t launch_tiles(const ConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream);
cudaError_t launch_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream);

}  // namespace squant::eval::cuda
