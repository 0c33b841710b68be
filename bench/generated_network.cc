#include "bench/generated_network.h"

namespace squant::bench {

eval::Model generated_model(const eval::ModelInfo& info) {
  return eval::make_model(info.name, eval::generated_state_dict(info.build()), "generated weights");
}

QuantizedNetwork quantize_network(const eval::Model& model, int bits) {
  constexpr std::int64_t kCalibrationImages = 2;  // ranges matter here, accuracy does not
  QuantizedNetwork network;
  network.weights = eval::quantize_weights(model, {.bits = bits});
  network.activations.bits = bits;
  network.activations.ranges =
      eval::calibrate(model, network.weights, bits, quant::Rounding::kCurrent, bits < 6 ? 12 : 25,
                      kCalibrationImages);
  return network;
}

std::vector<std::uint8_t> noise_pixels(const eval::ModelInfo& info, std::int64_t count) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * info.input.size()));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
  }
  return pixels;
}

}  // namespace squant::bench
