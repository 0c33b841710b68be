// Section 3: stages E and K, kLanes weight kernels at a time, one per lane. Part of
// quant/lanes/impl.h.
#pragma once

#include "quant/lanes/elements.h"
#include "quant/lanes/transpose.h"

namespace squant::quant {
namespace {

// Calls body(j) for the elements of a kernel; unrolled where their number is known.
template <int kStatic, class Body>
SQ_HOST_DEVICE void for_each_element(int size, Body body) {
  if constexpr (kStatic > 0) {
    SQ_UNROLL
    for (int j = 0; j < kStatic; ++j) body(j);
  } else {
    for (int j = 0; j < size; ++j) body(j);
  }
}

// Between the sums and the flips. Comparisons give -1 for true.
template <int kRoom>
struct KernelGroup {
  int size;  // elements of a kernel, at most kRoom
  Ints code[kRoom];
  Ints priority[kRoom];  // the bits of a positive float order like the float; what is no candidate
                         // is <= 0
  Ints count;            // flips asked for
  Ints enough;           // mask: they make good for the whole sum or more
  Ints step;             // of a flip: 1 or -1
  Ints flips;            // flips done
  Ints named_priority;   // of the last one flipped (enough) or the next one; <= 0 for none
  Ints named_index;
};

// Flips in any group. rank: how many flip earlier; of each pair one does, the first where they are
// equal.
template <int kRoom>
SQ_HOST_DEVICE void flip_by_rank(KernelGroup<kRoom>& group) {
  Ints rank[kRoom];
  for (int j = 0; j < group.size; ++j) rank[j] = broadcast(group.size - 1 - j);
  for (int i = 0; i < group.size; ++i) {
    for (int j = i + 1; j < group.size; ++j) {
      const Ints first = group.priority[i] >= group.priority[j];
      rank[i] += first;
      rank[j] -= first;
    }
  }
  group.flips = Ints{};
  for (int j = 0; j < group.size; ++j) {
    rank[j] = group.priority[j] > 0 ? rank[j] : broadcast(INT32_MAX);
    const Ints flip = rank[j] < group.count;
    group.code[j] += flip & group.step;
    group.flips -= flip;
  }
  const Ints wanted = group.enough ? group.flips - 1 : group.count;
  group.named_priority = Ints{};
  group.named_index = Ints{};
  for (int j = 0; j < group.size; ++j) {
    const Ints named = rank[j] == wanted;
    group.named_priority = named ? group.priority[j] : group.named_priority;
    group.named_index = named ? broadcast(j) : group.named_index;
  }
}

// Optimal sorting networks, the larger value to the lower place.
struct Exchange {
  int a;
  int b;
};
template <int K>
constexpr Exchange kNetwork[1] = {};
template <>
constexpr Exchange kNetwork<3>[] = {{0, 2}, {0, 1}, {1, 2}};
template <>
constexpr Exchange kNetwork<5>[] = {{0, 3}, {1, 4}, {0, 2}, {1, 3}, {0, 1},
                                    {2, 4}, {1, 2}, {3, 4}, {2, 3}};
template <>
constexpr Exchange kNetwork<7>[] = {{0, 6}, {2, 3}, {4, 5}, {0, 2}, {1, 4}, {3, 6}, {0, 1}, {2, 5},
                                    {3, 4}, {1, 2}, {4, 6}, {2, 3}, {4, 5}, {1, 2}, {3, 4}, {5, 6}};
template <>
constexpr Exchange kNetwork<9>[] = {{0, 3}, {1, 7}, {2, 5}, {4, 8}, {0, 7}, {2, 4}, {3, 8},
                                    {5, 6}, {0, 2}, {1, 3}, {4, 5}, {7, 8}, {1, 4}, {3, 6},
                                    {5, 7}, {0, 1}, {2, 4}, {3, 5}, {6, 8}, {2, 3}, {4, 5},
                                    {6, 7}, {1, 2}, {3, 4}, {5, 6}};

// A network sorts every input if it sorts all those of zeros and ones.
template <int K>
constexpr bool sorts() {
  for (int bits = 0; bits < (1 << K); ++bits) {
    bool value[K] = {};
    for (int i = 0; i < K; ++i) value[i] = ((bits >> i) & 1) != 0;
    for (const Exchange& e : kNetwork<K>) {
      const bool a = value[e.a];
      value[e.a] = a || value[e.b];
      value[e.b] = a && value[e.b];
    }
    for (int i = 1; i < K; ++i) {
      if (value[i] && !value[i - 1]) return false;
    }
  }
  return true;
}

template <int K, std::size_t... kStep>
SQ_HOST_DEVICE void sort_falling(Ints (&v)[K], std::index_sequence<kStep...>) {
  const auto compare_exchange = [&v](int a, int b) __attribute__((always_inline)) {
    const Ints larger = max_of(v[a], v[b]);
    v[b] = min_of(v[a], v[b]);
    v[a] = larger;
  };
  (compare_exchange(kNetwork<K>[kStep].a, kNetwork<K>[kStep].b), ...);
}

template <int K>
__attribute__((noinline)) void flip_by_rank_apart(KernelGroup<K>& group) {
  flip_by_rank(group);
}

// Flips in a group of small odd kernels by sorting the priorities, which is half the work of
// ranking them. Hands the rare group to flip_by_rank that has equal priorities where it matters,
// too few candidates or many flips.
template <int K>
SQ_HOST_DEVICE void flip_by_sorting(KernelGroup<K>& group) {
  static_assert(sorts<K>());
  constexpr int kMaxFlips = K - 2 < 4 ? K - 2 : 4;
  Ints sorted[K];
  SQ_UNROLL
  for (int j = 0; j < K; ++j) sorted[j] = group.priority[j];
  sort_falling<K>(sorted, std::make_index_sequence<sizeof(kNetwork<K>) / sizeof(Exchange)>{});

  Ints last = broadcast(INT32_MAX);  // the smallest priority that flips
  Ints next = sorted[0];
  Ints after_next = sorted[1];
  SQ_UNROLL
  for (int i = 1; i <= kMaxFlips; ++i) {
    const Ints reached = group.count >= i;
    last = reached ? sorted[i - 1] : last;
    next = reached ? sorted[i] : next;
    after_next = reached ? sorted[i + 1] : after_next;
  }
  const Ints unusual = (group.count > kMaxFlips) | (last <= 0) | (last == next) |
                       ((next == after_next) & (next > 0));
  if (__builtin_expect(mask_bits(unusual) != 0, 0)) {
    KernelGroup<K> copy = group;
    flip_by_rank_apart(copy);
    group = copy;
    return;
  }
  const Ints wanted = group.enough ? last : next;
  group.flips = group.count;
  group.named_priority = wanted == INT32_MAX ? Ints{} : wanted;
  group.named_index = Ints{};
  SQ_UNROLL
  for (int j = 0; j < K; ++j) {
    group.code[j] = group.priority[j] >= last ? group.code[j] + group.step : group.code[j];
    group.named_index = group.priority[j] == wanted ? broadcast(j) : group.named_index;
  }
}

// Stages E and K on kLanes kernels. kStatic: the elements of a kernel, or 0 for `kernel` of them.
template <int kStatic, bool kPaper>
SQ_HOST_DEVICE void fix_group(const float* weights, std::int8_t* codes, Floats scale,
                              Floats zero_point, int kernel, CodeRange range, bool clamp,
                              const KernelOutputs& out) {
  constexpr int kRoom = kStatic > 0 ? kStatic : static_cast<int>(kMaxLaneKernel);
  KernelGroup<kRoom> group;
  group.size = kStatic > 0 ? kStatic : kernel;
  Floats error[kRoom];
  if constexpr (kStatic > 0) {
    Transpose<kStatic>::load_kernels(weights, error);
  } else {
    for (int j = 0; j < kernel; ++j) {
      for (int lane = 0; lane < kLanes; ++lane) error[j][lane] = weights[lane * kernel + j];
    }
  }
  Ints sum = {};
  for_each_element<kStatic>(kernel, [&](int j) {
    const Rounded rounded = round_lanes<kPaper>(error[j], scale, zero_point, range);
    group.code[j] = rounded.code;
    error[j] = rounded.error;
    sum += to_fixed_lanes(rounded.error);
  });

  // plan_flips() of numerics.h.
  const Ints up = sum < 0;
  const Ints magnitude = (sum ^ up) - up;
  const Ints odd = (magnitude >> kFixedBits) & 1;
  group.count = (magnitude + ((1 << (kFixedBits - 1)) - 1) + odd) >> kFixedBits;
  group.enough = (group.count << kFixedBits) >= magnitude;
  group.step = -1 - 2 * up;
  const Ints sign = up & kSignBit;
  // An error of this direction at this code is no candidate: x is at or beyond it.
  const Ints limit = kRoundMagicBits + (up ? broadcast(static_cast<std::int32_t>(range.hi))
                                           : broadcast(static_cast<std::int32_t>(range.lo)));
  for_each_element<kStatic>(kernel, [&](int j) {
    group.priority[j] = group.code[j] == limit ? Ints{} : bits_of(error[j]) ^ sign;
  });
  if constexpr (kStatic > 0) {
    flip_by_sorting(group);
  } else {
    flip_by_rank(group);
  }

  const Ints priority = max_of(group.named_priority, Ints{});
  const Ints undo = group.enough & (priority > 0);
  const Floats named_error = floats_of(priority);
  store(out.named_error, floats_of(bits_of(undo ? named_error - 1.0f : named_error) ^ sign));
  store(out.named_index, group.named_index + (undo & kUndo));
  store(out.residual, sum + (group.flips << kFixedBits) * group.step);

  if (!kPaper && clamp) {
    for_each_element<kStatic>(kernel,
                              [&](int j) { group.code[j] = clamp_lanes(group.code[j], range); });
  }
  if constexpr (kStatic > 0) {
    Transpose<kStatic>::store_kernels(group.code, codes);
  } else {
    for (int j = 0; j < kernel; ++j) {
      for (int lane = 0; lane < kLanes; ++lane)
        codes[lane * kernel + j] = static_cast<std::int8_t>(group.code[j][lane]);
    }
  }
}

// Walks through the channels' scales and zero points, kLanes kernels at a time: a group's kernels
// may belong to several channels.
class LaneAffine {
 public:
  explicit SQ_HOST_DEVICE LaneAffine(const LaneRows& rows) : rows_(rows), left_(rows.in) {}

