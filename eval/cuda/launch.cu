#include "eval/cuda/launch.h"

#include "eval/cuda/conv_tile.h"
#include "eval/cuda/device_warp.cuh"
#include "eval/cuda/elements.h"
#include "eval/cuda/pixel_tile.h"

namespace squant::eval::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlock = kWarps * kWarpLanes;

template <class Op>
__global__ void __launch_bounds__(kThreads)
    elements(const __grid_constant__ Op op, const __grid_constant__ Memory memory,
             std::uint32_t count) {
  const std::uint32_t index = blockIdx.x * kThreads + threadIdx.x;
  if (index < count) compute(op, memory, index);
}

template <bool kSigned, bool kInputSums>
__global__ void __launch_bounds__(kBlock)
    tiles(const __grid_constant__ ConvOp op, const __grid_constant__ Memory memory,
          std::int64_t n) {
  __shared__ __align__(128) unsigned char shared[kSharedBytes];
  DeviceWarp warp;
  ConvTile<DeviceWarp, kSigned, kInputSums>(op, memory, n, {blockIdx.x, blockIdx.y, blockIdx.z},
                                            warp, shared)
      .run();
}

template <bool kInputSums>
__global__ void __launch_bounds__(kBlock)
    pixel_tiles(const __grid_constant__ PixelConvOp op, const __grid_constant__ Memory memory,
                std::int64_t n) {
  __shared__ __align__(128) unsigned char shared[kSharedBytes];
  DeviceWarp warp;
  PixelTile<DeviceWarp, kInputSums>(op, memory, n, {blockIdx.x, blockIdx.y, 0}, warp, shared).run();
}

}  // namespace

template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream) {
  const std::int64_t count = n * num_elements(op);
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  elements<<<blocks, kThreads, 0, stream>>>(op, memory, static_cast<std::uint32_t>(count));
  return cudaGetLastError();
}

SQ_INSTANTIATE_LAUNCH_ELEMENTS

cudaError_t launch_tiles(const ConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  const dim3 grid(position_tiles(op.shape, n), output_tiles(op.group_rows),
                  static_cast<unsigned>(op.groups));
  if (op.is_signed) {
    op.weight_zero >= 0 ? tiles<true, true><<<grid, kBlock, 0, stream>>>(op, memory, n)
                        : tiles<true, false><<<grid, kBlock, 0, stream>>>(op, memory, n);
  } else {
    op.weight_zero >= 0 ? tiles<false, true><<<grid, kBlock, 0, stream>>>(op, memory, n)
                        : tiles<false, false><<<grid, kBlock, 0, stream>>>(op, memory, n);
  }
  return cudaGetLastError();
}

cudaError_t launch_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  const dim3 grid(position_tiles(op.shape, n), output_tiles(op.channel_rows));
  op.weight_zero >= 0 ? pixel_tiles<true><<<grid, kBlock, 0, stream>>>(op, memory, n)
                      : pixel_tiles<false><<<grid, kBlock, 0, stream>>>(op, memory, n);
  return cudaGetLastError();
}

}  // namespace squant::eval::cuda
