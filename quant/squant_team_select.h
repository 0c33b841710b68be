// Stage C for a team: flips the `count` candidates of a channel that come first (numerics.h:
// flip_key). How many that is follows from the errors' sum, so it is small against the candidates:
// a guess of the last one's priority leaves a short list, in which exact ranks are found. A guess
// that was wrong is bisected, over keys that are all different, so the search ends whatever the
// weights are.
#pragma once

#include <cstdint>

#include "quant/team.h"

namespace squant::quant {

// A channel's candidates. errors[i * stride] below 0 asks to go up, above 0 to go down; its
// magnitude is the priority. The element is i, or, where stage K named it (stride > 1),
// i * stride + errors[i * stride + 1].
struct Candidates {
  const float* errors;
  std::int32_t count;
  std::int32_t stride;
  float above;         // all priorities
  std::int8_t* codes;  // of all elements
  std::int32_t lo;     // codes that cannot go down, or up
  std::int32_t hi;

  SQ_HOST_DEVICE std::int32_t element(std::int32_t i) const {
    const std::int32_t at = i * stride;
    return stride == 1 ? at : at + static_cast<std::int32_t>(errors[at + 1]);
  }
};

SQ_HOST_DEVICE int lowest_bit(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(bits)) - 1;
#else
  return __builtin_ctz(bits);
#endif
}

// A member looks at its candidates 32 at a time, and marks the few that may matter: threads of a
// warp that looked closer at once would wait for each other. This is who the marks stand for.
template <bool kPacked, class Team>
SQ_HOST_DEVICE std::int32_t marked(Team& team, std::int32_t first, int bit) {
  return kPacked ? 4 * (first + (bit >> 2) * team.size()) + (bit & 3) : first + bit * team.size();
}

// Candidates whose priority is at least `bound`, and perhaps some behind the last. kPacked: of
// stride 1, read four at a time.
template <bool kPacked, class Team>
SQ_HOST_DEVICE std::uint32_t mark_at_least(Team& team, const Candidates& of, std::int32_t first,
                                           float sign, float bound) {
  constexpr int kWidth = kPacked ? 4 : 1;
  const std::int32_t end = (of.count + kWidth - 1) / kWidth;
  const std::int32_t left = (end - first + team.size() - 1) / team.size();
  const std::int32_t steps = left < 32 / kWidth ? left : 32 / kWidth;
  const std::int32_t stride = (kPacked ? 4 : of.stride);
  const float* at = of.errors + first * stride;
  std::uint32_t marks = 0;
  SQ_UNROLL_4
  for (std::int32_t step = 0; step < steps; ++step) {
    std::uint32_t bits = 0;
    if (kPacked) {
      const auto pack = load_pack<FloatPack>(at);
      SQ_UNROLL
      for (int k = 0; k < 4; ++k) bits |= pack.v[k] * sign >= bound ? 1u << k : 0u;
    } else {
      bits = *at * sign >= bound ? 1u : 0u;
    }
    marks |= bits << (step * kWidth);
    at += stride * team.size();
  }
  return marks;
}

// Calls action(key) for every candidate of the direction whose key is at least `bound`.
template <bool kPacked, class Team, class Action>
SQ_HOST_DEVICE void visit_at_least(Team& team, const Candidates& of, bool up, std::uint64_t bound,
                                   Action action) {
  const float sign = up ? -1.0f : 1.0f;
  const float priority_bound = float_from_bits(static_cast<std::uint32_t>(bound >> 32));
  const std::int32_t limit = up ? of.hi : of.lo;
  constexpr int kSteps = kPacked ? 8 : 32;
  for (std::int32_t first = team.rank(); first * (32 / kSteps) < of.count;
       first += kSteps * team.size()) {
    std::uint32_t marks = mark_at_least<kPacked>(team, of, first, sign, priority_bound);
    for (; marks != 0; marks &= marks - 1) {
      const std::int32_t i = marked<kPacked>(team, first, lowest_bit(marks));
      if (i >= of.count) break;
      const float priority = of.errors[i * of.stride] * sign;
      const std::int32_t element = of.element(i);
      const std::uint64_t key = flip_key(priority, static_cast<std::uint32_t>(element));
      if (priority > 0.0f && key >= bound && of.codes[element] != limit) action(key);
    }
  }
}

