// Between memory order and one lane per weight kernel. Part of quant/lanes/impl.h.
#pragma once

#include "quant/lanes/vector.h"

namespace squant::quant {
namespace {

// kLanes kernels of K elements are K vectors in memory. load_kernels() turns them into K vectors,
// the j-th of which holds element j of every kernel. K is odd, so it is prime to the number of
// lanes: element j of the kernels lies in kLanes different lanes, and one blend of the K vectors,
// then one permutation, brings it together. With the vectors in the order of `u` below, lane l of
// the blend for j comes from u[(j - l) mod K]: all K blends together are a rotation of each lane's
// column by (l mod K), which is made of rotations by 1, 2, 4 and 8 as in a barrel shifter.
template <int K>
struct Transpose {
  static_assert(K % 2 == 1 && K < 16);

  static constexpr int mod(int value, int modulus) { return (value % modulus + modulus) % modulus; }
  // The inverse of `factor` modulo `modulus`.
  static constexpr int inverse(int factor, int modulus) {
    int i = 1;
    while (factor * i % modulus != 1 % modulus) ++i;
    return i;
  }
  static constexpr int kLanesInverse = inverse(kLanes % K, K);
  static constexpr int kKernelInverse = inverse(K % kLanes, kLanes);

  // -1 in the lanes l whose (l mod K) has this bit.
  template <int... kLane>
  static SQ_HOST_DEVICE Ints lanes_with(int bit, std::integer_sequence<int, kLane...>) {
    return Ints{((kLane % K) & bit ? -1 : 0)...};
  }
  static SQ_HOST_DEVICE void rotate(Ints (&u)[K], bool forward) {
    SQ_UNROLL
    for (int bit = 1; bit < K && bit < kLanes; bit *= 2) {
      const Ints moving = lanes_with(bit, LaneSequence{});
      Ints rotated[K];
      SQ_UNROLL
      for (int j = 0; j < K; ++j)
        rotated[j] = moving ? u[mod(forward ? j - bit : j + bit, K)] : u[j];
      SQ_UNROLL
      for (int j = 0; j < K; ++j) u[j] = rotated[j];
    }
  }

  // Lane i gets lane (K * i + j).
  template <int kElement, int... kLane>
  static SQ_HOST_DEVICE Ints gather(Ints vector, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(vector, vector, mod(K * kLane + kElement, kLanes)...);
  }
  // Lane (K * i + j) gets lane i.
  template <int kElement, int... kLane>
  static SQ_HOST_DEVICE Ints scatter(Ints vector, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(vector, vector,
                                   mod(kKernelInverse * (kLane - kElement), kLanes)...);
  }
  template <int... kElement>
  static SQ_HOST_DEVICE void gather_all(Ints (&u)[K], std::integer_sequence<int, kElement...>) {
    ((u[kElement] = gather<kElement>(u[kElement], LaneSequence{})), ...);
  }
  template <int... kElement>
  static SQ_HOST_DEVICE void scatter_all(Ints (&u)[K], std::integer_sequence<int, kElement...>) {
    ((u[kElement] = scatter<kElement>(u[kElement], LaneSequence{})), ...);
  }

  static SQ_HOST_DEVICE void load_kernels(const float* from, Floats (&to)[K]) {
    Ints u[K];
    SQ_UNROLL
    for (int j = 0; j < K; ++j) {
      u[j] = load_as<Ints>(from + kLanesInverse * j % K * kLanes);
    }
    rotate(u, true);
    gather_all(u, std::make_integer_sequence<int, K>{});
    SQ_UNROLL
    for (int j = 0; j < K; ++j) to[j] = floats_of(u[j]);
  }

  // The low bytes of the codes.
  static SQ_HOST_DEVICE void store_kernels(Ints (&codes)[K], std::int8_t* to) {
    scatter_all(codes, std::make_integer_sequence<int, K>{});
    rotate(codes, false);
    SQ_UNROLL
    for (int j = 0; j < K; ++j) {
      store(to + kLanesInverse * j % K * kLanes, __builtin_convertvector(codes[j], Bytes));
    }
  }
};

}  // namespace
}  // namespace squant::quant
