// The integer engine's own interface: engine.h's, and what the evaluator, calibration, tests and
// benchmarks ask besides.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/engine/engine.h"
#include "eval/engine/int_conv.h"
#include "eval/engine/integer_constants.h"
#include "eval/engine/integer_engine_layer.h"
#include "eval/engine/integer_engine_plan.h"

namespace squant::eval {

struct IntegerOptions {
  std::optional<SumKernel> kernel;  // for every layer; none: the fastest exact one for each
};

// How a layer is computed.
struct IntegerLayerFacts {
  std::string kernel;    // "int8", "float32", "float64"
  double sum_bound = 0;  // no integer sum of the layer is larger in magnitude
};

// A plan with its prepared layers, executed step by step on one image at a time. Preparing is for
// one thread; running is thread-safe, each thread with its own values and Scratch.
class IntegerNetwork {
 public:
  // The values of one image: where each of plan().values lies.
  using Values = std::vector<std::byte*>;

  // Throws std::invalid_argument where weights do not belong to the model. Keeps references to
  // neither.
  IntegerNetwork(const Model& model, const QuantizedWeights& weights, Plan plan,
                 std::size_t num_forms, const IntegerOptions& options);

  const Plan& plan() const { return plan_; }
  // Sets the affine of a form, before the steps that use it are prepared.
  void set_affine(int form, const quant::ActivationAffine& affine);
  bool has_affine(int form) const { return has_affine_[static_cast<std::size_t>(form)]; }
  // Builds what a step needs. The first layer is prepared for the float32 input, and, with
  // `on_pixels`, for pixels.
  void prepare_step(std::size_t step, const Model& model, const QuantizedWeights& weights,
                    bool on_pixels);
  void release_step(std::size_t step) { prepared_[step] = {}; }
  // Whether pixels have to be normalized into the network's float32 input.
  bool needs_float_input() const { return plan_.needs_float_input || !has_pixel_layer_; }

  // pixels: of this image, or null: then the float32 input is in its value.
  void run_step(std::size_t step, const std::uint8_t* pixels, const Values& values,
                Scratch& scratch) const;

  std::vector<IntegerLayerFacts> layer_facts() const;  // in layer order, of the prepared layers
  std::int64_t memory_bytes() const;

 private:
  struct PreparedStep {
    std::unique_ptr<IntegerLayer> layer;        // kLayer
    std::unique_ptr<IntegerLayer> pixel_layer;  // the first layer, on pixels
    std::unique_ptr<Epilogue> epilogue;         // kNode: an elementwise node
  };
  void prepare_node(std::size_t step, const Model& model);
  void run_layer(std::size_t step, const std::uint8_t* pixels, const Values& values,
                 Scratch& scratch) const;
  void run_node(std::size_t step, const Values& values) const;
  void run_code_node(const Step& step, const Values& values) const;
  const Quantizer& quantizer(int form) const { return quantizers_[static_cast<std::size_t>(form)]; }

  const Graph graph_;
  Plan plan_;
  IntegerOptions options_;
  std::vector<quant::ActivationAffine> affines_;  // per form
  std::vector<Quantizer> quantizers_;
  std::vector<bool> has_affine_;
  std::vector<PreparedStep> prepared_;  // per step
  bool has_pixel_layer_ = false;
};

class IntegerEngine final : public Engine {
 public:
  // Throws std::invalid_argument where weights or ranges do not belong to the model, and naming a
  // layer whose sums no kernel adds exactly. Keeps nothing of `model` and `weights`.
  IntegerEngine(const Model& model, const QuantizedWeights& weights,
                const ActivationSettings& activations, const IntegerOptions& options = {});
  ~IntegerEngine() override;

  void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) override;
  void run_input(const float* input, std::int64_t n, float* logits) override;
  std::string name() const override { return "integer"; }
  bool exact() const override { return true; }

  std::vector<IntegerLayerFacts> layer_facts() const;
  // Weights and working memory, about.
  std::int64_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace squant::eval
