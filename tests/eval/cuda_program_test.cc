// The CUDA engine's program, run on the host by the kernels' own code: the bits of the CPU engine.
#include "eval/cuda/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/eval/cuda_host.h"
#include "tests/eval/quantized_model.h"

namespace squant::eval::cuda {
namespace {

struct NetworkCase {
  const char* model;
  int bits;
  std::int64_t images;
  bool tensor_cores;
  bool on_input;  // on float input, too
};

class CudaProgramTest : public testing::TestWithParam<NetworkCase> {};

TEST_P(CudaProgramTest, GivesTheLogitsOfTheCpuEngine) {
  const QuantizedModel quantized(model_info(GetParam().model), GetParam().bits);
  const Shape& shape = quantized.model.info->input;
  IntegerEngine engine(quantized.model, quantized.weights, quantized.activations);
  ProgramOptions options;
  options.max_images = 2;  // the last batch of three images is a partial one
  options.tensor_cores = GetParam().tensor_cores;
  const std::vector<std::uint8_t> pixels = some_pixels(shape, GetParam().images);
  const std::vector<float> expected = quantized.run_pixels(engine, pixels, GetParam().images);
  for (const bool in_fours : {true, false}) {
    SCOPED_TRACE(in_fours ? "in fours" : "one by one");
    HostProgram program(
        make_program(quantized.model, quantized.weights, quantized.activations, options), in_fours);
    EXPECT_EQ(program.run(pixels.data(), nullptr, GetParam().images), expected);
    if (GetParam().on_input && in_fours) {
      const std::vector<float> input = calibration_noise(shape.size());
      EXPECT_EQ(program.run(nullptr, input.data(), 1), quantized.run_input(engine, input));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, CudaProgramTest,
                         testing::Values(NetworkCase{"fmnist_resnet", 8, 3, false, true},
                                         NetworkCase{"fmnist_resnet", 4, 3, true, true},
                                         NetworkCase{"fmnist_mobilenet", 8, 3, true, true},
                                         NetworkCase{"fmnist_mobilenet", 3, 3, false, false},
                                         NetworkCase{"resnet18", 8, 1, false, false},
                                         NetworkCase{"resnet50", 4, 1, false, false},
                                         NetworkCase{"inceptionv3", 6, 1, false, false},
                                         NetworkCase{"sqnxt23_w2", 8, 1, false, false},
                                         NetworkCase{"shufflenet_g1_w1", 4, 1, false, true},
                                         NetworkCase{"efficientnet_lite0", 8, 1, false, true}),
                         [](const auto& test) {
                           return std::string(test.param.model) + "_" +
                                  std::to_string(test.param.bits) +
                                  (test.param.tensor_cores ? "_tiles" : "_elements");
                         });

// Loops are right and slow: no known network needs them on pixels.
TEST(CudaProgramLayersTest, EveryLayerOfEveryNetworkHasAFastKernel) {
  for (const ModelInfo& info : all_models()) {
    const Model model{&info, info.build(), generated_state_dict(info.build())};
    constexpr int kBits = 8;  // the widest sums and weights
    const QuantizedWeights weights = quantize_weights(model, {.bits = kBits});
    ActivationSettings activations;
    activations.bits = kBits;
    activations.ranges.assign(weights.layers.size(), {0, 4});
    const Program program = make_program(model, weights, activations);
    ASSERT_EQ(program.layers.size(), weights.layers.size());
    for (std::size_t i = 0; i < program.layers.size(); ++i) {
      EXPECT_THAT(program.layers[i].kernel, testing::AnyOf("mma", "depthwise"))
          << info.name << ", layer " << weights.layers[i].name;
      EXPECT_GT(program.layers[i].sum_bound, 0);
    }
  }
}

}  // namespace
}  // namespace squant::eval::cuda
