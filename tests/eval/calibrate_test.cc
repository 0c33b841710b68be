#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "eval/engine/engine.h"
#include "tests/eval/golden_models.h"

namespace squant::eval {
namespace {

constexpr quant::Rounding kRounding = quant::Rounding::kCurrent;

class GoldenRangesTest : public testing::TestWithParam<const char*> {};

// The first ranges are the reference's but for float32's rounding. Later ones inherit the codes
// that flipped before them (docs/numerics.md): in a standard deviation hardly more than a
// hundredth, but at 4 bits a range may be a tensor's largest value, and a signed one's zero point 0
// or 1, by the last bit of the range itself.
TEST_P(GoldenRangesTest, RangesAreTheReferences) {
  const ModelInfo& info = model_info(GetParam());
  const nlohmann::json json = golden_json(GetParam());
  const GoldenTensors golden(GetParam());
  const Model model = make_model(info.name, generated_state_dict(info.build()), "generated");
  for (const char* config : {"w8a8", "w6a6", "w4a4"}) {
    SCOPED_TRACE(config);
    const nlohmann::json& settings = json["configs"][config];
    const int bits = settings["activation_bits"].get<int>();
    const QuantizedWeights weights =
        quantize_weights(model, {.bits = settings["weight_bits"].get<int>()});
    const std::vector<quant::ActivationRange> ranges =
        calibrate(model, weights, bits, kRounding, settings["sigma"].get<double>(),
                  json["calibration_batch"].get<std::int64_t>());
    const std::vector<float> min = golden.values<float>(std::string(config) + "/x_min");
    const std::vector<float> max = golden.values<float>(std::string(config) + "/x_max");
    ASSERT_EQ(ranges.size(), max.size());
    EXPECT_EQ(ranges[0].max, 0) << "the first layer's input is not quantized";
    double worst = 0;
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      const double distance = std::abs(ranges[i].max - max[i]) / max[i];
      EXPECT_EQ(ranges[i].min, min[i] < 0 ? -ranges[i].max : 0) << "layer " << i;
      EXPECT_LT(distance, i < 4 ? 1e-5 : bits < 6 ? 0.5 : 0.01) << "layer " << i;
      worst = std::max(worst, distance);
    }
    RecordProperty(config, std::to_string(worst));
  }
}

INSTANTIATE_TEST_SUITE_P(Paper, GoldenRangesTest, testing::ValuesIn(kGoldenModels),
                         [](const auto& test) { return std::string(test.param); });

TEST(CalibrateTest, RangesAreTheSameBitsForAnyNumberOfThreads) {
  const Model model = make_model("fmnist_mobilenet",
                                 generated_state_dict(model_info("fmnist_mobilenet").build()), "");
  const QuantizedWeights weights = quantize_weights(model, {.bits = 8});
  std::vector<std::vector<quant::ActivationRange>> all;
  for (const int threads : {1, 2, 3}) {
    set_engine_threads(threads);
    all.push_back(calibrate(model, weights, 8, kRounding, 25, 5));
  }
  set_engine_threads(0);
  for (std::size_t i = 0; i < all[0].size(); ++i) {
    EXPECT_EQ(all[0][i].max, all[1][i].max);
    EXPECT_EQ(all[0][i].max, all[2][i].max);
  }
}

TEST(CalibrateTest, TheLastLayersInputHasEightBitsWhateverTheOthersHave) {
  // Below 6 bits a range is at most the tensor's largest value; the last layer's is not cut.
  const Model model =
      make_model("fmnist_resnet", generated_state_dict(model_info("fmnist_resnet").build()), "");
  const QuantizedWeights weights = quantize_weights(model, {.bits = 4});
  const auto low = calibrate(model, weights, 4, kRounding, 1000, 4);
  const auto high = calibrate(model, weights, 8, kRounding, 1000, 4);
  EXPECT_LT(low[1].max, high[1].max / 2);
  EXPECT_GT(low.back().max, high.back().max / 2);
}

TEST(CalibrateTest, NoImagesAreRefused) {
  const Model model =
      make_model("fmnist_resnet", generated_state_dict(model_info("fmnist_resnet").build()), "");
  EXPECT_THROW(calibrate(model, quantize_weights(model, {.bits = 4}), 4, kRounding, 12, 0),
               std::invalid_argument);
}

}  // namespace
}  // namespace squant::eval
