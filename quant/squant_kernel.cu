// A whole network in one launch: each block takes its rows from a table, stages a row's weights in
// shared memory once, and writes its codes once. The arithmetic is squant_team.h's; here stand only
// the two kinds of teams.
#include "quant/squant_kernel.h"

namespace squant::quant {
namespace {

constexpr unsigned kFullWarp = 0xffffffffu;

// Integers in the order of the floats; NaNs come first or last.
__device__ __forceinline__ std::int32_t ordered(float value) {
  const std::int32_t bits = __float_as_int(value);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
__device__ __forceinline__ float from_ordered(std::int32_t bits) {
  return __int_as_float(bits < 0 ? bits ^ 0x7fffffff : bits);
}

struct OrderedRange {
  std::int32_t min;
  std::int32_t max;
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
__device__ __forceinline__ std::int32_t warp_min(std::int32_t value) {
  return __reduce_min_sync(kFullWarp, value);
}
__device__ __forceinline__ std::int32_t warp_max(std::int32_t value) {
  return __reduce_max_sync(kFullWarp, value);
}
#else
__device__ __forceinline__ std::int32_t warp_min(std::int32_t value) {
  for (int offset = 16; offset > 0; offset /= 2)
    value = min(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}
__device__ __forceinline__ std::int32_t warp_max(std::int32_t value) {
  for (int offset = 16; offset > 0; offset /= 2)
    value = max(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}
#endif

__device__ __forceinline__ OrderedRange warp_range(WeightRange range) {
  return {warp_min(ordered(range.min)), warp_max(ordered(range.max))};
}
__device__ __forceinline__ std::int64_t warp_sum(std::int64_t value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}

class WarpTeam {
 public:
  __device__ int rank() const { return static_cast<int>(threadIdx.x & 31u); }
  __device__ static constexpr int size() { return 32; }
  __device__ void sync() { __syncwarp(); }
  __device__ WeightRange range_of(WeightRange range) {
    sync();
    const OrderedRange found = warp_range(range);
    return {from_ordered(found.min), from_ordered(found.max)};
  }
  __device__ std::int64_t sum_of(std::int64_t value) {
    sync();
    return warp_sum(value);
  }
  __device__ std::int32_t add(std::int32_t* counter, std::int32_t count) {
    return atomicAdd(counter, count);
  }
};

// What the warps of a block tell each other. Written once in a block's life, so one barrier does
// for each.
struct BlockPartials {
  static constexpr int kWarps = kThreadsPerBlock / 32;
  OrderedRange range[kWarps];
  std::int64_t sum[kWarps];
};

class BlockTeam {
 public:
  explicit __device__ BlockTeam(BlockPartials* partials) : partials_(partials) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ static constexpr int size() { return kThreadsPerBlock; }
  __device__ void sync() { __syncthreads(); }
  __device__ WeightRange range_of(WeightRange range) {
    OrderedRange* const all = partials_->range;
    OrderedRange found = warp_range(range);
    if ((threadIdx.x & 31u) == 0) all[threadIdx.x / 32] = found;
    __syncthreads();
    for (int warp = 0; warp < BlockPartials::kWarps; ++warp) {
      found.min = min(found.min, all[warp].min);
      found.max = max(found.max, all[warp].max);
    }
    return {from_ordered(found.min), from_ordered(found.max)};
  }
  __device__ std::int64_t sum_of(std::int64_t value) {
    std::int64_t* const all = partials_->sum;
    value = warp_sum(value);
    if ((threadIdx.x & 31u) == 0) all[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int warp = 0; warp < BlockPartials::kWarps; ++warp) value += all[warp];
    return value;
  }
  __device__ std::int32_t add(std::int32_t* counter, std::int32_t count) {
    return atomicAdd(counter, count);
  }

 private:
  BlockPartials* partials_;
};

// The keys of a block's teams, and how many each has.
struct BlockKeys {
  std::uint64_t keys[kKeysPerBlock];
  std::int32_t count[kRowsPerBlock];
};

// The scratch of team `team` of the block's `teams`.
__device__ TeamScratch scratch_at(unsigned char* base, std::int64_t elements, BlockKeys* keys,
                                  int team, int teams) {
  const int max_keys = kKeysPerBlock / teams;
  return {reinterpret_cast<float*>(base),
          reinterpret_cast<std::int8_t*>(base + elements * sizeof(float)),
          keys->keys + team * max_keys, max_keys, keys->count + team};
}

// Row `index` of the block's.
template <class Team>
__device__ void run_row(Team& team, const SquantLaunch& launch, const BlockWork& work, int index,
                        const TeamScratch& scratch) {
  if (team.rank() == 0) *scratch.num_keys = 0;
  const std::int64_t size = work.in * work.kernel;
  const TeamRow row{work.weights + index * size, work.in, work.kernel};
  const TeamResult result{
      static_cast<char*>(work.output) + index * output_bytes(launch.options.output, size),
      work.scale + index, work.zero_point + index};
  // Or the compiler would have to assume that a store to the scratch may change a weight.
  __builtin_assume(__isGlobal(row.weights));
  __builtin_assume(__isGlobal(result.output));
  const bool finite = squant_team_row(team, row, launch.options, scratch, result);
  if (!finite && team.rank() == 0) {
    const auto place = (static_cast<unsigned long long>(work.tensor) << 32) |
                       static_cast<unsigned>(work.first_row + index);
    atomicMin(launch.broken, place);
  }
}

__global__ void __launch_bounds__(kThreadsPerBlock, 8) squant_rows(SquantLaunch launch) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ BlockPartials partials;
  __shared__ BlockKeys keys;
  const BlockWork& work = launch.work[blockIdx.x];
  if (work.is_long) {
    const std::int64_t elements = padded_row(work.in * work.kernel);
    BlockTeam team(&partials);
    if (work.spill_slot < 0) {
      run_row(team, launch, work, 0, scratch_at(shared, elements, &keys, 0, 1));
    } else {
      unsigned char* const spill =
          launch.spill + work.spill_slot * launch.spill_elements * kBytesPerElement;
      run_row(team, launch, work, 0, scratch_at(spill, elements, &keys, 0, 1));
    }
  } else {
    const int warp = static_cast<int>(threadIdx.x / 32);
    if (warp >= work.num_rows) return;  // a whole one: the others use warp barriers alone
    WarpTeam team;
    run_row(team, launch, work, warp,
            scratch_at(shared + warp * kShortRow * kBytesPerElement, kShortRow, &keys, warp,
                       kRowsPerBlock));
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
  // A wish, no more: nothing here profits from the rest, the first-level cache.
  const cudaError_t wished = cudaFuncSetAttribute(
      squant_rows, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  if (wished != cudaSuccess) return wished;
  squant_rows<<<static_cast<unsigned>(launch.num_blocks), kThreadsPerBlock, bytes, stream>>>(
      launch);
  return cudaGetLastError();
}

cudaError_t max_shared_elements(int device, std::int32_t* elements) {
  int bytes = 0;
  const cudaError_t status =
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  constexpr int kStatic = sizeof(BlockPartials) + sizeof(BlockKeys) + 64;
  *elements = static_cast<std::int32_t>((bytes - kStatic) / kBytesPerElement);
  return status;
}

}  // namespace squant::quant
