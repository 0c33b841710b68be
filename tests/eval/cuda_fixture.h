// A GPU for tests, or a test that says that there is none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "eval/cuda/cuda_device.h"
#include "tests/eval/quantized_model.h"

namespace squant::eval {

class CudaEngineTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!cuda_usable(&why_not)) {
      GTEST_SKIP() << "no GPU to run on: " << why_not;
    }
    device_ = open_cuda_device();
  }
  std::shared_ptr<CudaDevice> device_;
};

// A small network, some pixels for it, and what the CPU says to them.
struct SmallNetwork {
  static constexpr std::int64_t kImages = 7;

  explicit SmallNetwork(const char* name, int bits = 4)
      : quantized(model_info(name), bits),
        pixels(some_pixels(quantized.model.info->input, kImages)) {
    IntegerEngine cpu(quantized.model, quantized.weights, quantized.activations);
    expected = quantized.run_pixels(cpu, pixels, kImages);
  }
  std::int64_t image_bytes() const { return quantized.model.info->input.size(); }
  std::unique_ptr<CudaEngine> on(CudaDevice& device, const CudaEngineOptions& options) const {
    return device.make_engine(quantized.model, quantized.weights, quantized.activations, options);
  }
  std::unique_ptr<CudaImages> held_by(CudaDevice& device, std::int64_t num_kept) const {
    return device.hold_images(pixels.data(), kImages, image_bytes(), num_kept * image_bytes());
  }
  // Logits of images [first, first + n), from the GPU and as they should be.
  std::vector<float> run(CudaEngine& engine, CudaImages& images, std::int64_t first = 0,
                         std::int64_t n = kImages) const {
    std::vector<float> logits(static_cast<std::size_t>(n * quantized.model.info->num_classes));
    engine.run_images(images, first, n, logits.data());
    return logits;
  }
  std::vector<float> expected_of(std::int64_t first, std::int64_t n) const {
    const auto begin = expected.begin() + first * quantized.model.info->num_classes;
    return {begin, begin + n * quantized.model.info->num_classes};
  }

  QuantizedModel quantized;
  std::vector<std::uint8_t> pixels;
  std::vector<float> expected;
};

}  // namespace squant::eval
