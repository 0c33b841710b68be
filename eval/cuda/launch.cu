#include "eval/cuda/launch.h"

#include "eval/cuda/conv_tile.h"
#include "eval/cuda/device_warp.cuh"
#include "eval/cuda/elements.h"
#include "eval/cuda/pixel_tile.h"

namespace squant::eval::cuda {
namespace {

constexpr int kThreads = 256;

template <class Op>
__global__ void __launch_bounds__(kThreads)
    elements(const __grid_constant__ Op op, const __grid_constant__ Memory memory,
             std::uint32_t count) {
  const std::uint32_t index = blockIdx.x * kThreads + threadIdx.x;
  if (index < count) compute(op, memory, index);
}

template <class Op>
__global__ void __launch_bounds__(kThreads)
    fours(const __grid_constant__ Op op, const __grid_constant__ Memory memory,
          std::uint32_t count) {
  const std::uint32_t index = blockIdx.x * kThreads + threadIdx.x;
  if (index < count) compute<4>(op, memory, index);
}

// So many blocks at a time that one's copies and results pass while another multiplies.
constexpr int kBlocksAtATime = 2;

template <bool kSigned, bool kInputSums, bool kRegular, int kOutputWarps>
__global__ void __launch_bounds__(TileShape<kOutputWarps>::kThreads,
                                  2 * kBlocksAtATime / kOutputWarps)
    tiles(const __grid_constant__ ConvOp op, const __grid_constant__ Memory memory,
          std::int64_t n) {
  __shared__ __align__(128) unsigned char shared[TileShape<kOutputWarps>::kSharedBytes];
  DeviceWarp warp;
  ConvTile<DeviceWarp, kSigned, kInputSums, kRegular, kOutputWarps>(
      op, memory, n, {blockIdx.x, blockIdx.y, blockIdx.z}, warp, shared)
      .run();
}

template <bool kInputSums>
__global__ void __launch_bounds__(TileShape<1>::kThreads, 3)
    pixel_tiles(const __grid_constant__ PixelConvOp op, const __grid_constant__ Memory memory,
                std::int64_t n) {
  __shared__ __align__(128) unsigned char shared[TileShape<1>::kSharedBytes];
  DeviceWarp warp;
  PixelTile<DeviceWarp, kInputSums>(op, memory, n, {blockIdx.x, blockIdx.y, 0}, warp, shared).run();
}

template <bool kSigned, bool kRegular, int kOutputWarps>
void start_tiles(const ConvOp& op, const Memory& memory, std::int64_t n, cudaStream_t stream) {
  const dim3 grid(position_tiles(op.shape, n), output_tiles<kOutputWarps>(op.group_rows),
                  static_cast<unsigned>(op.groups));
  constexpr int kThreads = TileShape<kOutputWarps>::kThreads;
  op.weight_zero >= 0
      ? tiles<kSigned, true, kRegular, kOutputWarps><<<grid, kThreads, 0, stream>>>(op, memory, n)
      : tiles<kSigned, false, kRegular, kOutputWarps><<<grid, kThreads, 0, stream>>>(op, memory, n);
}

template <bool kRegular, int kOutputWarps>
void start_tiles(const ConvOp& op, const Memory& memory, std::int64_t n, cudaStream_t stream) {
  op.is_signed ? start_tiles<true, kRegular, kOutputWarps>(op, memory, n, stream)
               : start_tiles<false, kRegular, kOutputWarps>(op, memory, n, stream);
}

}  // namespace

cudaError_t check_code() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, elements<NormalizeOp>);
}

template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream) {
  const std::int64_t count = n * num_elements(op);
  const auto blocks = [](std::int64_t threads) {
    return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  };
  if constexpr (kComesInFours<Op>) {
    if (can_take_four(op)) {
      fours<<<blocks(count / 4), kThreads, 0, stream>>>(op, memory,
                                                        static_cast<std::uint32_t>(count / 4));
      return cudaGetLastError();
    }
  }
  elements<<<blocks(count), kThreads, 0, stream>>>(op, memory, static_cast<std::uint32_t>(count));
  return cudaGetLastError();
}

SQ_INSTANTIATE_LAUNCH_ELEMENTS

cudaError_t launch_tiles(const ConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  if (!is_regular(op)) {
    start_tiles<false, 1>(op, memory, n, stream);
  } else if (output_warps(op.group_rows) == 2) {
    start_tiles<true, 2>(op, memory, n, stream);
  } else {
    start_tiles<true, 1>(op, memory, n, stream);
  }
  return cudaGetLastError();
}

cudaError_t launch_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  const dim3 grid(position_tiles(op.shape, n), output_tiles<1>(op.channel_rows));
  constexpr int kThreads = TileShape<1>::kThreads;
  op.weight_zero >= 0 ? pixel_tiles<true><<<grid, kThreads, 0, stream>>>(op, memory, n)
                      : pixel_tiles<false><<<grid, kThreads, 0, stream>>>(op, memory, n);
  return cudaGetLastError();
}

}  // namespace squant::eval::cuda