  // For the next `count` kernels; 0 in the other lanes.
  SQ_HOST_DEVICE void next(std::int64_t count, Floats& scale, Floats& zero_point) {
    if (rows_.in == 1 && count == kLanes) {
      scale = load(rows_.scale + channel_);
      zero_point = load(rows_.zero_point + channel_);
      channel_ += kLanes;
      return;
    }
    if (left_ >= kLanes && count == kLanes) {
      scale = broadcast(rows_.scale[channel_]);
      zero_point = broadcast(rows_.zero_point[channel_]);
      left_ -= kLanes;
      if (left_ == 0) next_channel();
      return;
    }
    float scales[kLanes] = {};
    float zero_points[kLanes] = {};
    for (std::int64_t lane = 0; lane < count; ++lane) {
      if (left_ == 0) next_channel();
      scales[lane] = rows_.scale[channel_];
      zero_points[lane] = rows_.zero_point[channel_];
      --left_;
    }
    scale = load(scales);
    zero_point = load(zero_points);
    if (left_ == 0) next_channel();
  }

 private:
  SQ_HOST_DEVICE void next_channel() {
    ++channel_;
    left_ = rows_.in;
  }
  const LaneRows& rows_;
  std::int64_t channel_ = 0;
  std::int64_t left_;  // kernels of channel_ still to come
};

template <int kStatic, bool kPaper>
void fix_kernels_as(const LaneRows& rows, const KernelOutputs& out) {
  const std::int64_t kernel = rows.kernel;
  const std::int64_t num_kernels = rows.num_rows * rows.in;
  LaneAffine affine(rows);
  Floats scale;
  Floats zero_point;
  std::int64_t at = 0;
  for (; at + kLanes <= num_kernels; at += kLanes) {
    affine.next(kLanes, scale, zero_point);
    prefetch_ahead(rows.weights + at * kernel, kLanes * kernel);
    fix_group<kStatic, kPaper>(rows.weights + at * kernel, rows.codes + at * kernel, scale,
                               zero_point, static_cast<int>(kernel), rows.range, rows.clamp,
                               {out.residual + at, out.named_error + at, out.named_index + at});
  }
  if (const std::int64_t rest = num_kernels - at; rest > 0) {
    float weights[kLanes * kMaxLaneKernel];
    std::int8_t codes[kLanes * kMaxLaneKernel];
    for (std::int64_t i = 0; i < kLanes * kernel; ++i)
      weights[i] = i < rest * kernel ? rows.weights[at * kernel + i] : 0;
    affine.next(rest, scale, zero_point);
    fix_group<kStatic, kPaper>(weights, codes, scale, zero_point, static_cast<int>(kernel),
                               rows.range, rows.clamp,
                               {out.residual + at, out.named_error + at, out.named_index + at});
    for (std::int64_t i = 0; i < rest * kernel; ++i) rows.codes[at * kernel + i] = codes[i];
  }
}

template <bool kPaper>
void fix_kernels_by_size(const LaneRows& rows, const KernelOutputs& out) {
  switch (rows.kernel) {
    case 3:
      return fix_kernels_as<3, kPaper>(rows, out);
    case 5:
      return fix_kernels_as<5, kPaper>(rows, out);
    case 7:
      return fix_kernels_as<7, kPaper>(rows, out);
    case 9:
      return fix_kernels_as<9, kPaper>(rows, out);
    default:
      return fix_kernels_as<0, kPaper>(rows, out);
  }
}

void fix_kernels(const LaneRows& rows, const KernelOutputs& out) {
  return rows.rounding == Rounding::kPaper ? fix_kernels_by_size<true>(rows, out)
                                           : fix_kernels_by_size<false>(rows, out);
}

void sum_residuals(const std::int32_t* residual, std::int64_t num_rows, std::int64_t in,
                   std::int64_t* sums) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    std::int64_t sum = 0;
    std::int64_t at = row * in;
    const std::int64_t end = at + in;
    for (; at + kLanes <= end; at += kLanes) sum += sum_lanes(load_as<Ints>(residual + at));
    for (; at < end; ++at) sum += residual[at];
    sums[row] = sum;
  }
}

}  // namespace
}  // namespace squant::quant
