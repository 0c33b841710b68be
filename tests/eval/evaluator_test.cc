#include "eval/evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/cuda/cuda_device.h"
#include "eval/engine/engine.h"
#include "eval/logits_digest.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kImages = 40;

class EvaluatorTest : public testing::Test {
 protected:
  EvaluatorTest() {
    std::string images{'\0', '\0', '\x08', '\x03', 0, 0, 0, kImages, 0, 0, 0, 28, 0, 0, 0, 28};
    std::string labels{'\0', '\0', '\x08', '\x01', 0, 0, 0, kImages};
    std::mt19937 random(1);
    for (std::int64_t i = 0; i < kImages * 28 * 28; ++i) {
      pixels_.push_back(static_cast<std::uint8_t>(random() % 256));
      images += static_cast<char>(pixels_.back());
    }
    for (std::int64_t i = 0; i < kImages; ++i) {
      labels_.push_back(static_cast<int>(i % 10));
      labels += static_cast<char>(labels_.back());
    }
    dataset_ = {"idx", folder_.write("images", images), folder_.write("labels", labels), "",
                kFileOrder};
  }

  // A job on generated weights.
  Job job(const std::string& model, int weight_bits, int activation_bits,
          EngineChoice engine = EngineChoice::kAuto) {
    const std::string path = folder_.path() + "/" + model + ".safetensors";
    write_safetensors(path, generated_state_dict(model_info(model).build()));
    Job result;
    result.model = model;
    result.checkpoint = path;
    result.checkpoint_sha256 = sha256_file(path);
    result.weight_bits = weight_bits;
    result.activation_bits = activation_bits;
    result.sigma = 12;
    result.calibration_images = 3;
    result.engine = engine;
    return result;
  }

  static Evaluator::TileJob prepared(Evaluator& evaluator, const Job& job) {
    return {job, evaluator.prepare(job).ranges};
  }

  TestFolder folder_;
  DatasetSpec dataset_;
  std::vector<std::uint8_t> pixels_;
  std::vector<int> labels_;
};

TEST_F(EvaluatorTest, PreparationTellsWhatItDid) {
  Evaluator evaluator({.num_threads = 2});
  const Preparation integer = evaluator.prepare(job("fmnist_resnet", 4, 4));
  EXPECT_EQ(integer.engine, "integer");
  EXPECT_TRUE(integer.exact);
  EXPECT_GT(integer.quantize_ms, 0);
  EXPECT_GT(integer.calibrate_ms, 0);
  const Graph graph = model_info("fmnist_resnet").build();
  ASSERT_EQ(integer.layers.size(), graph.layers().size());
  ASSERT_EQ(integer.ranges.size(), graph.layers().size());
  std::int64_t num_weights = 0;
  for (std::size_t i = 0; i < integer.layers.size(); ++i) {
    const LayerFacts& layer = integer.layers[i];
    EXPECT_EQ(layer.name, graph.node(graph.layers()[i]).name);
    EXPECT_EQ(layer.input_range.max, integer.ranges[i].max);
    ASSERT_TRUE(layer.errors && layer.errors->k && layer.errors->c);
    EXPECT_GT(layer.errors->e.squared, 0);
    // What the stages are for: sums over weight kernels, then over channels, are brought near 0.
    EXPECT_LE(layer.errors->k->max_kernel, layer.errors->e.max_kernel);
    EXPECT_LE(layer.errors->c->max_channel, layer.errors->k->max_channel);
    EXPECT_EQ(layer.saturation.has_value(), i > 0);
    if (layer.saturation) {
      EXPECT_LE(layer.saturation->low + layer.saturation->high, 1);
    }
    EXPECT_GT(layer.sum_bound, 0);
    EXPECT_GT(layer.quantize_ms, 0);
    num_weights += layer.shape.size();
  }
  EXPECT_EQ(integer.num_weights, num_weights);

  const Preparation floats = evaluator.prepare(job("fmnist_resnet", 0, 0));
  EXPECT_EQ(floats.engine, "float");
  EXPECT_FALSE(floats.exact);
  EXPECT_TRUE(floats.ranges.empty());
  EXPECT_EQ(floats.num_weights, num_weights);
  EXPECT_EQ(floats.layers.at(1).kernel, "float");
  EXPECT_FALSE(floats.layers.at(1).errors);
  EXPECT_FALSE(floats.layers.at(1).saturation);
  EXPECT_EQ(evaluator.prepare(job("fmnist_resnet", 4, 4, EngineChoice::kSimulated)).engine,
            "simulated");
  EXPECT_FALSE(evaluator.device_name().empty());
}

