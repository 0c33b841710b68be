// Jobs with --device cuda: on a GPU, and on one made of the host (host_gpu.h). What is stored of
// them is what the CPU stores.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/engine/torch_cuda.h"
#include "eval/evaluator.h"
#include "eval/weight_quantizer.h"
#include "tests/eval/cuda_fixture.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

constexpr std::int64_t kImages = 11;
constexpr const char* kNetwork = "fmnist_mobilenet";

class CudaEvaluatorTest : public CudaEngineTest {
 protected:
  CudaEvaluatorTest() {
    load_torch_cuda();  // before the CPU computes
    std::string images{'\0', '\0', '\x08', '\x03', 0, 0, 0, kImages, 0, 0, 0, 28, 0, 0, 0, 28};
    std::string labels{'\0', '\0', '\x08', '\x01', 0, 0, 0, kImages};
    std::mt19937 random(3);
    for (std::int64_t i = 0; i < kImages * 28 * 28; ++i) images += static_cast<char>(random());
    for (std::int64_t i = 0; i < kImages; ++i) labels += static_cast<char>(i % 10);
    dataset_ = {"idx", folder_.write("images", images), folder_.write("labels", labels), "",
                kFileOrder};
    checkpoint_ = folder_.path() + "/weights.safetensors";
    write_safetensors(checkpoint_, generated_state_dict(model_info(kNetwork).build()));
  }

  Job job(int weight_bits, int activation_bits) const {
    Job result;
    result.model = kNetwork;
    result.checkpoint = checkpoint_;
    result.checkpoint_sha256 = sha256_file(checkpoint_);
    result.weight_bits = weight_bits;
    result.activation_bits = activation_bits;
    result.sigma = 12;
    result.calibration_images = 2;
    return result;
  }

  TestFolder folder_;
  DatasetSpec dataset_;
  std::string checkpoint_;
};

TEST_F(CudaEvaluatorTest, EveryJobOfATileHasTheCpusCountsAndDigest) {
  Evaluator cpu({});
  std::vector<Evaluator::TileJob> jobs;
  for (const auto& [weight_bits, activation_bits] : {std::pair(4, 4), {8, 8}, {4, 0}}) {
    const Job of = job(weight_bits, activation_bits);
    jobs.push_back({of, cpu.prepare(of).ranges});
  }
  for (const std::int64_t budget :
       {std::int64_t{0}, std::int64_t{4 * 28 * 28}, std::int64_t{1} << 30}) {
    SCOPED_TRACE(budget);
    Evaluator gpu({.device = "cuda", .batch_size = 3, .memory_budget = budget});
    for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>(0, 8), {8, 3}}) {
      const Evaluator::Tile expected = cpu.run_tile(dataset_, first, count, jobs, {});
      const Evaluator::Tile got = gpu.run_tile(dataset_, first, count, jobs, {});
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        EXPECT_EQ(got.results[i].error, "");
        EXPECT_EQ(got.results[i].counts.outcomes, expected.results[i].counts.outcomes);
        EXPECT_EQ(got.results[i].counts.has_digest, expected.results[i].counts.has_digest);
        EXPECT_EQ(got.results[i].counts.digest, expected.results[i].counts.digest);
      }
    }
  }
}

TEST_F(CudaEvaluatorTest, PreparesOnTheGpuWhatTheCpuPrepares) {
  const Preparation cpu = Evaluator({}).prepare(job(4, 4));
  const Preparation gpu = Evaluator({.device = "cuda"}).prepare(job(4, 4));
  EXPECT_EQ(cpu.quantize_device, "cpu");
  EXPECT_EQ(gpu.quantize_device, "cuda");
  EXPECT_GT(gpu.quantize_ms, 0);
  ASSERT_EQ(gpu.layers.size(), cpu.layers.size());
  for (std::size_t i = 0; i < cpu.layers.size(); ++i) {
    EXPECT_GT(gpu.layers[i].quantize_ms, 0);
    EXPECT_EQ(gpu.ranges[i].max, cpu.ranges[i].max);
    EXPECT_EQ(gpu.layers[i].errors->c->squared, cpu.layers[i].errors->c->squared);
  }
}

TEST_F(CudaEvaluatorTest, CodesAreTheCpusInEveryMode) {
  const Model model = make_model(kNetwork, generated_state_dict(model_info(kNetwork).build()), "");
  WeightQuantizer quantizer(device_);
  for (const int bits : {2, 4, 8}) {
    for (const quant::Mode mode :
         {quant::Mode::kE, quant::Mode::kEK, quant::Mode::kEC, quant::Mode::kEKC}) {
      const quant::SquantOptions options{.bits = bits, .mode = mode};
      const MeasuredWeights got = quantizer.measure(model, options, 1);
      const QuantizedWeights expected = quantize_weights(model, options);
      EXPECT_EQ(got.device, "cuda");
      for (std::size_t i = 0; i < expected.layers.size(); ++i) {
        EXPECT_EQ(got.weights.layers[i].codes, expected.layers[i].codes);
        EXPECT_EQ(got.weights.layers[i].scale, expected.layers[i].scale);
        EXPECT_EQ(got.weights.layers[i].zero_point, expected.layers[i].zero_point);
      }
    }
  }
}

TEST_F(CudaEvaluatorTest, CodesAreTheCpusForEveryNetworkOfThePaper) {
  WeightQuantizer quantizer(device_);
  for (const char* name :
       {"resnet18", "resnet50", "inceptionv3", "sqnxt23_w2", "shufflenet_g1_w1"}) {
    SCOPED_TRACE(name);
    const Model model = make_model(name, generated_state_dict(model_info(name).build()), "");
    const MeasuredWeights got = quantizer.measure(model, {.bits = 4}, 0);
    const QuantizedWeights expected = quantize_weights(model, {.bits = 4});
    EXPECT_EQ(got.device, "cuda");
    for (std::size_t i = 0; i < expected.layers.size(); ++i) {
      EXPECT_EQ(got.weights.layers[i].codes, expected.layers[i].codes);
    }
  }
}

}  // namespace
}  // namespace squant::eval
