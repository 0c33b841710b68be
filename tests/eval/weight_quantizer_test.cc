// What happens where a GPU does not take a layer, refuses, or is wrong: with devices that do just
// that.
#include "eval/weight_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

namespace squant::eval {
namespace {

// The CPU behind the interface of a GPU; a test spoils what it gives.
class PretendedDevice final : public CudaDevice {
 public:
  std::string name() const override { return "pretended"; }
  std::int64_t free_bytes() const override { return 0; }
  std::unique_ptr<CudaEngine> make_engine(const Model&, const QuantizedWeights&,
                                          const ActivationSettings&,
                                          const CudaEngineOptions&) override {
    return nullptr;
  }
  std::unique_ptr<CudaImages> hold_images(const std::uint8_t*, std::int64_t, std::int64_t,
                                          std::int64_t) override {
    return nullptr;
  }
  bool takes_squant(const quant::WeightShape& shape) const override {
    return shape.size() <= largest;
  }
  CudaSquantTimes squant(std::span<const quant::SquantTensor> tensors,
                         const quant::SquantOptions& options, int repeats) override {
    ++num_calls;
    if (refuses) throw std::runtime_error("out of memory");
    quant::squant_cpu(tensors, options);
    if (is_wrong) tensors.front().codes[5] ^= 1;
    return {1000, std::vector<double>(repeats > 0 ? tensors.size() : 0, 1000)};
  }

  double copy_ms(std::int64_t, int, CopyFrom) override { return 0; }

  std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  bool refuses = false;
  bool is_wrong = false;
  int num_calls = 0;
};

class WeightQuantizerTest : public testing::Test {
 protected:
  void expect_right_codes(const QuantizedWeights& got) const {
    for (std::size_t i = 0; i < expected_.layers.size(); ++i) {
      EXPECT_EQ(got.layers[i].name, expected_.layers[i].name);
      EXPECT_EQ(got.layers[i].codes, expected_.layers[i].codes);
      EXPECT_EQ(got.layers[i].scale, expected_.layers[i].scale);
    }
  }
  const quant::SquantOptions options_;
  const Model model_ =
      make_model("fmnist_resnet", generated_state_dict(model_info("fmnist_resnet").build()), "");
  const QuantizedWeights expected_ = quantize_weights(model_, options_);
  std::shared_ptr<PretendedDevice> device_ = std::make_shared<PretendedDevice>();
  WeightQuantizer quantizer_{device_};
};

TEST_F(WeightQuantizerTest, TheGpusTimesAreTaken) {
  const MeasuredWeights got = quantizer_.measure(model_, options_, 2);
  expect_right_codes(got.weights);
  EXPECT_EQ(got.device, "cuda");
  EXPECT_EQ(got.model_ms, 1000);
  EXPECT_EQ(got.layer_ms, std::vector<double>(expected_.layers.size(), 1000));
}

TEST_F(WeightQuantizerTest, LayersThatTheGpuDoesNotTakeAreTheCpus) {
  device_->largest = 9 * 32 * 32;
  const MeasuredWeights got = quantizer_.measure(model_, options_, 1);
  expect_right_codes(got.weights);
  EXPECT_EQ(got.device, "cuda, cpu");
  ASSERT_EQ(got.layer_ms.size(), expected_.layers.size());
  for (std::size_t i = 0; i < expected_.layers.size(); ++i) {
    const bool on_gpu = expected_.layers[i].shape.size() <= device_->largest;
    EXPECT_EQ(got.layer_ms[i] == 1000, on_gpu) << expected_.layers[i].name;
  }
}

TEST_F(WeightQuantizerTest, AGpuThatRefusesIsAskedAgain) {
  device_->refuses = true;
  const MeasuredWeights got = quantizer_.measure(model_, options_, 1);
  expect_right_codes(got.weights);
  EXPECT_EQ(got.device, "cpu");
  EXPECT_LT(got.model_ms, 1000);
  device_->refuses = false;
  EXPECT_EQ(quantizer_.measure(model_, options_, 1).device, "cuda");
}

TEST_F(WeightQuantizerTest, AGpuThatIsWrongIsNotAskedAgain) {
  device_->is_wrong = true;
  expect_right_codes(quantizer_.quantize(model_, options_));
  EXPECT_EQ(device_->num_calls, 1);
  const MeasuredWeights got = quantizer_.measure(model_, options_, 1);
  expect_right_codes(got.weights);
  EXPECT_EQ(got.device, "cpu");
  EXPECT_EQ(device_->num_calls, 1);
}

TEST_F(WeightQuantizerTest, BrokenWeightsAreNamed) {
  Model broken = model_;
  broken.weights.at("classifier.weight").values[3] = std::numeric_limits<float>::infinity();
  try {
    quantizer_.quantize(broken, options_);
    FAIL() << "an infinite weight went unnoticed";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("classifier.weight"));
  }
}

}  // namespace
}  // namespace squant::eval
