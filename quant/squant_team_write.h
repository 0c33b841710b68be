// The last step of a channel: a team writes its finished codes, in one of the forms of CudaOutput.
#pragma once

#include <cstdint>

#include "quant/cuda_output.h"
#include "quant/team.h"

namespace squant::quant {

// Bytes of one channel of `size` weights.
SQ_HOST_DEVICE std::int64_t output_bytes(CudaOutput output, std::int64_t size) {
  switch (output) {
    case CudaOutput::kPackedCodes:
      return (size + 1) / 2;
    case CudaOutput::kWeights:
      return size * static_cast<std::int64_t>(sizeof(float));
    default:
      return size;
  }
}

// Copies `size` codes as far as whole packs go, and returns how many that is.
template <class Packed, class Team>
SQ_HOST_DEVICE std::int32_t copy_packs(Team& team, const std::int8_t* from, std::int8_t* to,
                                       std::int32_t size) {
  constexpr auto kBytes = static_cast<std::int32_t>(sizeof(Packed));
  const std::int32_t packs = size / kBytes;
  SQ_NO_UNROLL
  for (std::int32_t i = team.rank(); i < packs; i += team.size())
    store_pack(to + kBytes * i, load_pack<Packed>(from + kBytes * i));
  return packs * kBytes;
}

template <class Team>
SQ_HOST_DEVICE void write_codes(Team& team, const std::int8_t* from, std::int8_t* to,
                                std::int32_t size) {
  using Long = Pack<std::uint32_t, 4>;
  using Short = Pack<std::uint32_t, 1>;
  std::int32_t done = 0;
  if (is_aligned<Long>(to)) {
    done = copy_packs<Long>(team, from, to, size);
  } else if (is_aligned<Short>(to)) {
    done = copy_packs<Short>(team, from, to, size);
  }
  SQ_NO_UNROLL
  for (std::int32_t i = done + team.rank(); i < size; i += team.size()) to[i] = from[i];
}

// The low halves of four codes.
SQ_HOST_DEVICE std::uint32_t low_halves(std::uint32_t codes) {
  const std::uint32_t halves = codes & 0x0f0f0f0fu;
  const std::uint32_t pairs = (halves | halves >> 4) & 0x00ff00ffu;
  return (pairs | pairs >> 8) & 0xffffu;
}

template <class Team>
SQ_HOST_DEVICE void write_packed_codes(Team& team, const std::int8_t* from, std::uint8_t* to,
                                       std::int32_t size) {
  using Eight = Pack<std::uint32_t, 2>;
  using Four = Pack<std::uint32_t, 1>;
  std::int32_t done = 0;  // bytes
  if (is_aligned<Four>(to)) {
    SQ_NO_UNROLL
    for (std::int32_t i = team.rank(); i < size / 8; i += team.size()) {
      const auto codes = load_pack<Eight>(from + 8 * i);
      store_pack(to + 4 * i, Four{low_halves(codes.v[0]) | low_halves(codes.v[1]) << 16});
    }
    done = size / 8 * 4;
  }
  SQ_NO_UNROLL
  for (std::int32_t i = done + team.rank(); i < (size + 1) / 2; i += team.size()) {
    const int low = from[2 * i] & 15;
    const int high = 2 * i + 1 < size ? from[2 * i + 1] & 15 : 0;
    to[i] = static_cast<std::uint8_t>(low | high << 4);
  }
}

template <class Team>
SQ_HOST_DEVICE void write_weights(Team& team, const std::int8_t* from, float* to, std::int32_t size,
                                  Affine affine) {
  using Codes = Pack<std::int8_t, 4>;
  std::int32_t done = 0;
  if (is_aligned<FloatPack>(to)) {
    SQ_NO_UNROLL
    for (std::int32_t i = team.rank(); i < size / 4; i += team.size()) {
      const auto codes = load_pack<Codes>(from + 4 * i);
      FloatPack weights;
      SQ_UNROLL
      for (int k = 0; k < 4; ++k) weights.v[k] = from_code(static_cast<float>(codes.v[k]), affine);
      store_pack(to + 4 * i, weights);
    }
    done = size / 4 * 4;
  }
  SQ_NO_UNROLL
  for (std::int32_t i = done + team.rank(); i < size; i += team.size())
    to[i] = from_code(static_cast<float>(from[i]), affine);
}

// `codes`: 16-byte aligned, `size` of them.
template <class Team>
SQ_HOST_DEVICE void write_output(Team& team, CudaOutput output, const std::int8_t* codes, void* to,
                                 std::int32_t size, Affine affine) {
  if (output == CudaOutput::kCodes) {
    write_codes(team, codes, static_cast<std::int8_t*>(to), size);
  } else if (output == CudaOutput::kPackedCodes) {
    write_packed_codes(team, codes, static_cast<std::uint8_t*>(to), size);
  } else {
    write_weights(team, codes, static_cast<float*>(to), size, affine);
  }
}

}  // namespace squant::quant
