// Float and fake-quantized networks on a GPU: LibTorch's CPU logits but for rounding.
#include "eval/engine/torch_cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/eval/cuda_fixture.h"

namespace squant::eval {
namespace {

class TorchCudaTest : public CudaEngineTest {
 protected:
  void SetUp() override {
    CudaEngineTest::SetUp();
    if (!IsSkipped() && !load_torch_cuda().empty()) {
      GTEST_SKIP() << "no GPU to run on with LibTorch: " << load_torch_cuda();
    }
  }
};

// ||got - expected|| / ||expected||
double relative_distance(const std::vector<float>& got, const std::vector<float>& expected) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double{got[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

TEST_F(TorchCudaTest, FloatAndWeightsOnlyLogitsAreThoseOfTheCpuButForRounding) {
  constexpr std::int64_t kImages = 3;
  for (const char* name : {"fmnist_resnet", "fmnist_mobilenet", "resnet18", "shufflenet_g1_w1"}) {
    const QuantizedModel quantized(model_info(name), 4);
    const std::vector<std::uint8_t> pixels = some_pixels(quantized.model.info->input, kImages);
    for (const QuantizedWeights* const weights :
         {static_cast<const QuantizedWeights*>(nullptr), &quantized.weights}) {
      const auto cpu = make_float_engine(quantized.model, weights, {});
      const auto gpu = make_cuda_float_engine(quantized.model, weights, {});
      EXPECT_EQ(gpu->name(), cpu->name());
      // TF32 would be about 1e-3 away.
      EXPECT_LT(relative_distance(quantized.run_pixels(*gpu, pixels, kImages),
                                  quantized.run_pixels(*cpu, pixels, kImages)),
                2e-5)
          << name;
    }
  }
}

// A rounding step away, an activation can fall on the other side of a half: not as near as floats.
TEST_F(TorchCudaTest, SimulatedLogitsAreNearThoseOfTheCpu) {
  const QuantizedModel quantized(model_info("fmnist_resnet"), 8);
  const std::vector<std::uint8_t> pixels = some_pixels(quantized.model.info->input, 3);
  const auto cpu = make_float_engine(quantized.model, &quantized.weights, quantized.activations);
  const auto gpu =
      make_cuda_float_engine(quantized.model, &quantized.weights, quantized.activations);
  EXPECT_LT(relative_distance(quantized.run_pixels(*gpu, pixels, 3),
                              quantized.run_pixels(*cpu, pixels, 3)),
            0.02);
}

}  // namespace
}  // namespace squant::eval
