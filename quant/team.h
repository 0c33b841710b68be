// A team of threads that works on one output channel: a warp or a block on a GPU, threads of the
// host in tests. C++17, host and device.
//
// A Team gives rank(), size(), sync() (a barrier that also orders memory), and, each a sync() too
// and with the same result for every member, at most once for a channel:
//   range_of(WeightRange)  the smallest and the largest; NaN where a member has NaN
//   sum_of(int64)
// and add(int32*, int32), an atomic addition that returns what was there before. Results do not
// depend on a team's size: sums are integers, and flips have a total order (numerics.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/numerics.h"

#if defined(__CUDACC__)
#define SQ_COLD __host__ __device__ __noinline__  // keeps its registers out of its callers
#define SQ_UNROLL _Pragma("unroll")
#define SQ_UNROLL_4 _Pragma("unroll 4")
#define SQ_NO_UNROLL _Pragma("unroll 1")  // few rounds, or none
#else
#define SQ_COLD
#define SQ_UNROLL
#define SQ_UNROLL_4
#define SQ_NO_UNROLL
#endif

namespace squant::quant {

// Where a team works: shared memory for rows that fit, global memory for the others. The team's
// alone, 16-byte aligned, and readable up to a multiple of 16 bytes; num_keys is 0 at first.
struct TeamScratch {
  float* error;         // [in * kernel]: the weights at first, then errors
  std::int8_t* codes;   // [in * kernel]
  std::uint64_t* keys;  // [max_keys]: candidates that stage C looks at closely
  std::int32_t max_keys;
  std::int32_t* num_keys;
};

struct TeamRow {
  const float* weights;  // [in, kernel]
  std::int32_t in;
  std::int32_t kernel;
};

struct WeightRange {
  float min;
  float max;
};

SQ_HOST_DEVICE std::uint32_t float_bits(float value) {
  std::uint32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
SQ_HOST_DEVICE float float_from_bits(std::uint32_t bits) {
  float value = 0.0f;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// The smaller or the larger; NaN where either is NaN.
SQ_HOST_DEVICE float min_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
  return a;
#else
  return a != a || a < b ? a : b;
#endif
}
SQ_HOST_DEVICE float max_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
  return a;
#else
  return a != a || a > b ? a : b;
#endif
}
SQ_HOST_DEVICE WeightRange widened(WeightRange range, float weight) {
  return {min_or_nan(range.min, weight), max_or_nan(range.max, weight)};
}

// What a thread moves at once.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T v[kCount];
};
using FloatPack = Pack<float, 4>;

template <class Packed>
SQ_HOST_DEVICE bool is_aligned(const void* at) {
  return reinterpret_cast<std::uintptr_t>(at) % alignof(Packed) == 0;
}
template <class Packed>
SQ_HOST_DEVICE Packed load_pack(const void* at) {
#if defined(__CUDA_ARCH__)
  return *static_cast<const Packed*>(at);
#else
  Packed pack;
  memcpy(&pack, at, sizeof pack);
  return pack;
#endif
}
template <class Packed>
SQ_HOST_DEVICE void store_pack(void* at, const Packed& pack) {
#if defined(__CUDA_ARCH__)
  *static_cast<Packed*>(at) = pack;
#else
  memcpy(at, &pack, sizeof pack);
#endif
}

// Copies a FloatPack that this thread alone looks at before the next sync(); it is there after
// finish_copies(). On a GPU the copies to shared memory are all on their way at once.
SQ_HOST_DEVICE void copy_pack(float* to, const float* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if (__isShared(to)) {
    const auto shared = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from) : "memory");
    return;
  }
#endif
  store_pack(to, load_pack<FloatPack>(from));
}
SQ_HOST_DEVICE void finish_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace squant::quant
