#include "eval/engine/epilogue.h"

#include <algorithm>

#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

struct BlockArguments {
  const float* multiplier;
  const float* addend;
  Clamp before_add, after_add;
  Quantizer quantizer;
  const float* v;
  const float* residual;
  float* values;
  std::uint8_t* codes;
  std::int64_t block;  // length of multiplier and addend
  std::int64_t count;  // of v
};

template <bool kAffine, bool kResidual, bool kValues, bool kCodes>
[[gnu::always_inline]] inline void block(const float* __restrict v,
                                         const float* __restrict multiplier,
                                         const float* __restrict addend,
                                         const float* __restrict residual, const Clamp before,
                                         const Clamp after, const Quantizer q, std::int64_t count,
                                         float* __restrict values, std::uint8_t* __restrict codes) {
  for (std::int64_t i = 0; i < count; ++i) {
    float y = v[i];
    if constexpr (kAffine) {
      y = y * multiplier[i];
      y = y + addend[i];
    }
    y = clamp_value(y, before.lo, before.hi);
    if constexpr (kResidual) {
      y = y + residual[i];
      y = clamp_value(y, after.lo, after.hi);
    }
    if constexpr (kValues) {
      values[i] = y;
    }
    if constexpr (kCodes) {
      codes[i] = quantize_value(y, q);
    }
  }
}

template <bool kAffine, bool kResidual, bool kValues, bool kCodes>
[[gnu::always_inline]] inline void blocks(const BlockArguments& a) {
  for (std::int64_t i = 0; i < a.count; i += a.block) {
    block<kAffine, kResidual, kValues, kCodes>(
        a.v + i, a.multiplier, a.addend, kResidual ? a.residual + i : nullptr, a.before_add,
        a.after_add, a.quantizer, std::min(a.block, a.count - i), kValues ? a.values + i : nullptr,
        kCodes ? a.codes + i : nullptr);
  }
}

// One function for each set of inputs and outputs: the name spells the template's arguments.
#define SQ_BLOCKS(name, affine, residual, values, codes) \
  SQ_TARGET_CLONES void name(const BlockArguments& a) {  \
    blocks<affine, residual, values, codes>(a);          \
  }
SQ_BLOCKS(affine_values, true, false, true, false)
SQ_BLOCKS(affine_codes, true, false, false, true)
SQ_BLOCKS(affine_both, true, false, true, true)
SQ_BLOCKS(residual_values, true, true, true, false)
SQ_BLOCKS(residual_codes, true, true, false, true)
SQ_BLOCKS(residual_both, true, true, true, true)
SQ_BLOCKS(plain_values, false, false, true, false)
SQ_BLOCKS(plain_codes, false, false, false, true)
SQ_BLOCKS(plain_both, false, false, true, true)
SQ_BLOCKS(plain_residual_values, false, true, true, false)
SQ_BLOCKS(plain_residual_codes, false, true, false, true)
SQ_BLOCKS(plain_residual_both, false, true, true, true)
#undef SQ_BLOCKS

using BlocksFunction = void (*)(const BlockArguments&);

BlocksFunction choose(bool affine, bool residual, bool values, bool codes) {
  static constexpr BlocksFunction kFunctions[2][2][3] = {
      {{plain_values, plain_codes, plain_both},
       {plain_residual_values, plain_residual_codes, plain_residual_both}},
      {{affine_values, affine_codes, affine_both},
       {residual_values, residual_codes, residual_both}}};
  return kFunctions[affine ? 1 : 0][residual ? 1 : 0][values && codes ? 2 : codes ? 1 : 0];
}

template <bool kFirst, bool kLast>
[[gnu::always_inline]] inline void combine_row(const float* __restrict v,
                                               const float* __restrict factors,
                                               const float* __restrict shift, std::int64_t outputs,
                                               float* __restrict y) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    float sum = v[o] * factors[o];
    if constexpr (!kFirst) {
      sum = y[o] + sum;
    }
    if constexpr (kLast) {
      sum = sum + shift[o];
    }
    y[o] = sum;
  }
}

SQ_TARGET_CLONES void combine_one(const float* v, const float* factors, const float* shift,
                                  std::int64_t positions, std::int64_t outputs, float* y) {
  for (std::int64_t p = 0; p < positions; ++p) {
    combine_row<true, true>(v + p * outputs, factors, shift + p * outputs, outputs,
                            y + p * outputs);
  }
}

SQ_TARGET_CLONES void combine_several(const float* v, const float* factors, const float* shift,
                                      std::int64_t positions, std::int64_t channels,
                                      std::int64_t outputs, float* y) {
  for (std::int64_t p = 0; p < positions; ++p) {
    const float* row = v + p * channels * outputs;
    combine_row<true, false>(row, factors, nullptr, outputs, y + p * outputs);
    for (std::int64_t c = 1; c + 1 < channels; ++c) {
      combine_row<false, false>(row + c * outputs, factors + c * outputs, nullptr, outputs,
                                y + p * outputs);
    }
    combine_row<false, true>(row + (channels - 1) * outputs, factors + (channels - 1) * outputs,
                             shift + p * outputs, outputs, y + p * outputs);
  }
}

}  // namespace

Quantizer make_quantizer(const quant::ActivationAffine& affine) {
  Quantizer result;
  result.scale = affine.scale;
  result.zero_point = affine.zero_point;
  result.lo = static_cast<float>(affine.lo);
  result.hi = static_cast<float>(affine.hi);
  result.shift = code_format(affine).shift;
  return result;
}

ChannelValues::ChannelValues(const std::vector<float>& values)
    : channels_(static_cast<std::int64_t>(values.size())) {
  constexpr std::int64_t kBlock = 512;
  const std::int64_t repeats = (kBlock + channels_ - 1) / channels_;
  for (std::int64_t i = 0; i < repeats; ++i) {
    repeated_.insert(repeated_.end(), values.begin(), values.end());
  }
}

void run_epilogue(const Epilogue& epilogue, const float* v, const float* residual,
                  std::int64_t positions, const EpilogueOutputs& outputs) {
  BlockArguments arguments{};
  arguments.multiplier = epilogue.multiplier.data();
  arguments.addend = epilogue.addend.data();
  arguments.before_add = epilogue.before_add;
  arguments.after_add = epilogue.after_add;
  if (outputs.quantizer != nullptr) {
    arguments.quantizer = *outputs.quantizer;
  }
  arguments.v = v;
  arguments.residual = residual;
  arguments.values = outputs.values;
  arguments.codes = outputs.codes;
  arguments.block = epilogue.multiplier.size();
  arguments.count = positions * epilogue.multiplier.channels();
  choose(epilogue.has_affine, residual != nullptr, outputs.values != nullptr,
         outputs.codes != nullptr)(arguments);
}

SQ_TARGET_CLONES void quantize_values(const Quantizer& quantizer, const float* __restrict values,
                                      std::int64_t count, std::uint8_t* __restrict codes) {
  const Quantizer q = quantizer;
  for (std::int64_t i = 0; i < count; ++i) {
    codes[i] = quantize_value(values[i], q);
  }
}

void combine_channels(const float* v, const float* factors, const float* shift,
                      std::int64_t positions, std::int64_t channels, std::int64_t outputs,
                      float* y) {
  if (channels == 1) {
    combine_one(v, factors, shift, positions, outputs, y);
  } else {
    combine_several(v, factors, shift, positions, channels, outputs, y);
  }
}

}  // namespace squant::eval
