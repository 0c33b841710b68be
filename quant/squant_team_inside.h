// SQuant on one output channel by a team, for channels whose every x rounds to a code: errors are
// at most 0.5, sums of a few fit 32 bits, and codes need no clamp.
#pragma once

#include <cstdint>
#include <type_traits>

#include "quant/squant_team_select.h"
#include "quant/team.h"

namespace squant::quant {

// The lowest bytes of four words.
SQ_HOST_DEVICE std::uint32_t lowest_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t c,
                                          std::uint32_t d) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
#else
  return (a & 255u) | (b & 255u) << 8 | (c & 255u) << 16 | d << 24;
#endif
}

// Stage E: weights become codes and, kErrors, errors. Returns this member's sum of errors if kSum.
template <Rounding kRounding, bool kErrors, bool kSum, class Team>
SQ_HOST_DEVICE std::int64_t round_elements(Team& team, std::int32_t size, Affine affine,
                                           const TeamScratch& scratch) {
  std::int64_t sum = 0;
  const std::int32_t packs = size / 4;
  for (std::int32_t i = team.rank(); i < packs; i += team.size()) {
    auto pack = load_pack<FloatPack>(scratch.error + 4 * i);
    std::uint32_t code[4];
    std::int32_t part = 0;
    SQ_UNROLL
    for (int k = 0; k < 4; ++k) {
      const InsideElement element = round_inside<kRounding>(to_code_units(pack.v[k], affine));
      pack.v[k] = element.error;
      code[k] = element.code;
      if (kSum) part += to_fixed_inside(element.error);
    }
    sum += part;
    if (kErrors) store_pack(scratch.error + 4 * i, pack);
    store_pack(scratch.codes + 4 * i,
               Pack<std::uint32_t, 1>{lowest_bytes(code[0], code[1], code[2], code[3])});
  }
  SQ_NO_UNROLL
  for (std::int32_t i = packs * 4 + team.rank(); i < size; i += team.size()) {
    const InsideElement element = round_inside<kRounding>(to_code_units(scratch.error[i], affine));
    scratch.error[i] = element.error;
    scratch.codes[i] = static_cast<std::int8_t>(element.code);
    if (kSum) sum += to_fixed_inside(element.error);
  }
  return sum;
}

template <bool kErrors, bool kSum, class Team>
SQ_HOST_DEVICE std::int64_t round_elements(Team& team, std::int32_t size, Affine affine,
                                           Rounding rounding, const TeamScratch& scratch) {
  return rounding == Rounding::kCurrent
             ? round_elements<Rounding::kCurrent, kErrors, kSum>(team, size, affine, scratch)
             : round_elements<Rounding::kPaper, kErrors, kSum>(team, size, affine, scratch);
}

// The errors of one weight kernel as priorities for one direction. kKernel: the kernel's size,
// whose priorities then live in registers; 0: known at run time only, and they replace the errors.
template <int kKernel>
class KernelPriorities {
 public:
  SQ_HOST_DEVICE KernelPriorities(float* errors, std::int32_t, float sign) {
    SQ_UNROLL
    for (int i = 0; i < kKernel; ++i) priority_[i] = errors[i] * sign;
  }
  SQ_HOST_DEVICE float largest() const {
    float best = priority_[0];
    SQ_UNROLL
    for (int i = 1; i < kKernel; ++i) best = fmaxf(best, priority_[i]);
    return best;
  }
  // Removes the first that is `priority`, and returns its place.
  SQ_HOST_DEVICE std::int32_t take(float priority) {
    std::int32_t place = 0;
    SQ_UNROLL
    for (int i = kKernel - 1; i >= 0; --i) place = priority_[i] == priority ? i : place;
    SQ_UNROLL
    for (int i = 0; i < kKernel; ++i) priority_[i] = i == place ? 0.0f : priority_[i];
    return place;
  }

 private:
  float priority_[kKernel];
};

template <>
class KernelPriorities<0> {
 public:
  SQ_HOST_DEVICE KernelPriorities(float* errors, std::int32_t size, float sign)
      : priority_(errors), size_(size) {
    for (std::int32_t i = 0; i < size; ++i) priority_[i] *= sign;
  }
  SQ_HOST_DEVICE float largest() const {
    float best = priority_[0];
    for (std::int32_t i = 1; i < size_; ++i) best = fmaxf(best, priority_[i]);
    return best;
  }
  SQ_HOST_DEVICE std::int32_t take(float priority) {
    std::int32_t place = 0;
    while (priority_[place] != priority) ++place;
    priority_[place] = 0.0f;
    return place;
  }

 private:
  float* priority_;
  std::int32_t size_;
};

