// Section 4: stage C. Part of quant/lanes/impl.h.
#pragma once

#include "quant/lanes/vector.h"

namespace squant::quant {
namespace {

constexpr float kAnyError = 1.4e-45f;  // the smallest float above 0

// Stage C on one channel.
class ChannelFix {
 public:
  SQ_HOST_DEVICE ChannelFix(const LaneRows& rows, const ChannelInputs& in, std::int64_t row)
      : rows_(rows),
        errors_(in.errors + row * in.size),
        size_(in.size),
        named_index_(in.named_index == nullptr ? nullptr : in.named_index + row * in.size),
        weights_(rows.weights + row * rows.row_size()),
        codes_(rows.codes + row * rows.row_size()),
        affine_{rows.scale[row], rows.zero_point[row]},
        plan_(plan_flips(in.sums[row])),
        places_(in.places),
        priorities_(in.priorities) {}

  SQ_HOST_DEVICE void run(float inverse_size) {
    const bool few = named_index_ == nullptr && size_ <= kFewElements && !rows_.clamp;
    if (plan_.count == 0 && !few) return;
    // How many errors a first threshold should let through. Errors are spread evenly over [-0.5,
    // 0.5]; the errors of named elements go beyond, half of them being flips to undo. A bad guess
    // costs time alone.
    float share = (1.25f * static_cast<float>(plan_.count) + 3.0f) * inverse_size;
    std::int64_t found = 0;
    for (float threshold = 1.0f; found < plan_.count && threshold > kAnyError; share *= 2) {
      threshold = named_index_ == nullptr ? 0.5f - share : 0.6f - 0.6f * share;
      threshold = threshold > kAnyError ? threshold : kAnyError;
      found = collect(threshold);
    }
    if (few && found >= plan_.count && found <= kRanked) {
      const Ranking ranking = rank(found);
      if (ranking.unique) return flip_from(ranking.last);
    }
    if (found > plan_.count) found = keep_largest(found);
    for (std::int64_t i = 0; i < found; ++i) flip(places_[i]);
  }

 private:
  // Up to so many elements are flipped without a branch that depends on their number: worth a pass
  // over them where narrowing a vector of codes is one instruction.
  static constexpr std::int64_t kFewElements = kLanes == 16 ? 256 : 0;
  // Up to so many candidates are ranked by comparing all with all.
  static constexpr int kRanked = 16;

  // Writes the candidates with |error| >= threshold to places_ and priorities_, in order; returns
  // their number.
  SQ_HOST_DEVICE std::int64_t collect(float threshold) {
    const Ints sign = broadcast(plan_.up ? kSignBit : 0);
    const Ints least = bits_of(broadcast(threshold));
    std::int64_t found = 0;
    std::int64_t at = 0;
    for (; at + kLanes <= size_; at += kLanes) {
      const Ints priority = load_as<Ints>(errors_ + at) ^ sign;
      std::uint32_t mask = mask_at_least(priority, least);
      if (named_index_ == nullptr) mask &= mask_differing(load_as<Bytes>(codes_ + at), limit());
      found = append(found, at, mask, priority);
    }
    if (const std::int64_t rest = size_ - at; rest > 0) {
      const Ints priority = load_as<Ints>(errors_ + at) ^ sign;  // the buffer goes on
      std::uint32_t mask = mask_at_least(priority, least) & first_bits(rest);
      if (named_index_ == nullptr) mask &= mask_differing(load_first(codes_ + at, rest), limit());
      found = append(found, at, mask, priority);
    }
    return found;
  }

  // An error of this direction at this code is no candidate: x is at or beyond it.
  SQ_HOST_DEVICE std::int8_t limit() const {
    return static_cast<std::int8_t>(plan_.up ? rows_.range.hi : rows_.range.lo);
  }

  SQ_HOST_DEVICE std::int64_t append(std::int64_t found, std::int64_t at, std::uint32_t mask,
                                     Ints priority) {
#if SQ_HAS_COMPRESS
    if (size_ > kFewElements && mask == 0) return found;
    const Ints places = lane_numbers() + static_cast<std::int32_t>(at);
    store(places_ + found, compress(places, mask));
    store(priorities_ + found, compress(priority, mask));
    return found + __builtin_popcount(mask);
#else
    if (mask == 0) return found;
    std::int32_t priorities[kLanes];
    store(priorities, priority);
    for (; mask != 0; mask &= mask - 1) {
      places_[found] = static_cast<std::int32_t>(at) + __builtin_ctz(mask);
      priorities_[found++] = priorities[__builtin_ctz(mask)];
    }
    return found;
#endif
  }