TEST_F(EvaluatorTest, CountsAndDigestAreThoseOfTheLogits) {
  Evaluator evaluator({});
  const Evaluator::TileJob tile_job = prepared(evaluator, job("fmnist_mobilenet", 8, 8));
  Evaluator::TileJob with_predictions = tile_job;
  with_predictions.job.keep_predictions = true;
  const Evaluator::Tile tile =
      evaluator.run_tile(dataset_, 3, 30, {tile_job, with_predictions}, {});
  ASSERT_EQ(tile.results.size(), 2U);
  EXPECT_EQ(tile.results[0].error, "");

  const Model model = make_model("fmnist_mobilenet",
                                 generated_state_dict(model_info("fmnist_mobilenet").build()), "");
  const auto engine = make_integer_engine(model, quantize_weights(model, {.bits = 8}),
                                          {.bits = 8, .ranges = tile_job.ranges});
  std::vector<float> logits(30 * 10);
  engine->run_pixels(pixels_.data() + 3 * 28 * 28, 30, logits.data());
  TileCounts expected;
  for (std::int64_t i = 0; i < 30; ++i) {
    const std::span<const float> own(logits.data() + i * 10, 10);
    const auto label = static_cast<std::size_t>(labels_[static_cast<std::size_t>(i + 3)]);
    const auto larger =
        std::count_if(own.begin(), own.end(), [&](float logit) { return logit > own[label]; });
    expected.num_top1 += larger < 1 ? 1 : 0;
    expected.num_top5 += larger < 5 ? 1 : 0;
    expected.digest += image_digest(own, i + 3);
    expected.outcomes += larger < 1 ? '1' : larger < 5 ? '5' : '0';
    expected.predictions.push_back(
        static_cast<std::int32_t>(std::max_element(own.begin(), own.end()) - own.begin()));
  }
  const TileCounts& counts = tile.results[0].counts;
  EXPECT_EQ(counts.num_images, 30);
  EXPECT_EQ(counts.num_broken, 0);
  EXPECT_EQ(counts.num_top1, expected.num_top1);
  EXPECT_EQ(counts.num_top5, expected.num_top5);
  EXPECT_GT(counts.num_top5, 0);
  EXPECT_TRUE(counts.has_digest);
  EXPECT_EQ(counts.digest, expected.digest);
  EXPECT_EQ(counts.outcomes, expected.outcomes);
  EXPECT_TRUE(counts.predictions.empty());
  EXPECT_EQ(tile.results[1].counts.digest, expected.digest);
  EXPECT_EQ(tile.results[1].counts.outcomes, expected.outcomes);
  EXPECT_EQ(tile.results[1].counts.predictions, expected.predictions);
}

TEST_F(EvaluatorTest, DigestsDependNeitherOnTilesNorBatchesNorThreads) {
  Evaluator one({.num_threads = 1, .batch_size = 1});
  const Evaluator::TileJob tile_job = prepared(one, job("fmnist_resnet", 6, 6));
  const Digest whole = one.run_tile(dataset_, 0, kImages, {tile_job}, {}).results[0].counts.digest;
  Evaluator other({.num_threads = 3, .batch_size = 7, .memory_budget = 1});
  Digest sum;
  std::int64_t top5 = 0;
  for (const auto& [first, count] : {std::pair(0, 13), std::pair(13, 1), std::pair(14, 26)}) {
    const TileCounts counts =
        other.run_tile(dataset_, first, count, {tile_job}, {}).results[0].counts;
    sum += counts.digest;
    top5 += counts.num_top5;
  }
  EXPECT_EQ(sum, whole);
  EXPECT_EQ(top5, one.run_tile(dataset_, 0, kImages, {tile_job}, {}).results[0].counts.num_top5);
  EXPECT_NE(one.run_tile(dataset_, 0, kImages - 1, {tile_job}, {}).results[0].counts.digest, whole);
  EXPECT_FALSE(prepared(one, job("fmnist_resnet", 5, 6)).ranges.empty());
  EXPECT_NE(one.run_tile(dataset_, 0, kImages, {{job("fmnist_resnet", 5, 6), tile_job.ranges}}, {})
                .results[0]
                .counts.digest,
            whole);
}

