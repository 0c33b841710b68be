// What squant-bench compares a GPU with is the network of the float engine.
#include "bench/torch_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/eval/quantized_model.h"

namespace squant::bench {
namespace {

eval::Model generated(const std::string& name) {
  return eval::make_model(name, eval::generated_state_dict(eval::model_info(name).build()), "");
}

TEST(TorchNetworkTest, GivesTheLogitsOfTheFloatEngine) {
  constexpr std::int64_t kImages = 3;
  for (const char* name : {"fmnist_resnet", "fmnist_mobilenet", "shufflenet_g1_w1"}) {
    const eval::Model model = generated(name);
    const std::vector<std::uint8_t> pixels = eval::some_pixels(model.info->input, kImages);
    std::vector<float> expected(static_cast<std::size_t>(kImages * model.info->num_classes));
    std::vector<float> got(expected.size());
    eval::make_float_engine(model, nullptr, {})
        ->run_pixels(pixels.data(), kImages, expected.data());
    make_torch_engine(model, "cpu", TorchPrecision::kFloat32)
        ->run_pixels(pixels.data(), kImages, got.data());
    float largest = 0;
    for (const float logit : expected) largest = std::max(largest, std::fabs(logit));
    // Both round in float32, in different orders.
    const float tolerance = 1e-4F * largest;
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], expected[i], tolerance) << name;
  }
}

TEST(TorchNetworkTest, HeldImagesGiveTheSameLogitsBatchByBatch) {
  constexpr std::int64_t kImages = 5;
  const eval::Model model = generated("fmnist_resnet");
  const std::vector<std::uint8_t> pixels = eval::some_pixels(model.info->input, kImages);
  std::vector<float> expected(static_cast<std::size_t>(kImages * model.info->num_classes));
  std::vector<float> got(expected.size());
  const auto engine = make_torch_engine(model, "cpu", TorchPrecision::kFloat32);
  engine->run_pixels(pixels.data(), kImages, expected.data());
  engine->hold_pixels(pixels.data(), kImages, 2);
  for (int pass = 0; pass < 2; ++pass) {
    std::fill(got.begin(), got.end(), 0.0F);
    engine->run_held(got.data());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-4F);
  }
}

TEST(TorchNetworkTest, EveryNetworkCanBeBuilt) {
  for (const eval::ModelInfo& info : eval::all_models()) {
    EXPECT_NO_THROW(make_torch_engine(generated(info.name), "cpu", TorchPrecision::kFloat16))
        << info.name;
  }
}

}  // namespace
}  // namespace squant::bench
