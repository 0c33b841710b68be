// What an operation of a GPU network is said to do, and how long it takes: on a GPU, and on one
// made of the host (host_gpu.h), whose times mean nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/eval/cuda_fixture.h"

namespace squant::eval {
namespace {

constexpr int kRepeats = 2;

const SmallNetwork& network() {
  static const SmallNetwork instance("fmnist_mobilenet");
  return instance;
}

// Multiplications of an image, from the graph alone.
std::vector<std::int64_t> macs_of_layers(const Graph& graph) {
  std::vector<std::int64_t> macs;
  for (const int index : graph.layers()) {
    const Node& node = graph.node(index);
    const std::int64_t inputs = graph.node(node.inputs[0]).shape.channels / node.groups;
    macs.push_back(node.shape.size() * inputs * node.window.kernel_h * node.window.kernel_w);
  }
  return macs;
}

TEST_F(CudaEngineTest, EveryLayerIsTimedOnceInOrder) {
  const auto engine = network().on(*device_, {});
  const CudaNetworkTimes times =
      engine->time_operations(network().pixels.data(), SmallNetwork::kImages, kRepeats);
  EXPECT_EQ(times.images, SmallNetwork::kImages);
  EXPECT_GT(times.network_us, 0);
  std::vector<std::int64_t> macs;
  for (const CudaOperationTime& time : times.operations) {
    EXPECT_GT(time.time_us, 0) << time.facts.kind;
    EXPECT_GT(time.facts.image_bytes, 0) << time.facts.kind;
    if (time.layer < 0) continue;
    EXPECT_EQ(time.layer, std::ssize(macs));
    EXPECT_EQ(time.facts.kernel, engine->layer_facts()[macs.size()].kernel);
    macs.push_back(time.facts.macs);
  }
  EXPECT_EQ(macs, macs_of_layers(network().quantized.model.graph));
}

TEST_F(CudaEngineTest, ABatchIsAtMostWhatTheEngineTakes) {
  const auto engine = network().on(*device_, {.max_images = 2});
  EXPECT_EQ(engine->max_batch(), 2);
  EXPECT_EQ(engine->time_operations(network().pixels.data(), SmallNetwork::kImages, 1).images, 2);
}

TEST_F(CudaEngineTest, TimingLeavesTheLogitsAsTheyWere) {
  const auto engine = network().on(*device_, {.max_images = 2});
  const auto images = network().held_by(*device_, SmallNetwork::kImages);
  EXPECT_EQ(network().run(*engine, *images), network().expected);
  engine->time_operations(network().pixels.data() + network().image_bytes(), 2, kRepeats);
  EXPECT_EQ(network().run(*engine, *images), network().expected);
}

TEST_F(CudaEngineTest, CopiesAreTimed) {
  for (const auto from : {CudaDevice::CopyFrom::kMemory, CudaDevice::CopyFrom::kCaches}) {
    EXPECT_GT(device_->copy_ms(1001, kRepeats, from), 0);
    EXPECT_GT(device_->copy_ms((std::int64_t{1} << 20) + 1, kRepeats, from), 0);
  }
}

}  // namespace
}  // namespace squant::eval
