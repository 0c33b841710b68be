// SQuant on one output channel by a team, for any weights: the way for channels with an x that does
// not round to a code (squant_team_inside.h has the others, which are nearly all). Its errors may
// exceed 0.5, and its codes need a clamp at the end.
#pragma once

#include <cstdint>

#include "quant/squant_team_select.h"
#include "quant/team.h"

namespace squant::quant {

// A channel on its way. scratch.error holds its errors, later what stage C may flip; scratch.codes
// how often each element was flipped up, less how often down. The rest follows from the weights.
struct AnyRow {
  TeamRow row;
  Affine affine;
  CodeRange range;
  Rounding rounding;
  TeamScratch scratch;

  SQ_HOST_DEVICE std::int32_t size() const { return row.in * row.kernel; }
  SQ_HOST_DEVICE float x(std::int32_t i) const { return to_code_units(row.weights[i], affine); }
  SQ_HOST_DEVICE void flip(std::int32_t i, bool up) const {
    scratch.codes[i] = static_cast<std::int8_t>(scratch.codes[i] + (up ? 1 : -1));
  }
};

// The largest key of the elements of [begin, end) that may go `up`, below `bound`; 0: there is
// none.
SQ_HOST_DEVICE std::uint64_t next_kernel_key(const AnyRow& any, std::int32_t begin,
                                             std::int32_t end, bool up, std::uint64_t bound) {
  std::uint64_t best = 0;
  for (std::int32_t i = begin; i < end; ++i) {
    const float error = any.scratch.error[i];
    if (!can_flip(any.x(i), error, up, any.range)) continue;
    const std::uint64_t key = flip_key(fabsf(error), static_cast<std::uint32_t>(i));
    if (key < bound && key > best) best = key;
  }
  return best;
}

// Stage K on one weight kernel, by one thread (ALGORITHM.md, section 3). Leaves as errors 0 but for
// the element that it names. Returns the sum of errors that the kernel keeps.
SQ_HOST_DEVICE std::int64_t fix_any_kernel(const AnyRow& any, std::int32_t begin,
                                           std::int32_t end) {
  float* const error = any.scratch.error;
  std::int64_t sum = 0;
  for (std::int32_t i = begin; i < end; ++i) sum += to_fixed(error[i]);
  const FlipPlan plan = plan_flips(sum);

  std::uint64_t last = ~std::uint64_t{0};  // the key of the last element flipped
  std::int64_t flips = 0;
  for (; flips < plan.count; ++flips) {
    const std::uint64_t key = next_kernel_key(any, begin, end, plan.up, last);
    if (key == 0) break;
    last = key;
    any.flip(static_cast<std::int32_t>(flip_key_index(key)), plan.up);
  }
  std::int32_t named = -1;
  float named_error = 0.0f;
  if (plan.enough && flips > 0) {  // undo the last one
    named = static_cast<std::int32_t>(flip_key_index(last));
    const float left = fabsf(error_after_flip(error[named], plan.up));
    named_error = plan.up ? left : -left;
  } else if (!plan.enough) {  // go on with the next one
    const std::uint64_t key = next_kernel_key(any, begin, end, plan.up, last);
    if (key != 0) {
      named = static_cast<std::int32_t>(flip_key_index(key));
      named_error = error[named];
    }
  }
  for (std::int32_t i = begin; i < end; ++i) error[i] = 0.0f;
  if (named >= 0) error[named] = named_error;
  const std::int64_t moved = flips << kFixedBits;
  return plan.up ? sum + moved : sum - moved;
}

// Stage K, or what stage C may flip without it: errors of elements that cannot move become 0.
// Returns this member's sum of errors.
template <class Team>
SQ_HOST_DEVICE std::int64_t fix_any_kernels(Team& team, const AnyRow& any, Mode mode) {
  std::int64_t sum = 0;
  if (has_kernel_stage(mode) && any.row.kernel > 1) {
    for (std::int32_t j = team.rank(); j < any.row.in; j += team.size())
      sum += fix_any_kernel(any, j * any.row.kernel, (j + 1) * any.row.kernel);
    return sum;
  }
  for (std::int32_t i = team.rank(); i < any.size(); i += team.size()) {
    float& error = any.scratch.error[i];
    sum += to_fixed(error);
    if (!can_flip(any.x(i), error, error < 0.0f, any.range)) error = 0.0f;
  }
  return sum;
}

// Stages E, K and C; leaves the codes in scratch.codes, not synced.
template <class Team>
SQ_COLD void round_any_row(Team team, AnyRow any, Mode mode) {
  for (std::int32_t i = team.rank(); i < any.size(); i += team.size()) {
    const float x = any.x(i);
    any.scratch.error[i] = round_element(x, any.range, any.rounding) - x;
    any.scratch.codes[i] = 0;
  }
  team.sync();
  const std::int64_t sum = team.sum_of(fix_any_kernels(team, any, mode));
  if (has_channel_stage(mode)) {
    constexpr std::int32_t kNoLimit = 1 << 8;
    flip_candidates(
        team, {any.scratch.error, any.size(), 1, INFINITY, any.scratch.codes, -kNoLimit, kNoLimit},
        any.scratch, plan_flips(sum));
  }
  team.sync();
  for (std::int32_t i = team.rank(); i < any.size(); i += team.size()) {
    const float rounded = round_element(any.x(i), any.range, any.rounding);
    any.scratch.codes[i] = static_cast<std::int8_t>(
        clamp_code(rounded + static_cast<float>(any.scratch.codes[i]), any.range));
  }
}

}  // namespace squant::quant
