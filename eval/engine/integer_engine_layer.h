// One layer of the integer engine: its sums and the epilogue over them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "eval/engine/engine.h"
#include "eval/engine/epilogue.h"
#include "eval/engine/int_conv.h"
#include "eval/engine/integer_engine_plan.h"

namespace squant::eval {

// Where a layer's results go. `codes` and `quantizers` are parallel; `values` may be null.
struct LayerOutputs {
  float* values = nullptr;
  std::vector<std::uint8_t*> codes;
  std::vector<const Quantizer*> quantizers;
};

// Immutable once made; threads share it, each with its own Scratch.
class IntegerLayer {
 public:
  virtual ~IntegerLayer() = default;
  // input: the image's codes, float32 values or pixels, as the class says; channels last. residual:
  // null without one.
  virtual void run(const void* input, const float* residual, const LayerOutputs& outputs,
                   Scratch& scratch) const = 0;
  virtual const char* kernel() const = 0;  // what adds the sums
  virtual double sum_bound() const = 0;    // no integer sum is larger in magnitude
  virtual std::int64_t memory_bytes() const = 0;
};

// A layer on codes of `affine`.
std::unique_ptr<IntegerLayer> make_code_layer(const Model& model, const Step& step,
                                              const QuantizedLayer& weights,
                                              const quant::ActivationAffine& affine,
                                              std::optional<SumKernel> kernel);
// The first layer, on float32 input.
std::unique_ptr<IntegerLayer> make_float_input_layer(const Model& model, const Step& step,
                                                     const QuantizedLayer& weights);
// The first layer, on the pixels that ModelInfo's mean and stddev normalize. Null for a grouped
// layer.
std::unique_ptr<IntegerLayer> make_pixel_layer(const Model& model, const Step& step,
                                               const QuantizedLayer& weights,
                                               std::optional<SumKernel> kernel);

}  // namespace squant::eval
