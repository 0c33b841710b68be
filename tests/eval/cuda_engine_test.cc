// The integer engine on a real GPU: the CPU engine's logits to the bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/cuda/cuda_device.h"
#include "tests/eval/cuda_fixture.h"

namespace squant::eval {
namespace {

struct NetworkCase {
  const char* model;
  std::int64_t images;  // few for large networks: the CPU computes them, too
};

class CudaNetworkTest : public CudaEngineTest, public testing::WithParamInterface<NetworkCase> {};

TEST_P(CudaNetworkTest, LogitsAreTheCpusForEveryBatchAndKernel) {
  for (const int bits : {8, 6, 4}) {
    SCOPED_TRACE(std::to_string(bits) + " bits");
    const QuantizedModel quantized(model_info(GetParam().model), bits);
    const std::vector<std::uint8_t> pixels =
        some_pixels(quantized.model.info->input, GetParam().images);
    IntegerEngine cpu(quantized.model, quantized.weights, quantized.activations);
    const std::vector<float> expected = quantized.run_pixels(cpu, pixels, GetParam().images);
    for (const bool tensor_cores : {true, false}) {
      for (const std::int64_t batch : {1, 7, 64}) {
        SCOPED_TRACE("batch " + std::to_string(batch) + (tensor_cores ? ", tiles" : ", elements"));
        const auto gpu = device_->make_engine(quantized.model, quantized.weights,
                                              quantized.activations, {batch, tensor_cores});
        EXPECT_EQ(quantized.run_pixels(*gpu, pixels, GetParam().images), expected);
        EXPECT_EQ(quantized.run_pixels(*gpu, pixels, 3), expected);
      }
    }
    const std::vector<float> input = calibration_noise(2 * quantized.model.info->input.size());
    const auto gpu =
        device_->make_engine(quantized.model, quantized.weights, quantized.activations);
    EXPECT_EQ(quantized.run_input(*gpu, input), quantized.run_input(cpu, input));
  }
}

// A layer that fails its self-check falls back to loops: right, but not what the tiles are for.
TEST_P(CudaNetworkTest, TilesPassTheirSelfCheck) {
  for (const int bits : {8, 4}) {
    const QuantizedModel quantized(model_info(GetParam().model), bits);
    const auto gpu =
        device_->make_engine(quantized.model, quantized.weights, quantized.activations);
    const std::vector<IntegerLayerFacts> layers = gpu->layer_facts();
    ASSERT_EQ(layers.size(), quantized.weights.layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      EXPECT_THAT(layers[i].kernel, testing::AnyOf("mma", "depthwise"))
          << quantized.weights.layers[i].name << " at " << bits << " bits";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Networks, CudaNetworkTest,
    testing::Values(NetworkCase{"fmnist_resnet", 150}, NetworkCase{"fmnist_mobilenet", 150},
                    NetworkCase{"resnet18", 9}, NetworkCase{"resnet50", 9},
                    NetworkCase{"inceptionv3", 9}, NetworkCase{"sqnxt23_w2", 9},
                    NetworkCase{"shufflenet_g1_w1", 9}, NetworkCase{"efficientnet_lite0", 9}),
    [](const auto& test) { return std::string(test.param.model); });

}  // namespace
}  // namespace squant::eval
