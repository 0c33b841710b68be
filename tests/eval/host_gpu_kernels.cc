// The launchers of launch.cu and squant_kernel.cu, for host_gpu: the kernels' own code by the host.
#include <algorithm>
#include <vector>

#include "eval/cuda/launch.h"
#include "quant/squant_kernel.h"
#include "tests/eval/cuda_host.h"
#include "tests/eval/host_gpu.h"

namespace squant::eval::cuda {

cudaError_t check_code() { return cudaSuccess; }

template <class Op>
cudaError_t launch_elements(const Op& op, const Memory& memory, std::int64_t n,
                            cudaStream_t stream) {
  return host_gpu::launch(stream, [=] { run_elements(op, memory, n); });
}

SQ_INSTANTIATE_LAUNCH_ELEMENTS

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
  static WeightRange range_of(WeightRange range) { return range; }
  static std::int64_t sum_of(std::int64_t value) { return value; }
  static std::int32_t add(std::int32_t* counter, std::int32_t count) {
    *counter += count;
    return *counter - count;
  }
};

void run_row(const SquantLaunch& launch, const BlockWork& work, std::int32_t index,
             const TeamScratch& scratch) {
  const std::int64_t size = work.in * work.kernel;
  void* const output =
      static_cast<char*>(work.output) + index * output_bytes(launch.options.output, size);
  Alone team;
  const bool finite =
      squant_team_row(team, {work.weights + index * size, work.in, work.kernel}, launch.options,
                      scratch, {output, work.scale + index, work.zero_point + index});
  const auto place = (static_cast<unsigned long long>(work.tensor) << 32) |
                     static_cast<unsigned>(work.first_row + index);
  if (!finite) *launch.broken = std::min(*launch.broken, place);
}

// Rows that do not fit shared memory work where the launch says.
void run_block(const SquantLaunch& launch, const BlockWork& work) {
  const bool spills = work.spill_slot >= 0;
  const std::int64_t elements = spills ? launch.spill_elements : launch.shared_elements;
  std::vector<unsigned char> shared(static_cast<std::size_t>(elements * kBytesPerElement));
  std::vector<std::uint64_t> keys(kKeysPerBlock);
  unsigned char* const base =
      spills ? launch.spill + work.spill_slot * elements * kBytesPerElement : shared.data();
  for (std::int32_t index = 0; index < work.num_rows; ++index) {
    std::int32_t num_keys = 0;
    run_row(launch, work, index,
            {reinterpret_cast<float*>(base), reinterpret_cast<std::int8_t*>(base + elements * 4),
             keys.data(), kKeysPerBlock, &num_keys});
  }
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
  *elements = 45000;  // as on an H100
  return cudaSuccess;
}

}  // namespace squant::quant
