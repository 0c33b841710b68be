// What follows a layer's integer sums, in float32, each operation rounded by itself, in this order:
//   y = v * multiplier[o];  y = y + addend[o];  y = clamp(y);  y = y + residual;  y = clamp(y)
//   code = clamp(round_half_even(scale * y - zero_point))
// A clamp is (y > lo ? y : lo), then (y < hi ? y : hi). docs/numerics.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/engine/epilogue_scalar.h"
#include "eval/engine/int_conv.h"
#include "quant/activation.h"

namespace squant::eval {

Quantizer make_quantizer(const quant::ActivationAffine& affine);

// A float per output channel, repeated so that a loop over it is long enough for the vector units.
class ChannelValues {
 public:
  ChannelValues() = default;
  explicit ChannelValues(const std::vector<float>& values);
  const float* data() const { return repeated_.data(); }
  std::int64_t channels() const { return channels_; }
  std::int64_t size() const {
    return static_cast<std::int64_t>(repeated_.size());
  }  // a multiple of channels()

 private:
  std::int64_t channels_ = 0;
  std::vector<float> repeated_;
};

struct Epilogue {
  bool has_affine = true;
  ChannelValues multiplier,
      addend;                   // equally long; without affine only the number of channels matters
  Clamp before_add, after_add;  // after_add is used with a residual only
};

// Where one position's results go: any of them may be null or empty. Rows of all are channels()
// long.
struct EpilogueOutputs {
  float* values = nullptr;        // y
  std::uint8_t* codes = nullptr;  // by `quantizer`
  const Quantizer* quantizer = nullptr;
};

// v: [positions, O] as an IntConv gives it. residual: [positions, O] or null.
void run_epilogue(const Epilogue& epilogue, const float* v, const float* residual,
                  std::int64_t positions, const EpilogueOutputs& outputs);

// codes[i] = the stored byte of values[i].
void quantize_values(const Quantizer& quantizer, const float* values, std::int64_t count,
                     std::uint8_t* codes);

// The first layer on pixels: y = ((v_0 * a_0 + v_1 * a_1) + ...) + shift, where v is [positions, C,
// O] as PixelConv gives it, `factors` [C, O], `shift` [positions, O]; y: [positions, O], written.
void combine_channels(const float* v, const float* factors, const float* shift,
                      std::int64_t positions, std::int64_t channels, std::int64_t outputs,
                      float* y);

}  // namespace squant::eval