TEST_F(EvaluatorTest, FloatActivationsCarryNoDigest) {
  Evaluator evaluator({});
  const Job simulated = job("fmnist_resnet", 4, 4, EngineChoice::kSimulated);
  const Evaluator::Tile tile =
      evaluator.run_tile(dataset_, 0, 10,
                         {{job("fmnist_resnet", 0, 0), {}},
                          {job("fmnist_resnet", 3, 0), {}},
                          {simulated, evaluator.prepare(simulated).ranges}},
                         {});
  for (const Evaluator::TileResult& result : tile.results) {
    EXPECT_EQ(result.error, "");
    EXPECT_FALSE(result.counts.has_digest);
    EXPECT_EQ(result.counts.digest, Digest{});
  }
}

TEST_F(EvaluatorTest, OfEqualLogitsTheLowerClassWins) {
  Job equal = job("fmnist_resnet", 0, 0);
  StateDict weights = generated_state_dict(model_info("fmnist_resnet").build());
  for (auto& [name, tensor] : weights) {
    if (name.ends_with(".bias") || name.ends_with(".weight")) {
      std::fill(tensor.values.begin(), tensor.values.end(), 0.0F);
    }
  }
  equal.checkpoint = folder_.path() + "/equal.safetensors";
  write_safetensors(equal.checkpoint, weights);
  equal.checkpoint_sha256 = sha256_file(equal.checkpoint);
  Evaluator evaluator({});
  const TileCounts counts =
      evaluator.run_tile(dataset_, 0, kImages, {{equal, {}}}, {}).results[0].counts;
  EXPECT_EQ(counts.num_top1, kImages / 10);  // class 0
  EXPECT_EQ(counts.num_top5, kImages / 2);   // classes 0 to 4
}

TEST_F(EvaluatorTest, OneJobsFailureLeavesTheOthersAlone) {
  Evaluator evaluator({});
  const Job good = job("fmnist_resnet", 0, 0);
  Job missing = good;
  missing.checkpoint = folder_.path() + "/nothing.safetensors";
  Job changed = good;
  changed.checkpoint_sha256 = std::string(64, '0');
  Job unknown = good;
  unknown.model = "resnet19";
  Job odd = good;
  odd.activation_bits = 4;
  Job no_ranges = job("fmnist_resnet", 4, 4);
  std::vector<std::size_t> progress;
  const Evaluator::Tile tile = evaluator.run_tile(
      dataset_, 0, 5,
      {{missing, {}}, {changed, {}}, {unknown, {}}, {odd, {}}, {no_ranges, {}}, {good, {}}},
      [&](std::size_t jobs_done) { progress.push_back(jobs_done); });
  ASSERT_EQ(tile.results.size(), 6U);
  EXPECT_THAT(tile.results[0].error, HasSubstr("nothing.safetensors"));
  EXPECT_THAT(tile.results[1].error, HasSubstr(good.checkpoint_sha256));
  EXPECT_THAT(tile.results[2].error, HasSubstr("resnet19"));
  EXPECT_THAT(tile.results[3].error, HasSubstr("need quantized weights"));
  EXPECT_THAT(tile.results[4].error, HasSubstr("activation ranges"));
  EXPECT_EQ(tile.results[5].error, "");
  EXPECT_EQ(tile.results[5].counts.num_images, 5);
  EXPECT_THAT(progress, ElementsAre(1, 2, 3, 4, 5, 5, 6));  // the good job has one batch
  EXPECT_THROW(evaluator.prepare(changed), std::invalid_argument);
}

