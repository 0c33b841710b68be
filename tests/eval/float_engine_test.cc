#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>

#include "eval/engine/engine.h"
#include "tests/eval/golden_models.h"

namespace squant::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The generated input batch of docs/numerics.md.
std::vector<float> golden_input(const Shape& shape, std::int64_t batch) {
  std::vector<float> result(static_cast<std::size_t>(batch * shape.size()));
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = static_cast<float>(2 * generated_uniform("input", i) - 1);
  }
  return result;
}

class GoldenLogitsTest : public testing::TestWithParam<const char*> {
 protected:
  GoldenLogitsTest()
      : info_(model_info(GetParam())),
        golden_(GetParam()),
        json_(golden_json(GetParam())),
        batch_(json_["batch"].get<std::int64_t>()),
        input_(golden_input(info_.input, batch_)),
        model_(make_model(info_.name, generated_state_dict(info_.build()), "generated")) {}

  std::vector<float> run(const QuantizedWeights* weights, const ActivationSettings& activations) {
    std::vector<float> logits(static_cast<std::size_t>(batch_ * info_.num_classes));
    make_float_engine(model_, weights, activations)
        ->run_input(input_.data(), batch_, logits.data());
    return logits;
  }

  QuantizedWeights quantized(const std::string& config) const {
    const nlohmann::json& settings = json_["configs"][config];
    return quantize_weights(model_,
                            {.bits = settings["weight_bits"].get<int>(),
                             .mode = quant::parse_mode(settings["mode"].get<std::string>())});
  }

  void record(const std::string& config, double distance, double change) {
    std::ostringstream text;
    text << distance << " of " << change;
    RecordProperty(config, text.str());
  }

  ActivationSettings activations(const std::string& config) const {
    ActivationSettings result;
    result.bits = json_["configs"][config]["activation_bits"].get<int>();
    const std::vector<float> min = golden_.values<float>(config + "/x_min");
    const std::vector<float> max = golden_.values<float>(config + "/x_max");
    for (std::size_t i = 0; i < min.size(); ++i) {
      result.ranges.push_back({min[i], max[i]});
    }
    return result;
  }

  const ModelInfo& info_;
  GoldenTensors golden_;
  nlohmann::json json_;
  std::int64_t batch_;
  std::vector<float> input_;
  Model model_;
};

// The reference's own float32 logits lie within this of its float64 logits; a wrong network is
// above 0.1.
constexpr double kFloatDistance = 1e-5;

TEST_P(GoldenLogitsTest, FloatLogitsAreTheReferences) {
  const std::vector<float> logits = run(nullptr, {});
  const double distance = relative_distance(logits, golden_.values<float>("float64/logits"));
  record("float", distance, 1);
  EXPECT_LT(distance, kFloatDistance);
}

// The reference's own change is 0.07 to 0.57; what is left comes of the few codes that the method
// leaves open (kOpenCodes names those of them that the golden data shows).
constexpr double kShareOfChange = 0.02;

TEST_P(GoldenLogitsTest, LogitsOfQuantizedWeightsAreTheReferences) {
  const std::vector<float> float_logits = golden_.values<float>("float/logits");
  for (const char* config : {"w4", "w3e"}) {
    SCOPED_TRACE(config);
    const QuantizedWeights weights = quantized(config);
    const std::vector<float> expected = golden_.values<float>(std::string(config) + "/logits");
    const double distance = relative_distance(run(&weights, {}), expected);
    const double change = relative_distance(expected, float_logits);
    record(config, distance, change);
    EXPECT_LT(distance, kShareOfChange * change);
  }
}

// With quantized activations the published formulation does not agree with itself: a code on the
// edge of a step flips with the last bit of a sum, and random weights carry each flip through the
// network. LibTorch's channels-last, NCHW and plain kernels differ from each other as much as each
// does from the reference; so does one engine whose ranges move by one unit in the last place.
constexpr double kTimesItself = 3;

