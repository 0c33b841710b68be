// Executes a network on batches of images: float32, simulated quantization, or exact integers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/graph/graph.h"
#include "eval/models/models.h"
#include "quant/activation.h"
#include "quant/squant.h"

namespace squant::eval {

// A network with its float weights, checked against the graph.
struct Model {
  const ModelInfo* info = nullptr;
  Graph graph;
  StateDict weights;
};
// Throws std::invalid_argument as check_state_dict does.
Model make_model(const std::string& name, StateDict weights, const std::string& where);

// The codes of every quantized layer, in layer order.
struct QuantizedLayer {
  std::string name;
  quant::WeightShape shape;
  std::vector<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<float> zero_point;
};
struct QuantizedWeights {
  int bits = 0;
  std::vector<QuantizedLayer> layers;
};
QuantizedWeights quantize_weights(const Model& model, const quant::SquantOptions& options);

// Activation settings of a job: bits 0 = float activations. `ranges` has one entry per layer; the
// first is not used.
struct ActivationSettings {
  int bits = 0;
  quant::Rounding rounding = quant::Rounding::kCurrent;
  std::vector<quant::ActivationRange> ranges;
  // The last layer (the classifier) has an 8-bit input whatever `bits` is.
  int layer_bits(std::size_t layer, std::size_t num_layers) const {
    return layer + 1 == num_layers ? 8 : bits;
  }
};

// Not thread-safe: one engine, one thread that calls it (it uses OpenMP threads inside).
class Engine {
 public:
  virtual ~Engine() = default;
  // pixels: [n, H, W, C] uint8. logits: [n, num_classes], written.
  virtual void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) = 0;
  // input: [n, C, H, W] float32, given to the network as it is (no normalization).
  virtual void run_input(const float* input, std::int64_t n, float* logits) = 0;
  // "float", "simulated", "integer": what a result row says.
  virtual std::string name() const = 0;
  // Whether the logits are the same bits on every machine, for every batch size and thread count.
  virtual bool exact() const = 0;
};

// Float32 network; with `weights` (may be null) the dequantized weights; with activations.bits > 0
// every layer's input but the first is quantized and dequantized in float32: the published "fake
// quantization".
std::unique_ptr<Engine> make_float_engine(const Model& model, const QuantizedWeights* weights,
                                          const ActivationSettings& activations);

// Exact integer sums, float32 epilogue in a stated order (docs/numerics.md). Needs weights and
// activation ranges.
std::unique_ptr<Engine> make_integer_engine(const Model& model, const QuantizedWeights& weights,
                                            const ActivationSettings& activations);

// Data-free activation ranges by `random-batch` (quant/ALGORITHM.md): runs the integer network once
// on `num_images` images of calibration_noise. The same bits on every machine.
std::vector<quant::ActivationRange> calibrate(const Model& model, const QuantizedWeights& weights,
                                              int activation_bits, quant::Rounding rounding,
                                              double sigma, std::int64_t num_images);

// Threads that both engines use from now on in this process (0: one per allowed core).
void set_engine_threads(int num_threads);

}  // namespace squant::eval