// What a sum of a kernel's errors fits in.
template <int kKernel>
using KernelSum = std::conditional_t<(kKernel > 0 && kKernel <= 62), std::int32_t, std::int64_t>;

template <int kKernel>
SQ_HOST_DEVICE KernelSum<kKernel> sum_of_kernel(const float* errors, std::int32_t size) {
  KernelSum<kKernel> sum = 0;
  const std::int32_t count = kKernel > 0 ? kKernel : size;
  SQ_UNROLL
  for (std::int32_t i = 0; i < count; ++i) sum += to_fixed_inside(errors[i]);
  return sum;
}

// Stage K on one weight kernel of at least 2 elements, by one thread. Its errors give way to what
// it names for stage C, as Candidates wants it. Returns the sum of errors that the kernel keeps.
template <int kKernel>
SQ_HOST_DEVICE std::int64_t fix_kernel_inside(float* errors, std::int8_t* codes, std::int32_t size,
                                              CodeRange range) {
  const KernelSum<kKernel> sum = sum_of_kernel<kKernel>(errors, size);
  const FlipPlan plan = plan_flips(sum);
  const int limit = static_cast<int>(plan.up ? range.hi : range.lo);
  const int step = plan.up ? 1 : -1;
  const float sign = plan.up ? -1.0f : 1.0f;
  KernelPriorities<kKernel> priorities(errors, size, sign);

  const auto flips = static_cast<std::int32_t>(plan.count);
  const std::int32_t wanted = plan.enough ? flips : flips + 1;  // one more is only named
  std::int32_t taken = 0;
  std::int32_t last = 0;
  float last_priority = 0.0f;
  while (taken < wanted) {
    const float priority = priorities.largest();
    if (!(priority > 0.0f)) break;
    const std::int32_t place = priorities.take(priority);
    const int code = codes[place];
    if (code == limit) continue;
    if (taken < flips) codes[place] = static_cast<std::int8_t>(code + step);
    ++taken;
    last = place;
    last_priority = priority;
  }
  float named = 0.0f;
  if (plan.enough) {
    if (taken > 0) named = -sign * fabsf(error_after_flip(sign * last_priority, plan.up));  // undo
  } else if (taken == wanted) {
    named = sign * last_priority;
  }
  errors[0] = named;
  errors[1] = static_cast<float>(last);
  const auto moved = static_cast<KernelSum<kKernel>>(taken < flips ? taken : flips) << kFixedBits;
  return plan.up ? sum + moved : sum - moved;
}

template <int kKernel, class Team>
SQ_HOST_DEVICE std::int64_t fix_kernels_inside(Team& team, const TeamRow& row, CodeRange range,
                                               const TeamScratch& scratch) {
  std::int8_t* const codes = scratch.codes;
  const std::int32_t size = kKernel > 0 ? kKernel : row.kernel;
  std::int64_t sum = 0;
  for (std::int32_t j = team.rank(); j < row.in; j += team.size()) {
    sum += fix_kernel_inside<kKernel>(scratch.error + j * size, codes + j * size, size, range);
  }
  return sum;
}

// Stages E, K and C on the weights that scratch.error holds; leaves scratch.codes, not synced.
template <class Team>
SQ_HOST_DEVICE void round_inside_row(Team& team, const TeamRow& row, Affine affine, CodeRange range,
                                     Mode mode, Rounding rounding, const TeamScratch& scratch) {
  const std::int32_t size = row.in * row.kernel;
  const bool kernels = has_kernel_stage(mode) && row.kernel > 1;
  std::int64_t sum = 0;
  if (kernels) {
    round_elements<true, false>(team, size, affine, rounding, scratch);
    team.sync();
    constexpr std::int32_t kMostFrequent = 9;  // 3 x 3
    sum = row.kernel == kMostFrequent ? fix_kernels_inside<kMostFrequent>(team, row, range, scratch)
                                      : fix_kernels_inside<0>(team, row, range, scratch);
  } else if (has_channel_stage(mode)) {
    sum = round_elements<true, true>(team, size, affine, rounding, scratch);
  } else {
    round_elements<false, false>(team, size, affine, rounding, scratch);
  }
  if (has_channel_stage(mode)) {
    const FlipPlan plan = plan_flips(team.sum_of(sum));
    const Candidates candidates{scratch.error,
                                kernels ? row.in : size,
                                kernels ? row.kernel : 1,
                                kernels ? 1.125f : 0.5625f,
                                scratch.codes,
                                static_cast<std::int32_t>(range.lo),
                                static_cast<std::int32_t>(range.hi)};
    flip_candidates(team, candidates, scratch, plan);
  }
}

}  // namespace squant::quant