TEST_P(GoldenLogitsTest, SimulatedLogitsAreAsNearAsTheFormulationIsToItself) {
  const std::vector<float> float_logits = golden_.values<float>("float/logits");
  for (const char* config : {"w8a8", "w6a6", "w4a4"}) {
    SCOPED_TRACE(config);
    const QuantizedWeights weights = quantized(config);
    const ActivationSettings settings = activations(config);
    ActivationSettings moved = settings;
    for (quant::ActivationRange& range : moved.ranges) {
      range.max = std::nextafter(range.max, std::numeric_limits<float>::infinity());
      range.min = range.min < 0 ? -range.max : 0;
    }
    const std::vector<float> expected = golden_.values<float>(std::string(config) + "/logits");
    const std::vector<float> logits = run(&weights, settings);
    const double distance = relative_distance(logits, expected);
    const double change = relative_distance(expected, float_logits);
    record(config, distance, change);
    EXPECT_LT(distance, kTimesItself * relative_distance(run(&weights, moved), logits));
    EXPECT_LT(distance, 1.2 * change);
    // Where no code lies near an edge, nothing flips.
    if (info_.name == "shufflenet_g1_w1" && settings.bits < 8) {
      EXPECT_LT(distance, kFloatDistance);
    }
  }
}

// Channels whose codes the method leaves open, and the reference's arithmetic decided otherwise.
struct OpenCodes {
  std::string entry;  // CONFIG/LAYER
  std::int64_t channel;
};
const std::vector<OpenCodes> kOpenCodes = {
    // max = -min: scale * min is -7.5 but for the last bit, so that the zero point may be 0 or 1.
    {"w4/features.stage1.unit1.body.conv1.conv", 40},
    {"w4a4/features.stage1.unit1.body.conv1.conv", 40},
    // A kernel that should flip one code down has none left to: all lie at the end of the range.
    {"w4/features.stage2.unit5.conv4.conv", 22},
    {"w4a4/features.stage2.unit5.conv4.conv", 22},
    // Two equal priorities, of which one is to be flipped.
    {"w8a8/output", 44},
};

bool is_open(const std::string& entry, std::int64_t channel) {
  return std::any_of(kOpenCodes.begin(), kOpenCodes.end(), [&](const OpenCodes& open) {
    return open.entry == entry && open.channel == channel;
  });
}

