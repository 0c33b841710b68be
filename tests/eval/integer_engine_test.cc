#include "eval/engine/integer_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <stdexcept>

#include "eval/engine/int_conv_onednn.h"
#include "tests/eval/golden_models.h"
#include "tests/eval/quantized_model.h"

namespace squant::eval {
namespace {

// ---- The same bits, whatever computes them. ----

struct BitsCase {
  const char* model;
  int bits;
  std::int64_t images;
};

class SameBitsTest : public testing::TestWithParam<BitsCase> {};

TEST_P(SameBitsTest, ForEveryBatchThreadCountAndKernel) {
  const QuantizedModel quantized(model_info(GetParam().model), GetParam().bits);
  const std::vector<std::uint8_t> pixels =
      some_pixels(quantized.model.info->input, GetParam().images);
  set_engine_threads(1);
  IntegerEngine engine(quantized.model, quantized.weights, quantized.activations);
  const std::vector<float> expected = quantized.run_pixels(engine, pixels, 1);
  for (const int threads : {1, 2, 3}) {
    set_engine_threads(threads);
    for (const std::int64_t batch : {1, 7, 64}) {
      EXPECT_EQ(quantized.run_pixels(engine, pixels, batch), expected)
          << threads << " threads, batch " << batch;
    }
  }
  for (const SumKernel kernel : {SumKernel::kInt8, SumKernel::kFloat32, SumKernel::kFloat64}) {
    std::optional<IntegerEngine> forced;
    try {
      forced.emplace(quantized.model, quantized.weights, quantized.activations,
                     IntegerOptions{kernel});
    } catch (const std::invalid_argument&) {
      EXPECT_EQ(kernel, SumKernel::kInt8);  // 8-bit depthwise weights, or a CPU without VNNI
      continue;
    }
    EXPECT_EQ(quantized.run_pixels(*forced, pixels, 64), expected) << sum_kernel_name(kernel);
  }
  set_engine_threads(0);
}

INSTANTIATE_TEST_SUITE_P(
    Networks, SameBitsTest,
    testing::Values(BitsCase{"fmnist_resnet", 8, 64}, BitsCase{"fmnist_resnet", 4, 64},
                    BitsCase{"fmnist_mobilenet", 8, 64}, BitsCase{"fmnist_mobilenet", 3, 64},
                    BitsCase{"shufflenet_g1_w1", 8, 2}, BitsCase{"efficientnet_lite0", 6, 2}),
    [](const auto& test) {
      return std::string(test.param.model) + "_" + std::to_string(test.param.bits);
    });

// ---- The reference's golden logits. ----

class GoldenIntegerTest : public testing::TestWithParam<const char*> {};

// The published fake quantization hardly agrees with itself better than this: with every range
// moved by one unit in the last place, codes on the edge of a step flip, and random weights carry
// each flip through the network. That its own two results differ as much is docs/numerics.md's
// table; that each layer is right to the last code, PublishedFormulaTest.
constexpr double kTimesItself = 3;

TEST_P(GoldenIntegerTest, LogitsAreAsNearAsThePublishedFormulationIsToItself) {
  const ModelInfo& info = model_info(GetParam());
  const nlohmann::json json = golden_json(GetParam());
  const GoldenTensors golden(GetParam());
  const auto batch = json["batch"].get<std::int64_t>();
  std::vector<float> input(static_cast<std::size_t>(batch * info.input.size()));
  for (std::size_t i = 0; i < input.size(); ++i) {
    input[i] = static_cast<float>(2 * generated_uniform("input", i) - 1);
  }
  const std::vector<float> float_logits = golden.values<float>("float/logits");
  const Model model = make_model(info.name, generated_state_dict(info.build()), "generated");
  for (const char* config : {"w8a8", "w6a6", "w4a4"}) {
    SCOPED_TRACE(config);
    const nlohmann::json& settings = json["configs"][config];
    const QuantizedWeights weights =
        quantize_weights(model, {.bits = settings["weight_bits"].get<int>()});
    ActivationSettings activations;
    activations.bits = settings["activation_bits"].get<int>();
    const std::vector<float> min = golden.values<float>(std::string(config) + "/x_min");
    const std::vector<float> max = golden.values<float>(std::string(config) + "/x_max");
    ActivationSettings moved = activations;
    for (std::size_t i = 0; i < min.size(); ++i) {
      activations.ranges.push_back({min[i], max[i]});
      const float up = std::nextafter(max[i], std::numeric_limits<float>::infinity());
      moved.ranges.push_back({min[i] < 0 ? -up : min[i], up});
    }
    const auto run = [&](Engine& engine) {
      std::vector<float> logits(static_cast<std::size_t>(batch * info.num_classes));
      engine.run_input(input.data(), batch, logits.data());
      return logits;
    };
    const std::vector<float> expected = golden.values<float>(std::string(config) + "/logits");
    const std::vector<float> logits = run(*make_integer_engine(model, weights, activations));
    const double self = relative_distance(run(*make_float_engine(model, &weights, moved)),
                                          run(*make_float_engine(model, &weights, activations)));
    const double distance = relative_distance(logits, expected);
    const double change = relative_distance(expected, float_logits);
    RecordProperty(config, std::to_string(distance) + " (itself: " + std::to_string(self) +
                               ", change: " + std::to_string(change) + ")");
    EXPECT_LT(distance, kTimesItself * self);
    EXPECT_LT(distance, change);
    // Where no code lies near an edge, nothing flips, and what is left is float32's rounding of the
    // logits.
    if (info.name == "shufflenet_g1_w1" && activations.bits < 8) {
      EXPECT_LT(distance, 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paper, GoldenIntegerTest, testing::ValuesIn(kGoldenModels),
                         [](const auto& test) { return std::string(test.param); });

// ---- What is refused. ----

TEST(IntegerEngineTest, WeightsAndRangesOfAnotherNetworkAreRefused) {
  const QuantizedModel quantized(model_info("fmnist_resnet"), 4);
  const auto message = [&](const QuantizedWeights& weights, const ActivationSettings& activations) {
    try {
      IntegerEngine(quantized.model, weights, activations);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  QuantizedWeights weights = quantized.weights;
  weights.layers.pop_back();
  EXPECT_THAT(message(weights, quantized.activations),
              testing::HasSubstr("layers, but quantized weights for"));
  weights = quantized.weights;
  weights.layers[2].codes.pop_back();
  EXPECT_THAT(message(weights, quantized.activations), testing::HasSubstr(weights.layers[2].name));
  ActivationSettings activations = quantized.activations;
  activations.ranges.pop_back();
  EXPECT_THAT(message(quantized.weights, activations), testing::HasSubstr("activation ranges"));
  activations.bits = 0;
  EXPECT_THAT(message(quantized.weights, activations), testing::HasSubstr("0 bits"));
}

TEST(IntegerEngineTest, SaysThatItIsExactAndWhatComputesEachLayer) {
  const QuantizedModel quantized(model_info("fmnist_resnet"), 4);
  const IntegerEngine engine(quantized.model, quantized.weights, quantized.activations);
  EXPECT_EQ(engine.name(), "integer");
  EXPECT_TRUE(engine.exact());
  const std::vector<IntegerLayerFacts> facts = engine.layer_facts();
  ASSERT_EQ(facts.size(), quantized.weights.layers.size());
  for (const IntegerLayerFacts& layer : facts) {
    EXPECT_EQ(layer.kernel, onednn::has_exact_int8() ? "int8" : "float32");
    EXPECT_GT(layer.sum_bound, 0);
    EXPECT_LT(layer.sum_bound, 0x1p24);
  }
  EXPECT_GT(engine.memory_bytes(), 0);
}

}  // namespace
}  // namespace squant::eval
