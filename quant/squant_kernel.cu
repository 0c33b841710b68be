// A whole network in one launch: each block takes its rows from a table, stages a row's weights in
// shared memory once, and writes its codes once. The arithmetic is squant_team.h's; here stand only
// the two kinds of teams.
#include "quant/squant_kernel.h"

namespace squant::quant {
namespace {

constexpr unsigned kFullWarp = 0xffffffffu;

// The order of a reduction does not matter for any of these: minimum, maximum, integer sum.
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, Combine combine) {
  for (int offset = 16; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}

struct Smaller {
  __device__ float operator()(float a, float b) const { return b < a ? b : a; }
};
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};
struct Sum {
  __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const { return a + b; }
};

class WarpTeam {
 public:
  __device__ int rank() const { return static_cast<int>(threadIdx.x & 31u); }
  __device__ int size() const { return 32; }
  __device__ void sync() { __syncwarp(); }
  __device__ float min_of(float value) { return warp_reduce(value, Smaller()); }
  __device__ float max_of(float value) { return warp_reduce(value, Larger()); }
  __device__ std::uint32_t max_of(std::uint32_t value) { return warp_reduce(value, Larger()); }
  __device__ std::int64_t sum_of(std::int64_t value) { return warp_reduce(value, Sum()); }
};

class BlockTeam {
 public:
  explicit __device__ BlockTeam(std::int64_t* partial) : partial_(partial) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return kThreadsPerBlock; }
  __device__ void sync() { __syncthreads(); }
  __device__ float min_of(float value) { return reduce(value, Smaller()); }
  __device__ float max_of(float value) { return reduce(value, Larger()); }
  __device__ std::uint32_t max_of(std::uint32_t value) { return reduce(value, Larger()); }
  __device__ std::int64_t sum_of(std::int64_t value) { return reduce(value, Sum()); }

 private:
  template <class T, class Combine>
  __device__ T reduce(T value, Combine combine) {
    T* partial = reinterpret_cast<T*>(partial_);
    value = warp_reduce(value, combine);
    if ((threadIdx.x & 31u) == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = partial[0];
    for (int warp = 1; warp < kThreadsPerBlock / 32; ++warp) value = combine(value, partial[warp]);
    __syncthreads();  // partial is free again
    return value;
  }
  std::int64_t* partial_;
};

__device__ TeamScratch scratch_at(unsigned char* base, std::int64_t elements) {
  return {reinterpret_cast<float*>(base),
          reinterpret_cast<std::int16_t*>(base + elements * sizeof(float))};
}

template <class Team>
__device__ void run_row(Team& team, const SquantLaunch& launch, std::int32_t tensor,
                        std::int32_t row, const TeamScratch& scratch) {
  const DeviceTensor& t = launch.tensors[tensor];
  const std::int64_t offset = static_cast<std::int64_t>(row) * t.in * t.kernel;
  const TeamRow team_row{t.weights + offset, t.codes + offset, t.in, t.kernel};
  const bool finite = squant_team_row(team, team_row, launch.bits, launch.mode, launch.rounding,
                                      scratch, t.scale + row, t.zero_point + row);
  if (!finite && team.rank() == 0) {
    atomicMin(launch.broken,
              (static_cast<unsigned long long>(tensor) << 32) | static_cast<unsigned>(row));
  }
}

__global__ void __launch_bounds__(kThreadsPerBlock) squant_rows(SquantLaunch launch) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ std::int64_t partial[kThreadsPerBlock / 32];
  const BlockWork work = launch.work[blockIdx.x];
  const DeviceTensor& t = launch.tensors[work.tensor];
  if (work.is_long) {
    const std::int64_t elements = static_cast<std::int64_t>(t.in) * t.kernel;
    BlockTeam team(partial);
    const bool spills = work.spill_slot >= 0;
    unsigned char* base =
        spills ? launch.spill + work.spill_slot * launch.spill_elements * kBytesPerElement : shared;
    run_row(team, launch, work.tensor, work.first_row,
            scratch_at(base, spills ? launch.spill_elements : elements));
  } else {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const std::int32_t row = work.first_row + warp;
    if (row >= t.out) return;  // a whole warp leaves: the others use warp barriers alone
    WarpTeam team;
    run_row(team, launch, work.tensor, row,
            scratch_at(shared + warp * kShortRow * kBytesPerElement, kShortRow));
  }
}

std::size_t shared_bytes(std::int32_t elements) {
  return static_cast<std::size_t>(elements) * static_cast<std::size_t>(kBytesPerElement);
}

}  // namespace

cudaError_t launch_squant(const SquantLaunch& launch, cudaStream_t stream) {
  const std::size_t bytes = shared_bytes(launch.shared_elements);
  const cudaError_t raised = cudaFuncSetAttribute(
      squant_rows, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (raised != cudaSuccess) return raised;
  squant_rows<<<static_cast<unsigned>(launch.num_blocks), kThreadsPerBlock, bytes, stream>>>(
      launch);
  return cudaGetLastError();
}

cudaError_t max_shared_elements(int device, std::int32_t* elements) {
  int bytes = 0;
  const cudaError_t status =
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  constexpr int kStatic = 1024;  // room for the reduction buffer
  *elements = static_cast<std::int32_t>((bytes - kStatic) / kBytesPerElement);
  return status;
}

}  // namespace squant::quant