TEST_P(GoldenLogitsTest, CodesAreTheReferences) {
  for (const auto& [config, settings] : json_["configs"].items()) {
    const QuantizedWeights weights = quantized(config);
    const std::vector<std::string> layers = golden_.names(config + "/codes/");
    EXPECT_FALSE(layers.empty());
    for (const std::string& name : layers) {
      const std::string entry = config + "/" + name;
      const auto layer =
          std::find_if(weights.layers.begin(), weights.layers.end(),
                       [&](const QuantizedLayer& candidate) { return candidate.name == name; });
      ASSERT_NE(layer, weights.layers.end()) << entry;
      const std::vector<std::int8_t> expected =
          golden_.values<std::int8_t>(config + "/codes/" + name);
      ASSERT_EQ(layer->codes.size(), expected.size()) << entry;
      const std::int64_t row = layer->shape.row();
      for (std::int64_t channel = 0; channel < layer->shape.out; ++channel) {
        const auto begin = layer->codes.begin() + channel * row;
        EXPECT_TRUE(std::equal(begin, begin + row, expected.begin() + channel * row) ||
                    is_open(entry, channel))
            << entry << ", channel " << channel;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paper, GoldenLogitsTest, testing::ValuesIn(kGoldenModels),
                         [](const auto& test) { return std::string(test.param); });

// A graph of a test as a model; weights not given are generated.
struct SmallModel {
  SmallModel(Graph graph, StateDict weights) {
    info.name = "small";
    info.input = graph.node(0).shape;
    info.mean.assign(static_cast<std::size_t>(info.input.channels), 0.25);
    info.stddev.assign(static_cast<std::size_t>(info.input.channels), 0.5);
    info.num_classes = graph.node(graph.output()).shape.size();
    StateDict all = generated_state_dict(graph);
    for (auto& [name, tensor] : weights) {
      all.at(name).values = tensor.values;
    }
    model = {&info, std::move(graph), std::move(all)};
  }
  std::vector<float> run(const std::vector<float>& input, const QuantizedWeights* weights = nullptr,
                         const ActivationSettings& activations = {}) const {
    const std::int64_t n = static_cast<std::int64_t>(input.size()) / info.input.size();
    std::vector<float> logits(static_cast<std::size_t>(n * info.num_classes));
    make_float_engine(model, weights, activations)->run_input(input.data(), n, logits.data());
    return logits;
  }
  ModelInfo info;
  Model model{nullptr, Graph({1, 1, 1}), {}};
};

TEST(FloatEngineTest, PaddingOnOneSideOnlyIsRespected) {
  Graph graph({1, 2, 2});
  Window window{.kernel_h = 2, .kernel_w = 2, .padding = {0, 0, 1, 1}};
  graph.conv(0, "c", 1, window);
  const SmallModel model(std::move(graph), {{"c.weight", {{}, {1, 10, 100, 1000}}}});
  EXPECT_THAT(model.run({1, 2, 3, 4}), ElementsAre(4321, 402, 43, 4));
}

TEST(FloatEngineTest, PoolsTreatPaddingAsTheGraphSays) {
  const auto average = [](bool count_include_pad) {
    Graph graph({1, 1, 3});
    Window window{.kernel_h = 1, .kernel_w = 3, .padding = {0, 1, 0, 1}};
    window.count_include_pad = count_include_pad;
    graph.avg_pool(0, window);
    return SmallModel(std::move(graph), {}).run({3, 6, 9});
  };
  EXPECT_THAT(average(true), ElementsAre(3, 6, 5));
  EXPECT_THAT(average(false), ElementsAre(4.5, 6, 7.5));
  Graph graph({1, 1, 4});
  Window window{.kernel_h = 1, .kernel_w = 3, .stride_w = 2};
  window.ceil_mode = true;
  graph.max_pool(0, window);
  EXPECT_THAT(SmallModel(std::move(graph), {}).run({-5, -6, -7, -8}), ElementsAre(-5, -7));
}

TEST(FloatEngineTest, ShuffleTransposesGroups) {
  Graph graph({6, 1, 1});
  graph.channel_shuffle(0, 2);
  EXPECT_THAT(SmallModel(std::move(graph), {}).run({0, 1, 2, 3, 4, 5}),
              ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST(FloatEngineTest, ATensorReadTwiceSurvivesReluAndAdd) {
  Graph graph({2, 1, 1});
  const int x = graph.conv(0, "c", 2, Window::square(1));
  const int relu = graph.relu(x);
  graph.concat({graph.add(relu, x), graph.relu6(x), x, 0});
  const SmallModel model(std::move(graph), {{"c.weight", {{}, {2, 0, 0, 2}}}});
  const std::vector<float> input = {-1, 4};
  EXPECT_THAT(model.run(input), ElementsAre(-2, 16, 0, 6, -2, 8, -1, 4));
  EXPECT_THAT(input, ElementsAre(-1, 4));
}

TEST(FloatEngineTest, ReluOnTheInputLeavesTheCallersMemoryAlone) {
  Graph graph({2, 1, 1});
  graph.relu(0);
  const std::vector<float> input = {-1, 4};
  EXPECT_THAT(SmallModel(std::move(graph), {}).run(input), ElementsAre(0, 4));
  EXPECT_THAT(input, ElementsAre(-1, 4));
}

TEST(FloatEngineTest, BatchNormAfterAConvolutionReadTwiceIsNotFolded) {
  Graph graph({1, 1, 1});
  const int x = graph.conv(0, "c", 1, Window::square(1), 1, true);
  graph.concat({graph.batch_norm(x, "n", 0), x});
  const SmallModel model(std::move(graph), {{"c.weight", {{}, {3}}},
                                            {"c.bias", {{}, {1}}},
                                            {"n.weight", {{}, {2}}},
                                            {"n.bias", {{}, {5}}},
                                            {"n.running_mean", {{}, {4}}},
                                            {"n.running_var", {{}, {9}}}});
  EXPECT_THAT(model.run({4}), ElementsAre(11, 13));
}

TEST(FloatEngineTest, PixelsAreNormalizedPerChannel) {
  Graph graph({3, 1, 2});
  graph.concat({0});
  SmallModel small(std::move(graph), {});
  small.info.mean = {0, 0.5, 0.25};
  small.info.stddev = {1, 0.5, 0.125};
  const std::vector<std::uint8_t> pixels = {255, 0,   51,
                                            102, 255, 204};  // two pixels of three channels
  std::vector<float> logits(6);
  make_float_engine(small.model, nullptr, {})->run_pixels(pixels.data(), 1, logits.data());
  const auto expected = [](int pixel, float mean, float stddev) {
    return (static_cast<float>(pixel) / 255.0F - mean) / stddev;
  };
  EXPECT_THAT(logits, ElementsAre(expected(255, 0, 1), expected(102, 0, 1), expected(0, 0.5, 0.5),
                                  expected(255, 0.5, 0.5), expected(51, 0.25, 0.125),
                                  expected(204, 0.25, 0.125)));
}

// conv (identity) - conv (identity) - linear (identity): what comes out has passed two quantizers.
class FakeQuantizeTest : public testing::Test {
 protected:
  static SmallModel model(int num_convolutions) {
    Graph graph({1, 1, 1});
    int x = 0;
    StateDict weights = {{"l.weight", {{}, {1}}}, {"l.bias", {{}, {0}}}};
    for (int i = 0; i < num_convolutions; ++i) {
      const std::string name = "c" + std::to_string(i);
      x = graph.conv(x, name, 1, Window::square(1));
      weights[name + ".weight"] = {{}, {1}};
    }
    graph.linear(x, "l", 1);
    return SmallModel(std::move(graph), std::move(weights));
  }
};

TEST_F(FakeQuantizeTest, EveryInputButTheFirstIsQuantizedAndTheLastHasEightBits) {
  const SmallModel two = model(1);
  // Only the linear layer's input is quantized, to 8 bits: steps of 1 in [0, 255].
  EXPECT_THAT(
      two.run({-3, 0.5, 1.5, 2.5, 99.4F, 1000}, nullptr, {.bits = 4, .ranges = {{0, 1}, {0, 255}}}),
      ElementsAre(0, 0, 2, 2, 99, 255));
  const SmallModel three = model(2);
  // 4 bits: steps of 2 in [0, 30]; the half steps round to even codes.
  EXPECT_THAT(
      three.run({1, 3, 5, 5.5, 31}, nullptr, {.bits = 4, .ranges = {{0, 1}, {0, 30}, {0, 255}}}),
      ElementsAre(0, 4, 4, 6, 30));
}

TEST_F(FakeQuantizeTest, SignedRangesReachBelowZero) {
  const SmallModel small = model(2);
  // 4 bits over [-15, 15]: steps of 2, codes [-8, 7]; scale * min = -7.5 rounds to -8, so -16 ...
  // 14 are reached.
  EXPECT_THAT(small.run({-100, -3, 0, 100}, nullptr,
                        {.bits = 4, .ranges = {{0, 1}, {-15, 15}, {-255, 255}}}),
              ElementsAre(-16, -4, 0, 14));
}

TEST(FloatEngineTest, NamesSayWhatRuns) {
  Graph graph({1, 1, 1});
  graph.linear(0, "l", 1);
  const SmallModel small(std::move(graph), {});
  EXPECT_EQ(make_float_engine(small.model, nullptr, {})->name(), "float");
  EXPECT_FALSE(make_float_engine(small.model, nullptr, {})->exact());
  EXPECT_EQ(make_float_engine(small.model, nullptr, {.bits = 8, .ranges = {{0, 1}}})->name(),
            "simulated");
}

TEST(FloatEngineTest, WeightsOrRangesOfAnotherNetworkAreRefused) {
  Graph graph({1, 1, 1});
  graph.linear(0, "l", 1);
  const SmallModel small(std::move(graph), {});
  QuantizedWeights weights;
  EXPECT_THROW(make_float_engine(small.model, &weights, {}), std::invalid_argument);
  weights.layers = {{"other", {1, 1, 1}, {0}, {1}, {0}}};
  EXPECT_THROW(make_float_engine(small.model, &weights, {}), std::invalid_argument);
  EXPECT_THROW(make_float_engine(small.model, nullptr, {.bits = 4, .ranges = {}}),
               std::invalid_argument);
}

TEST(ModelTest, ACheckpointThatDoesNotFitNamesFileAndModel) {
  try {
    make_model("fmnist_resnet", {}, "somewhere.pth");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("somewhere.pth as fmnist_resnet"));
    EXPECT_THAT(error.what(), HasSubstr("stem.conv.weight"));
  }
}

}  // namespace
}  // namespace squant::eval
