// A trained network on real photographs: EfficientNet-Lite0 over the 250 of SQUANT_TEST_DATA, image
// by image beside the reference (tests/data/models/efficientnet_lite0.safetensors).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/engine/engine.h"
#include "eval/images/dataset.h"

namespace squant::eval {
namespace {

constexpr std::int64_t kNumPhotographs = 250;
constexpr std::int64_t kCalibrationImages = 32;

// One configuration: how many of the 250 must have the reference's top-1. The reference's own noise
// (float32 against float64) is 249 for w8a8, 247 for w6a6, 216 for w4a4.
struct Config {
  std::string name;  // of the golden entry NAME/top5
  int weight_bits = 0;
  int activation_bits = 0;
  quant::Mode mode = quant::Mode::kEKC;
  double sigma = 0;
  int num_same_top1 = 0;
};

struct Material {
  Model model;
  ImageChunk photographs;
};

// Photographs and weights, read once for all configurations; null where SQUANT_TEST_DATA is unset.
const Material* material() {
  static const std::unique_ptr<Material> kMaterial = []() -> std::unique_ptr<Material> {
    const char* folder = std::getenv("SQUANT_TEST_DATA");
    if (folder == nullptr) return nullptr;
    const std::filesystem::path data(folder);
    const std::string file = data / "models" / "efficientnet-lite0-57934424.pth";
    auto result = std::make_unique<Material>(
        Material{make_model("efficientnet_lite0", load_checkpoint(file).tensors, file), {}});
    DatasetSpec spec;
    spec.format = "image_folder";
    spec.images = data / "imagenet-sample";
    spec.labels = data / "imagenet_synsets.txt";
    spec.order = kFileOrder;  // that of the reference
    spec.cache = testing::TempDir() + "squant-photographs-cache";
    result->photographs =
        open_dataset(spec)->load(0, kNumPhotographs, result->model.info->input, 2);
    std::filesystem::remove_all(spec.cache);
    return result;
  }();
  return kMaterial.get();
}

class GoldenPhotographs {
 public:
  GoldenPhotographs()
      : file_(SQUANT_TESTS_DATA_DIR "/models/efficientnet_lite0.safetensors"),
        view_(parse_safetensors(file_.bytes(), "efficientnet_lite0.safetensors")) {}
  std::vector<std::int16_t> top5(const std::string& config) const {
    return values<std::int16_t>(config + "/top5");
  }
  std::vector<float> x_min(const std::string& config) const {
    return values<float>(config + "/x_min");
  }
  std::vector<float> x_max(const std::string& config) const {
    return values<float>(config + "/x_max");
  }

 private:
  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const std::span<const std::byte> data = view_.entries.at(name).data;
    std::vector<T> result(data.size() / sizeof(T));
    std::memcpy(result.data(), data.data(), data.size());
    return result;
  }
  MappedFile file_;
  SafetensorsView view_;
};

std::vector<std::int16_t> top1_of(Engine& engine, const ImageChunk& photographs,
                                  std::int64_t num_classes) {
  std::vector<std::int16_t> top1;
  std::vector<float> logits(static_cast<std::size_t>(num_classes));
  for (std::int64_t image = 0; image < photographs.count; ++image) {
    engine.run_pixels(photographs.pixels.data() + image * photographs.shape.size(), 1,
                      logits.data());
    top1.push_back(static_cast<std::int16_t>(std::ranges::max_element(logits) - logits.begin()));
  }
  return top1;
}

// How an engine's answers compare with the reference's.
struct Agreement {
  int same_top1 = 0;
  int right = 0;
  int reference_right = 0;
};

class PhotographsTest : public testing::TestWithParam<Config> {
 protected:
  void SetUp() override {
    if (material() == nullptr)
      GTEST_SKIP() << "set SQUANT_TEST_DATA to the folder that README.md describes";
    ASSERT_TRUE(material()->photographs.broken.empty());
  }

  const Model& model() const { return material()->model; }

  Agreement agreement(Engine& engine) const {
    const ImageChunk& photographs = material()->photographs;
    const std::vector<std::int16_t> top1 = top1_of(engine, photographs, model().info->num_classes);
    const std::vector<std::int16_t> reference = golden_.top5(GetParam().name);
    Agreement result;
    for (std::size_t image = 0; image < top1.size(); ++image) {
      const std::int16_t expected = reference.at(image * 5);
      result.same_top1 += top1[image] == expected ? 1 : 0;
      result.right += top1[image] == photographs.labels[image] ? 1 : 0;
      result.reference_right += expected == photographs.labels[image] ? 1 : 0;
    }
    std::printf("%s, %s engine: same top-1 on %d of 250, %d right, the reference %d\n",
                GetParam().name.c_str(), engine.name().c_str(), result.same_top1, result.right,
                result.reference_right);
    return result;
  }

