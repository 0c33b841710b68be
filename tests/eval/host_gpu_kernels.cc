// The launchers of launch.cu and squant_kernel.cu, for host_gpu: the kernels' own code by the host.
#include <algorithm>
#include <vector>

#include "eval/cuda/launch.h"
#include "quant/squant_kernel.h"
#include "tests/eval/cuda_host.h"
#include "tests/eval/host_gpu.h"

namespace squant::eval::cuda {

template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream) {
  return host_gpu::launch(stream, [=] { run_elements(op, memory, n); });
}

#define SQ_LAUNCH(Op) \
  template cudaError_t launch_elements(const Op&, const Memory&, std::int64_t, cudaStream_t);
SQ_LAUNCH(ConvOp)
SQ_LAUNCH(DepthwiseOp)
SQ_LAUNCH(PixelConvOp)
SQ_LAUNCH(FloatConvOp)
SQ_LAUNCH(ElementwiseOp)
SQ_LAUNCH(PoolOp)
SQ_LAUNCH(GlobalAverageOp)
SQ_LAUNCH(CopyOp)
SQ_LAUNCH(ShuffleOp)
SQ_LAUNCH(NormalizeOp)
SQ_LAUNCH(ChannelsLastOp)
#undef SQ_LAUNCH

// That tiles write what elements write is for cuda_conv_test, and takes long on the host.
cudaError_t launch_tiles(const ConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  return launch_elements(op, memory, n, stream);
}
cudaError_t launch_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n,
                         cudaStream_t stream) {
  return launch_elements(op, memory, n, stream);
}

}  // namespace squant::eval::cuda

namespace squant::quant {
namespace {

// A team of one.
struct Alone {
  static int rank() { return 0; }
  static int size() { return 1; }
  static void sync() {}
  template <class T>
  static T min_of(T value) {
    return value;
  }
  template <class T>
  static T max_of(T value) {
    return value;
  }
  static std::int64_t sum_of(std::int64_t value) { return value; }
};

void run_row(const SquantLaunch& launch, std::int32_t tensor, std::int32_t row) {
  const DeviceTensor& t = launch.tensors[tensor];
  const std::int64_t size = static_cast<std::int64_t>(t.in) * t.kernel;
  std::vector<float> error(static_cast<std::size_t>(size));
  std::vector<std::int16_t> rounded(error.size());
  Alone team;
  const bool finite =
      squant_team_row(team, {t.weights + row * size, t.codes + row * size, t.in, t.kernel},
                      launch.bits, launch.mode, launch.rounding, {error.data(), rounded.data()},
                      t.scale + row, t.zero_point + row);
  const auto place = (static_cast<unsigned long long>(tensor) << 32) | static_cast<unsigned>(row);
  if (!finite) *launch.broken = std::min(*launch.broken, place);
}

void run_block(const SquantLaunch& launch, const BlockWork& work) {
  const std::int32_t end =
      work.is_long ? work.first_row + 1
                   : std::min(work.first_row + kRowsPerBlock, launch.tensors[work.tensor].out);
  for (std::int32_t row = work.first_row; row < end; ++row) run_row(launch, work.tensor, row);
}

}  // namespace

cudaError_t launch_squant(const SquantLaunch& launch, cudaStream_t stream) {
  return host_gpu::launch(stream, [=] {
    for (std::int32_t block = 0; block < launch.num_blocks; ++block) {
      run_block(launch, launch.work[block]);
    }
  });
}

cudaError_t max_shared_elements(int, std::int32_t* elements) {
  *elements = 37000;  // as on an H100
  return cudaSuccess;
}

}  // namespace squant::quant
