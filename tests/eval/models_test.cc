#include "eval/models/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "tests/eval/golden_models.h"

namespace squant::eval {
namespace {

using ::testing::HasSubstr;

// Multiply-accumulates of one image.
std::int64_t num_macs(const Graph& graph) {
  std::int64_t result = 0;
  for (const int layer : graph.layers()) {
    const Node& node = graph.node(layer);
    const std::int64_t in = graph.node(node.inputs[0]).shape.channels / node.groups;
    result += node.shape.size() * in * node.window.kernel_h * node.window.kernel_w;
  }
  return result;
}

// Weights of the quantized layers.
std::int64_t num_weights(const Graph& graph) {
  std::int64_t result = 0;
  for (const auto& [name, shape] : graph.parameters()) {
    if (shape.size() > 1) {
      result += std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    }
  }
  return result;
}

class GoldenModelTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModelTest, LayersStandInThePapersOrder) {
  const Graph graph = model_info(GetParam()).build();
  std::vector<std::string> layers;
  for (const int layer : graph.layers()) {
    layers.push_back(graph.node(layer).name);
  }
  EXPECT_EQ(layers, golden_json(GetParam())["layers"].get<std::vector<std::string>>());
}

TEST_P(GoldenModelTest, StateDictHasTheReferencesKeysAndShapes) {
  std::map<std::string, std::vector<std::int64_t>> expected = golden_json(GetParam())["state_dict"];
  std::erase_if(expected,
                [](const auto& entry) { return entry.first.ends_with("num_batches_tracked"); });
  const auto parameters = model_info(GetParam()).build().parameters();
  EXPECT_EQ(
      (std::map<std::string, std::vector<std::int64_t>>(parameters.begin(), parameters.end())),
      expected);
}

TEST_P(GoldenModelTest, InputSizeIsTheReferences) {
  EXPECT_EQ(model_info(GetParam()).input.height,
            golden_json(GetParam())["input_size"].get<std::int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Paper, GoldenModelTest, testing::ValuesIn(kGoldenModels),
                         [](const auto& test) { return std::string(test.param); });

// Published: 11.69 M and 25.56 M parameters, 1.8 and 3.9 billion multiply-adds (He et al.; stride
// in the first 1x1).
TEST(ModelsTest, SizesAreThePublishedOnes) {
  EXPECT_NEAR(static_cast<double>(num_macs(model_info("resnet18").build())), 1.82e9, 0.01e9);
  EXPECT_NEAR(static_cast<double>(num_macs(model_info("resnet50").build())), 3.86e9, 0.02e9);
  EXPECT_NEAR(static_cast<double>(num_macs(model_info("shufflenet_g1_w1").build())), 140e6, 8e6);
  EXPECT_NEAR(static_cast<double>(num_macs(model_info("efficientnet_lite0").build())), 385e6, 8e6);
  const Graph lite = model_info("efficientnet_lite0").build();
  EXPECT_EQ(lite.layers().size(), 50U);
  EXPECT_NEAR(static_cast<double>(num_weights(lite)), 4.6e6, 0.05e6);
}

TEST(ModelsTest, QuickstartNetworksAreSmall) {
  for (const char* name : {"fmnist_resnet", "fmnist_mobilenet"}) {
    const Graph graph = model_info(name).build();
    EXPECT_LT(num_weights(graph), 200'000) << name;
    EXPECT_LT(num_macs(graph), 10'000'000) << name;
  }
}

TEST(ModelsTest, EfficientNetPadsAsTensorFlowDoes) {
  const Graph graph = model_info("efficientnet_lite0").build();
  std::map<std::string, Padding> paddings;
  for (const int layer : graph.layers()) {
    paddings[graph.node(layer).name] = graph.node(layer).window.padding;
  }
  EXPECT_EQ(paddings["_conv_stem"], (Padding{0, 0, 1, 1}));                 // 3x3, stride 2, 224
  EXPECT_EQ(paddings["_blocks.0._depthwise_conv"], (Padding{1, 1, 1, 1}));  // 3x3, stride 1
  EXPECT_EQ(paddings["_blocks.3._depthwise_conv"], (Padding{1, 1, 2, 2}));  // 5x5, stride 2
  EXPECT_EQ(paddings["_blocks.15._depthwise_conv"], (Padding{1, 1, 1, 1}));
}

TEST(ModelsTest, EveryModelIsCompleteAndEndsInItsClasses) {
  std::set<std::string> names;
  for (const ModelInfo& info : all_models()) {
    SCOPED_TRACE(info.name);
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_EQ(&model_info(info.name), &info);
    const Graph graph = info.build();
    EXPECT_EQ(graph.node(0).shape, info.input);
    EXPECT_EQ(graph.node(graph.output()).shape, (Shape{info.num_classes, 1, 1}));
    EXPECT_EQ(static_cast<std::int64_t>(info.mean.size()), info.input.channels);
    EXPECT_EQ(static_cast<std::int64_t>(info.stddev.size()), info.input.channels);
    EXPECT_FALSE(info.source.empty());
    EXPECT_NO_THROW(check_state_dict(graph, generated_state_dict(graph), info.name));
  }
}

TEST(ModelsTest, UnknownModelListsTheKnownOnes) {
  try {
    model_info("resnet19");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"resnet19\""));
    EXPECT_THAT(error.what(), HasSubstr("resnet18, resnet50"));
    EXPECT_THAT(error.what(), HasSubstr("fmnist_mobilenet"));
  }
}

// The 24-bit numbers were computed from the rule in docs/numerics.md with arbitrary-precision
// integers.
TEST(GeneratorTest, UniformNumbersFollowTheRule) {
  EXPECT_EQ(generated_uniform("input", 0), 1641119 * 0x1p-24);
  EXPECT_EQ(generated_uniform("input", 1), 10944791 * 0x1p-24);
  EXPECT_EQ(generated_uniform("output.weight", 12345), 2716306 * 0x1p-24);
  const std::vector<float> noise = calibration_noise(100);
  EXPECT_EQ(noise[0], 1906794 * 0x1p-24F);
  EXPECT_EQ(noise[99], 13070231 * 0x1p-24F);
}

TEST(GeneratorTest, WeightsFollowTheRuleOfTheirRankAndName) {
  Graph graph({3, 4, 4});
  graph.batch_norm(graph.conv(0, "c", 5, Window::square(3), 1, true), "n");
  const StateDict weights = generated_state_dict(graph);
  const auto u = [](const std::string& name, std::uint64_t i) {
    return generated_uniform(name, i);
  };
  EXPECT_EQ(weights.at("c.weight").values[134],
            static_cast<float>((2 * u("c.weight", 134) - 1) * std::sqrt(6.0 / 27)));
  EXPECT_EQ(weights.at("c.bias").values[4], static_cast<float>((u("c.bias", 4) - 0.5) * 0.2));
  EXPECT_EQ(weights.at("n.weight").values[1], static_cast<float>(0.5 + u("n.weight", 1)));
  EXPECT_EQ(weights.at("n.bias").values[1], static_cast<float>((u("n.bias", 1) - 0.5) * 0.2));
  EXPECT_EQ(weights.at("n.running_mean").values[2],
            static_cast<float>((u("n.running_mean", 2) - 0.5) * 0.2));
  EXPECT_EQ(weights.at("n.running_var").values[2], static_cast<float>(0.5 + u("n.running_var", 2)));
}

}  // namespace
}  // namespace squant::eval