  // Where the candidates (at most kRanked) stand among each other.
  struct Ranking {
    std::uint32_t kept;  // one bit per candidate: it flips
    std::int32_t last;   // the smallest priority that flips; INT32_MAX for none
    bool unique;         // no equal ones where it matters
  };
  SQ_HOST_DEVICE Ranking rank(std::int64_t found) {
    SQ_UNROLL
    for (int begin = 0; begin < kRanked; begin += kLanes)
      store(priorities_ + found + begin, Ints{});
    const Ints count = broadcast(static_cast<std::int32_t>(plan_.count));
    std::uint32_t kept = 0;
    std::uint32_t last = 0;
    SQ_UNROLL
    for (int begin = 0; begin < kRanked; begin += kLanes) {
      const Ints mine = load_as<Ints>(priorities_ + begin);
      Ints larger = {};
      SQ_UNROLL
      for (int i = 0; i < kRanked; ++i)
        larger = broadcast(priorities_[i]) > mine ? larger + 1 : larger;
      kept |= mask_at_least(count - 1, larger) << begin;
      last |= mask_at_least(larger, count - 1) << begin;
    }
    kept &= first_bits(found);
    last &= kept;
    if (last == 0) return {kept, INT32_MAX, plan_.count == 0};
    return {kept, priorities_[__builtin_ctz(last)], __builtin_popcount(kept) == plan_.count};
  }

  // Flips all candidates from this priority on; no code was clamped.
  SQ_HOST_DEVICE void flip_from(std::int32_t last) {
    const Ints sign = broadcast(plan_.up ? kSignBit : 0);
    const Ints step = broadcast(plan_.up ? 1 : -1);
    std::int64_t at = 0;
    for (; at + kLanes <= size_; at += kLanes) {
      const Ints flip = (load_as<Ints>(errors_ + at) ^ sign) >= last;
      const Bytes codes = load_as<Bytes>(codes_ + at);
      const Bytes steps = __builtin_convertvector(flip & step, Bytes);
      store(codes_ + at, codes + (steps & (codes != limit())));
    }
    if (const std::int64_t rest = size_ - at; rest > 0) {
      const Ints flip = (load_as<Ints>(errors_ + at) ^ sign) >= last;
      const Bytes codes = load_first(codes_ + at, rest);
      const Bytes steps = __builtin_convertvector(flip & step, Bytes);
      store_first(codes_ + at, codes + (steps & (codes != limit())), rest);
    }
  }

  // Of more candidates than needed keeps those that flip first; returns their number, plan_.count.
  SQ_HOST_DEVICE std::int64_t keep_largest(std::int64_t found) {
    if (found > kRanked) return keep_largest_of_many(found);
    const Ranking ranking = rank(found);
    if (!ranking.unique) return keep_largest_of_many(found);
    std::int64_t kept = 0;
    for (std::uint32_t mask = ranking.kept; mask != 0; mask &= mask - 1)
      places_[kept++] = places_[__builtin_ctz(mask)];
    return kept;
  }

  // The same for any number of candidates, equal ones included: bisects the bits of the last
  // priority that flips.
  __attribute__((noinline)) std::int64_t keep_largest_of_many(std::int64_t found) {
    std::int32_t reached = 0;              // by plan_.count candidates or more
    std::int32_t missed = 0x3F800000 + 1;  // above 1.0
    while (missed - reached > 1) {
      const std::int32_t middle = reached + (missed - reached) / 2;
      std::int64_t count = 0;
      for (std::int64_t i = 0; i < found; ++i) count += priorities_[i] >= middle ? 1 : 0;
      (count >= plan_.count ? reached : missed) = middle;
    }
    std::int64_t equal = plan_.count;  // how many of the equal ones flip: the first ones
    for (std::int64_t i = 0; i < found; ++i) equal -= priorities_[i] > reached ? 1 : 0;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < found; ++i) {
      const std::int32_t bits = priorities_[i];
      if (bits > reached || (bits == reached && equal-- > 0)) places_[kept++] = places_[i];
    }
    return kept;
  }

  SQ_HOST_DEVICE void flip(std::int64_t place) {
    bool undo = false;
    if (named_index_ != nullptr) {
      undo = (named_index_[place] & kUndo) != 0;
      place = place * rows_.kernel + (named_index_[place] & ~kUndo);
    }
    const float step = plan_.up ? 1.0f : -1.0f;
    float code = codes_[place];
    if (rows_.clamp && !undo) {  // the code that stands there may have been clamped
      code = round_element(to_code_units(weights_[place], affine_), rows_.range, rows_.rounding);
    }
    codes_[place] = static_cast<std::int8_t>(clamp_code(code + step, rows_.range));
  }

  const LaneRows& rows_;
  const float* const errors_;
  const std::int64_t size_;
  const std::int32_t* const named_index_;
  const float* const weights_;
  std::int8_t* const codes_;
  const Affine affine_;
  const FlipPlan plan_;
  std::int32_t* const places_;      // of the candidates
  std::int32_t* const priorities_;  // the bits of their |error|
};

void fix_channels(const LaneRows& rows, const ChannelInputs& in) {
  const float inverse_size = 1.0f / static_cast<float>(in.size);
  for (std::int64_t row = 0; row < rows.num_rows; ++row) {
    if (rows.scale[row] > 0) ChannelFix(rows, in, row).run(inverse_size);
  }
}

}  // namespace
}  // namespace squant::quant
