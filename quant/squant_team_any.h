// SQuant on one output channel by a team, for any weights: the way for channels with an x that does
// not round to a code (squant_team_inside.h has the others, which are nearly all). Its errors may
// exceed 0.5, and its codes need a clamp at the end.
#pragma once

#include <cstdint>

#include "quant/team.h"

namespace squant::quant {

// Far outside every code range, and still an int16 after the shift: clamping there changes no code.
inline constexpr float kRoundedLimit = 16000.0f;

SQ_HOST_DEVICE std::int16_t pack_rounded(float rounded, bool flips) {
  const CodeRange limit{-kRoundedLimit, kRoundedLimit};
  return static_cast<std::int16_t>(static_cast<int>(clamp_code(rounded, limit)) * 2 +
                                   (flips ? 1 : 0));
}
SQ_HOST_DEVICE void flip_rounded(std::int16_t& rounded, bool up) {
  rounded = static_cast<std::int16_t>(rounded + (up ? 2 : -2));
}
// Floored: the flag is the lowest bit of a two's complement number.
SQ_HOST_DEVICE int unpack_rounded(std::int16_t rounded) { return rounded >> 1; }

// An element's key in stage K, 0 where it may not go `up`.
SQ_HOST_DEVICE std::uint64_t kernel_key(const TeamScratch& scratch, std::int32_t i, bool up) {
  const float error = scratch.error[i];
  const bool candidate = (scratch.rounded[i] & 1) != 0 && (up ? error < 0.0f : error > 0.0f);
  return candidate ? flip_key(up ? -error : error, static_cast<std::uint32_t>(i)) : 0;
}

// The largest key of [begin, end) below `bound`, 0 where there is none.
SQ_HOST_DEVICE std::uint64_t next_kernel_key(const TeamScratch& scratch, std::int32_t begin,
                                             std::int32_t end, bool up, std::uint64_t bound) {
  std::uint64_t best = 0;
  for (std::int32_t i = begin; i < end; ++i) {
    const std::uint64_t key = kernel_key(scratch, i, up);
    if (key < bound && key > best) best = key;
  }
  return best;
}

// Stage K on one weight kernel, by one thread (ALGORITHM.md, section 3). Leaves in scratch.error 0
// but for the named element: its priority, negative where it may go down. Returns the sum of errors
// that the kernel keeps.
SQ_HOST_DEVICE std::int64_t team_fix_kernel(const TeamScratch& scratch, std::int32_t begin,
                                            std::int32_t end) {
  std::int64_t sum = 0;
  for (std::int32_t i = begin; i < end; ++i) sum += to_fixed(scratch.error[i]);
  const FlipPlan plan = plan_flips(sum);

  std::uint64_t last = ~std::uint64_t{0};  // the key of the last element flipped
  std::int64_t flips = 0;
  std::int32_t named = -1;
  float named_priority = 0.0f;
  while (flips < plan.count) {
    const std::uint64_t key = next_kernel_key(scratch, begin, end, plan.up, last);
    if (key == 0) break;
    last = key;
    ++flips;
    flip_rounded(scratch.rounded[flip_key_index(key)], plan.up);
  }
  if (plan.enough && flips > 0) {  // undo the last one
    named = static_cast<std::int32_t>(flip_key_index(last));
    const float left = fabsf(error_after_flip(scratch.error[named], plan.up));
    named_priority = plan.up ? -left : left;
  } else if (!plan.enough) {  // go on with the next one
    const std::uint64_t key = next_kernel_key(scratch, begin, end, plan.up, last);
    if (key != 0) {
      named = static_cast<std::int32_t>(flip_key_index(key));
      named_priority = -scratch.error[named];
    }
  }
  for (std::int32_t i = begin; i < end; ++i) scratch.error[i] = 0.0f;
  if (named >= 0) scratch.error[named] = named_priority;
  const std::int64_t moved = flips << kFixedBits;
  return plan.up ? sum + moved : sum - moved;
}

// Stage C's candidates: signed priorities, positive where the element may go up.
SQ_HOST_DEVICE std::uint32_t channel_priority(const TeamScratch& scratch, std::int32_t i, bool up) {
  const float priority = up ? scratch.error[i] : -scratch.error[i];
  return priority > 0.0f ? float_bits(priority) : 0;
}

template <class Team>
SQ_HOST_DEVICE std::int64_t count_at_least(Team& team, const TeamScratch& scratch,
                                           std::int32_t size, bool up, std::uint32_t bound) {
  std::int64_t count = 0;
  for (std::int32_t i = team.rank(); i < size; i += team.size()) {
    count += channel_priority(scratch, i, up) >= bound ? 1 : 0;
  }
  return team.sum_of(count);
}

// Stage C (section 4): flips the plan.count candidates of the largest priority, of equal ones the
// lower index. The threshold is found by bisection over the priorities' bits, which order as the
// floats do.
template <class Team>
SQ_HOST_DEVICE void team_fix_channel(Team& team, const TeamScratch& scratch, std::int32_t size,
                                     FlipPlan plan) {
  if (plan.count == 0) return;
  std::uint32_t largest = 0;
  for (std::int32_t i = team.rank(); i < size; i += team.size()) {
    const std::uint32_t bits = channel_priority(scratch, i, plan.up);
    if (bits > largest) largest = bits;
  }
  largest = team.max_of(largest);
  if (largest == 0) return;

  // Invariant: more than `count` candidates are >= low (or low is 1 and takes them all); at most
  // `count` are >= high.
  std::uint32_t low = 1;
  std::uint32_t high = largest + 1;
  std::int64_t at_high = 0;
  const std::int64_t all = count_at_least(team, scratch, size, plan.up, low);
  if (all <= plan.count) {
    high = low;
    at_high = all;
  }
  while (high - low > 1 && at_high < plan.count) {
    const std::uint32_t middle = low + (high - low) / 2;
    const std::int64_t count = count_at_least(team, scratch, size, plan.up, middle);
    if (count <= plan.count) {
      high = middle;
      at_high = count;
    } else {
      low = middle;
    }
  }
  for (std::int32_t i = team.rank(); i < size; i += team.size()) {
    if (channel_priority(scratch, i, plan.up) >= high) flip_rounded(scratch.rounded[i], plan.up);
  }
  if (at_high == plan.count || all <= plan.count) return;

  // Ties at `low`: the lowest indices take what is left.
  std::uint32_t from = 0;
  for (std::int64_t left = plan.count - at_high; left > 0; --left) {
    std::uint32_t best = 0;  // complement of the index: the lowest index is the largest
    for (std::int32_t i = team.rank(); i < size; i += team.size()) {
      const auto index = static_cast<std::uint32_t>(i);
      if (index >= from && channel_priority(scratch, i, plan.up) == low && ~index > best)
        best = ~index;
    }
    const std::uint32_t chosen = ~team.max_of(best);
    if (team.rank() == 0) flip_rounded(scratch.rounded[chosen], plan.up);
    from = chosen + 1;
  }
}

// Stages E, K and C on the weights that scratch.error holds; writes row.codes.
template <class Team>
SQ_COLD void round_any_row(Team team, TeamRow row, Affine affine, CodeRange range, Mode mode,
                           Rounding rounding, TeamScratch scratch) {
  const std::int32_t size = row.in * row.kernel;
  for (std::int32_t i = team.rank(); i < size; i += team.size()) {
    const float x = to_code_units(scratch.error[i], affine);
    const float rounded = round_element(x, range, rounding);
    const float error = rounded - x;
    scratch.error[i] = error;
    scratch.rounded[i] = pack_rounded(rounded, can_flip(x, error, error < 0.0f, range));
  }
  team.sync();

  std::int64_t sum = 0;
  if (has_kernel_stage(mode) && row.kernel > 1) {
    for (std::int32_t j = team.rank(); j < row.in; j += team.size()) {
      sum += team_fix_kernel(scratch, j * row.kernel, (j + 1) * row.kernel);
    }
  } else {
    for (std::int32_t i = team.rank(); i < size; i += team.size()) {
      const float error = scratch.error[i];
      sum += to_fixed(error);
      scratch.error[i] =
          (scratch.rounded[i] & 1) != 0 ? -error : 0.0f;  // an error below 0 asks to go up
    }
  }
  sum = team.sum_of(sum);
  if (has_channel_stage(mode)) team_fix_channel(team, scratch, size, plan_flips(sum));
  team.sync();

  const int low = static_cast<int>(range.lo);
  const int high = static_cast<int>(range.hi);
  for (std::int32_t i = team.rank(); i < size; i += team.size()) {
    const int code = unpack_rounded(scratch.rounded[i]);
    row.codes[i] = static_cast<std::int8_t>(code < low ? low : (code > high ? high : code));
  }
}

}  // namespace squant::quant
