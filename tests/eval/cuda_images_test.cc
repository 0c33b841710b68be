// Images that stay on the GPU, and batches that are replayed as graphs: on a GPU, and on one made
// of the host (host_gpu.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/eval/cuda_fixture.h"

namespace squant::eval {
namespace {

// Batches of two: the seven images are three full ones and a partial one.
constexpr std::int64_t kBatch = 2;

const SmallNetwork& network() {
  static const SmallNetwork instance("fmnist_mobilenet");
  return instance;
}

TEST_F(CudaEngineTest, KeptAndUploadedImagesGiveTheCpusLogits) {
  const auto engine = network().on(*device_, {.max_images = kBatch});
  for (const std::int64_t num_kept : {0, 3, 7, 100}) {
    SCOPED_TRACE(num_kept);
    const auto images = network().held_by(*device_, num_kept);
    EXPECT_EQ(images->num_kept(), std::min(num_kept, SmallNetwork::kImages));
    EXPECT_EQ(network().run(*engine, *images, 4, 2), network().expected_of(4, 2));
    for (int job = 0; job < 3; ++job) {
      EXPECT_EQ(network().run(*engine, *images), network().expected);
    }
    EXPECT_EQ(network().run(*engine, *images, 2, 5), network().expected_of(2, 5));
  }
}

TEST_F(CudaEngineTest, ReplayedBatchesGiveTheLogitsOfPlainLaunches) {
  const auto plain = network().on(*device_, {.max_images = kBatch, .graphs = false});
  const auto replayed = network().on(*device_, {.max_images = kBatch, .graphs = true});
  const auto images = network().held_by(*device_, SmallNetwork::kImages);
  const std::vector<float> input = calibration_noise(5 * network().image_bytes());
  const std::vector<float> expected = network().quantized.run_input(*plain, input);
  for (int job = 0; job < 4; ++job) {
    EXPECT_EQ(network().run(*replayed, *images), network().expected);
    EXPECT_EQ(network().run(*plain, *images), network().expected);
    EXPECT_EQ(network().quantized.run_input(*replayed, input), expected);
  }
}

TEST_F(CudaEngineTest, EnginesTakeTurnsWithOneMemory) {
  const SmallNetwork other("fmnist_resnet");
  const auto first = network().on(*device_, {.max_images = kBatch});
  const auto first_images = network().held_by(*device_, SmallNetwork::kImages);
  EXPECT_EQ(network().run(*first, *first_images), network().expected);
  const auto second = other.on(*device_, {.max_images = 3 * kBatch});  // moves the shared memory
  const auto second_images = other.held_by(*device_, SmallNetwork::kImages);
  for (int turn = 0; turn < 3; ++turn) {
    EXPECT_EQ(other.run(*second, *second_images), other.expected);
    EXPECT_EQ(network().run(*first, *first_images), network().expected);
  }
}

TEST_F(CudaEngineTest, ImagesThatAreNotThereAreRefused) {
  const auto engine = network().on(*device_, {.max_images = kBatch});
  const auto images = network().held_by(*device_, SmallNetwork::kImages);
  EXPECT_THROW(network().run(*engine, *images, 6, 2), std::invalid_argument);
  EXPECT_THROW(network().run(*engine, *images, -1, 2), std::invalid_argument);
  const auto smaller =
      device_->hold_images(network().pixels.data(), 7, network().image_bytes() - 1, 0);
  EXPECT_THROW(network().run(*engine, *smaller, 0, 1), std::invalid_argument);
}

}  // namespace
}  // namespace squant::eval