TEST_F(EvaluatorTest, ADataSetOfAnotherNetworkIsAnError) {
  Evaluator evaluator({});
  const std::vector<Evaluator::TileJob> jobs = {{job("fmnist_resnet", 0, 0), {}}};
  // Images that cannot be loaded are no job's fault.
  EXPECT_THROW(evaluator.run_tile(dataset_, kImages - 1, 2, jobs, {}), std::invalid_argument);
  DatasetSpec missing = dataset_;
  missing.images += ".nowhere";
  EXPECT_THROW(evaluator.run_tile(missing, 0, 2, jobs, {}), std::invalid_argument);
  std::string labels{'\0', '\0', '\x08', '\x01', 0, 0, 0, kImages};
  labels += std::string(kImages, 11);
  DatasetSpec wide = dataset_;
  wide.labels = folder_.write("wide", labels);
  EXPECT_THAT(evaluator.run_tile(wide, 0, 2, jobs, {}).results[0].error, HasSubstr("the label 11"));
}

TEST_F(EvaluatorTest, BrokenPicturesAreWrongAndNamed) {
  folder_.add_picture("rgb.png", "val/n01440764/a.png");
  folder_.write("val/n01440764/b.png", "no picture");
  folder_.add_picture("rgb.png", "val/n01440764/c.png");
  const DatasetSpec pictures{"image_folder", folder_.path() + "/val", "", "none", kFileOrder};
  Evaluator evaluator({});
  const Job with = job("shufflenet_g1_w1", 4, 4);
  const Evaluator::TileJob tile_job{with, evaluator.prepare(with).ranges};
  const Evaluator::Tile tile = evaluator.run_tile(pictures, 0, 3, {tile_job, tile_job}, {});
  EXPECT_THAT(tile.broken, ElementsAre(HasSubstr("b.png")));
  EXPECT_EQ(tile.results[0].counts.num_images, 3);
  EXPECT_EQ(tile.results[0].counts.num_broken, 1);
  Digest whole;
  for (const std::int64_t index : {0, 2}) {
    whole += evaluator.run_tile(pictures, index, 1, {tile_job}, {}).results[0].counts.digest;
  }
  EXPECT_EQ(tile.results[0].counts.digest, whole);
  EXPECT_EQ(tile.results[1].counts.digest, whole);
}

TEST_F(EvaluatorTest, UnknownDevicesAreRefused) {
  EXPECT_THAT(error_of([] { Evaluator({.device = "abacus"}); }), HasSubstr("abacus"));
  std::string why_not;
  if (!cuda_usable(&why_not)) {
    EXPECT_FALSE(why_not.empty());
    EXPECT_THAT(error_of([] { Evaluator({.device = "cuda"}); }), HasSubstr(why_not));
    EXPECT_THAT(error_of([] { cuda_facts(); }), HasSubstr(why_not));
  }
}

TEST(DigestTest, HexIsReadBack) {
  const Digest digest{0x0123456789abcdefU, 0xfedcba9876543210U};
  EXPECT_EQ(digest.hex(), "fedcba98765432100123456789abcdef");
  EXPECT_EQ(Digest::from_hex(digest.hex()), digest);
  for (const char* text :
       {"", "fedcba98765432100123456789abcde", "fedcba98765432100123456789abcdef0",
        "fedcba9876543210012345678gabcdef", "FEDCBA98765432100123456789abcdef",
        "-edcba98765432100123456789abcdef", "fedcba98765432100123456789ABCDEF"}) {
    EXPECT_THROW(Digest::from_hex(text), std::invalid_argument) << text;
  }
}

TEST(DigestTest, EachImageCountsWithItsIndex) {
  const std::vector<float> logits = {1.5F, -2.0F, 0.25F};
  EXPECT_NE(image_digest(logits, 0), image_digest(logits, 1));
  const std::vector<float> last_bit = {1.5F, -2.0F, 0.25F + 0x1p-25F};
  EXPECT_NE(image_digest(logits, 0), image_digest(last_bit, 0));
  // XXH3-128, seed 7, over the 12 bytes: python3 -c "import struct, xxhash;
  // print(xxhash.xxh3_128_hexdigest(struct.pack('<3f', 1.5, -2.0, 0.25), 7))"
  EXPECT_EQ(image_digest(logits, 7).hex(), "dafb962eb7b5385ac0e608ec18b18d8c");
}

}  // namespace
}  // namespace squant::eval
