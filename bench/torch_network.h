// LibTorch's own forward pass of a network in floating point, for comparison with our engines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "eval/engine/engine.h"

namespace squant::bench {

enum class TorchPrecision : std::uint8_t { kFloat32, kTf32, kFloat16 };

// Channels last, batch norm folded into the convolution before it, no gradients. Pixels of
// run_pixels() go to the device and logits come back with each call.
class TorchEngine : public eval::Engine {
 public:
  // Brings images to the device, normalized and in the network's precision: the first ones, up to
  // 2 GiB of whole batches. pixels: as run_pixels().
  virtual void hold_pixels(const std::uint8_t* pixels, std::int64_t n, std::int64_t batch) = 0;
  // The forward pass over the n images of hold_pixels(), batch by batch; where not all are held,
  // over the held ones again. Waits once, for the logits [n, num_classes].
  virtual void run_held(float* logits) = 0;
};

// `device`: "cpu", or "cuda" after eval::load_torch_cuda(). kTf32 is for "cuda". Keeps nothing of
// `model`.
std::unique_ptr<TorchEngine> make_torch_engine(const eval::Model& model, const std::string& device,
                                               TorchPrecision precision);

}  // namespace squant::bench