  QuantizedWeights quantized() const {
    return quantize_weights(model(), {.bits = GetParam().weight_bits, .mode = GetParam().mode});
  }

  ActivationSettings reference_activations() const {
    ActivationSettings result;
    result.bits = GetParam().activation_bits;
    const std::vector<float> min = golden_.x_min(GetParam().name);
    const std::vector<float> max = golden_.x_max(GetParam().name);
    for (std::size_t layer = 0; layer < max.size(); ++layer)
      result.ranges.push_back({min[layer], max[layer]});
    return result;
  }

  GoldenPhotographs golden_;
};

constexpr int kRightTolerance = 5;

class FloatActivationsTest : public PhotographsTest {};

TEST_P(FloatActivationsTest, AgreesWithTheReferenceImageByImage) {
  std::unique_ptr<Engine> engine;
  if (GetParam().weight_bits == 0) {
    engine = make_float_engine(model(), nullptr, {});
  } else {
    const QuantizedWeights weights = quantized();
    engine = make_float_engine(model(), &weights, {});
  }
  const Agreement got = agreement(*engine);
  EXPECT_GE(got.same_top1, GetParam().num_same_top1);
  EXPECT_LE(std::abs(got.right - got.reference_right), kRightTolerance);
}

class QuantizedActivationsTest : public PhotographsTest {};

// Given the reference's ranges, the simulation is the published formulation.
TEST_P(QuantizedActivationsTest, SimulationIsTheReference) {
  const QuantizedWeights weights = quantized();
  constexpr int kSame = 248;
  EXPECT_GE(agreement(*make_float_engine(model(), &weights, reference_activations())).same_top1,
            kSame);
}

TEST_P(QuantizedActivationsTest, IntegersAgreeWithTheReferenceImageByImage) {
  const Agreement got =
      agreement(*make_integer_engine(model(), quantized(), reference_activations()));
  EXPECT_GE(got.same_top1, GetParam().num_same_top1);
  EXPECT_LE(std::abs(got.right - got.reference_right), kRightTolerance);
}

// Our own ranges start as the reference's; later ones inherit the codes that flipped before them
// (docs/numerics.md).
TEST_P(QuantizedActivationsTest, OwnRangesGiveAsManyRightAnswers) {
  const QuantizedWeights weights = quantized();
  ActivationSettings activations = reference_activations();
  const std::vector<quant::ActivationRange> reference = activations.ranges;
  activations.ranges = calibrate(model(), weights, activations.bits, activations.rounding,
                                 GetParam().sigma, kCalibrationImages);
  ASSERT_EQ(activations.ranges.size(), reference.size());
  for (std::size_t layer = 1; layer < 4; ++layer) {
    EXPECT_NEAR(activations.ranges[layer].max / reference[layer].max, 1.0, 1e-4)
        << "layer " << layer;
  }
  const Agreement got = agreement(*make_integer_engine(model(), weights, activations));
  EXPECT_LE(std::abs(got.right - got.reference_right), kRightTolerance);
}

std::string config_name(const testing::TestParamInfo<Config>& param) {
  std::string name = param.param.name;
  std::ranges::replace(name, '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(EfficientNetLite0, FloatActivationsTest,
                         testing::Values(Config{.name = "float", .num_same_top1 = 249},
                                         Config{"w4.e", 4, 0, quant::Mode::kE, 0, 247},
                                         Config{"w4.ek", 4, 0, quant::Mode::kEK, 0, 247},
                                         Config{"w4.ec", 4, 0, quant::Mode::kEC, 0, 247},
                                         Config{"w4.ekc", 4, 0, quant::Mode::kEKC, 0, 247},
                                         Config{"w6.ekc", 6, 0, quant::Mode::kEKC, 0, 247}),
                         config_name);
INSTANTIATE_TEST_SUITE_P(EfficientNetLite0, QuantizedActivationsTest,
                         testing::Values(Config{"w8a8", 8, 8, quant::Mode::kEKC, 25, 246},
                                         Config{"w6a6", 6, 6, quant::Mode::kEKC, 14, 242},
                                         Config{"w4a4", 4, 4, quant::Mode::kEKC, 12, 205}),
                         config_name);

}  // namespace
}  // namespace squant::eval