template <class Team, class Action>
SQ_HOST_DEVICE void visit_at_least(Team& team, const Candidates& of, bool up, std::uint64_t bound,
                                   Action action) {
  if (of.stride == 1) {
    visit_at_least<true>(team, of, up, bound, action);
  } else {
    visit_at_least<false>(team, of, up, bound, action);
  }
}

SQ_HOST_DEVICE void flip_code(const Candidates& of, std::uint64_t key, bool up) {
  std::int8_t& code = of.codes[flip_key_index(key)];
  code = static_cast<std::int8_t>(code + (up ? 1 : -1));
}

// Flips the first `count` of the listed keys.
template <class Team>
SQ_HOST_DEVICE void flip_first(Team& team, const Candidates& of, const TeamScratch& scratch,
                               std::int32_t num_keys, FlipPlan plan) {
  SQ_NO_UNROLL
  for (std::int32_t i = team.rank(); i < num_keys; i += team.size()) {
    const std::uint64_t key = scratch.keys[i];
    std::int32_t before = 0;
    SQ_UNROLL_4
    for (std::int32_t j = 0; j < num_keys; ++j)
      before += static_cast<std::int32_t>((key - scratch.keys[j]) >> 63);  // keys have 63 bits
    if (before < plan.count) flip_code(of, key, plan.up);
  }
}

// The smallest key of this priority, or of any.
SQ_HOST_DEVICE std::uint64_t bound_at(float priority) {
  return priority > 0.0f ? static_cast<std::uint64_t>(float_bits(priority)) << 32 : 1;
}

// A bound that some more than `count` candidates should reach. Errors are spread evenly over
// [-0.5, 0.5]; the priorities that stage K names have a thin tail up to 1, measured on kernels of 9
// such errors.
SQ_HOST_DEVICE std::uint64_t first_bound(const Candidates& of, std::int64_t count) {
  const float wanted = 1.4f * static_cast<float>(count) + 4.0f;
  const float share = wanted / static_cast<float>(of.count);
  return bound_at(of.stride == 1 ? 0.5f - share : 0.7f - 0.47f * sqrtf(share));
}

// Too few keys are at least `high`, too many at least `low`; `low` 0: not known yet.
SQ_HOST_DEVICE std::uint64_t next_bound(std::uint64_t low, std::uint64_t high, int pass) {
  constexpr int kFindAll = 2;
  constexpr int kByPriority = 16;  // then by the bits of keys, which ends in 64 steps at most
  if (low == 0 && pass == kFindAll) return 1;
  if (pass < kByPriority) {
    const float below = float_from_bits(static_cast<std::uint32_t>(low >> 32));
    const float above = float_from_bits(static_cast<std::uint32_t>(high >> 32));
    const std::uint64_t middle = bound_at(0.5f * (below + above));
    if (middle > low && middle < high) return middle;
  }
  return low + (high - low) / 2;
}

template <class Team>
SQ_HOST_DEVICE void flip_candidates(Team& team, const Candidates& of, const TeamScratch& scratch,
                                    FlipPlan plan) {
  if (plan.count == 0) return;
  std::uint64_t low = 0;
  std::uint64_t high = bound_at(of.above);
  std::uint64_t bound = first_bound(of, plan.count);
  bool exact = false;  // the bound: all that reach it flip
  for (int pass = 1;; ++pass) {
    visit_at_least(team, of, plan.up, bound, [&](std::uint64_t key) {
      if (exact) return flip_code(of, key, plan.up);
      const std::int32_t place = team.add(scratch.num_keys, 1);
      if (place < scratch.max_keys) scratch.keys[place] = key;
    });
    if (exact) return;
    team.sync();
    const std::int32_t found = *scratch.num_keys;
    if (found >= plan.count && found <= scratch.max_keys)
      return flip_first(team, of, scratch, found, plan);
    exact = found == plan.count || (found < plan.count && bound == 1);
    if (!exact) {
      (found < plan.count ? high : low) = bound;
      bound = next_bound(low, high, pass);
    }
    team.sync();  // all have read num_keys, and looked at the codes
    if (team.rank() == 0) *scratch.num_keys = 0;
    team.sync();
  }
}

}  // namespace squant::quant
