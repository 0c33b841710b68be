// What a GPU is asked to do, counted by one made of the host: uploads, waits, launches, graphs.
#include "tests/eval/host_gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/engine/quantized_weights.h"
#include "tests/eval/cuda_fixture.h"

namespace squant::eval {
namespace {

constexpr std::int64_t kBatch = 2;
constexpr std::int64_t kImages = SmallNetwork::kImages;

const SmallNetwork& network() {
  static const SmallNetwork instance("fmnist_mobilenet");
  return instance;
}

class HostGpuTest : public CudaEngineTest {
 protected:
  void SetUp() override {
    host_gpu::reset(1);
    CudaEngineTest::SetUp();
    engine_ = network().on(*device_, {.max_images = kBatch});
  }
  // Runs all images and returns the bytes that were uploaded for it.
  std::int64_t uploaded_by_run(CudaImages& images) {
    const std::int64_t before = host_gpu::state().uploaded_bytes;
    EXPECT_EQ(network().run(*engine_, images), network().expected);
    return host_gpu::state().uploaded_bytes - before;
  }
  std::unique_ptr<CudaEngine> engine_;
};

TEST_F(HostGpuTest, EveryOrderThatTheApiAllowsGivesTheSameLogits) {
  const auto engine = network().on(*device_, {.max_images = 1});
  for (unsigned seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    host_gpu::reset(seed);
    const auto images = network().held_by(*device_, seed / 8);
    for (int job = 0; job < 2; ++job) {
      ASSERT_EQ(network().run(*engine, *images), network().expected);
    }
  }
}

// Its tables are copied on the default stream, which the engines' streams do not wait for.
TEST_F(HostGpuTest, SquantReadsItsTablesWhenTheyHaveArrived) {
  const Model& model = network().quantized.model;
  for (unsigned seed = 0; seed < 16; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    host_gpu::reset(seed);
    QuantizedWeights got = make_quantized_weights(model, 4);
    device_->squant(squant_tensors(model, got), {.bits = 4}, 0);
    for (std::size_t i = 0; i < got.layers.size(); ++i) {
      ASSERT_EQ(got.layers[i].codes, network().quantized.weights.layers[i].codes);
    }
  }
}

TEST_F(HostGpuTest, AKeptImageIsUploadedOnceForAllJobs) {
  const auto all = network().held_by(*device_, kImages);
  EXPECT_EQ(uploaded_by_run(*all), kImages * network().image_bytes());
  EXPECT_EQ(uploaded_by_run(*all), 0);
  const auto some = network().held_by(*device_, 3);
  EXPECT_EQ(uploaded_by_run(*some), kImages * network().image_bytes());
  EXPECT_EQ(uploaded_by_run(*some), (kImages - 3) * network().image_bytes());
}

TEST_F(HostGpuTest, AQuarterOfTheFreeMemoryKeepsImages) {
  host_gpu::State& state = host_gpu::state();
  state.memory_bytes =
      state.allocated_bytes + static_cast<std::size_t>(4 * 3 * network().image_bytes() + 100);
  const auto images = network().held_by(*device_, kImages);
  EXPECT_EQ(images->num_kept(), 3);
  state.memory_bytes *= 2;  // for what a run needs besides
  EXPECT_EQ(network().run(*engine_, *images), network().expected);
}

TEST_F(HostGpuTest, WithoutMemoryToKeepImagesEachJobUploadsThem) {
  host_gpu::state().largest_allocation = 10;
  const auto images = network().held_by(*device_, kImages);
  host_gpu::state().largest_allocation = SIZE_MAX;
  EXPECT_EQ(images->num_kept(), 0);
  for (int job = 0; job < 2; ++job) {
    EXPECT_EQ(uploaded_by_run(*images), kImages * network().image_bytes());
  }
}

TEST_F(HostGpuTest, AJobOnKeptImagesWaitsOnce) {
  const auto images = network().held_by(*device_, kImages);
  network().run(*engine_, *images);
  const std::int64_t before = host_gpu::state().num_waits;
  network().run(*engine_, *images);
  EXPECT_EQ(host_gpu::state().num_waits, before + 1);
}

TEST_F(HostGpuTest, ABatchIsRecordedWhenItComesASecondTimeAndThenReplayed) {
  const auto images = network().held_by(*device_, kImages);
  const host_gpu::State& state = host_gpu::state();
  const std::int64_t before = state.num_launches;
  network().run(*engine_,
                *images);  // full batches: plain, recorded, replayed; a partial one: plain
  const std::int64_t kernels = (state.num_launches - before) / 2;
  EXPECT_GT(kernels, 10);
  EXPECT_EQ(state.num_recorded, kernels);
  EXPECT_EQ(state.num_replays, 2);
  network().run(*engine_, *images);
  network().run(*engine_, *images);
  EXPECT_EQ(state.num_launches, before + 2 * kernels);
  EXPECT_EQ(state.num_recorded, 2 * kernels);
  EXPECT_EQ(state.num_replays, 2 + 4 + 4);
}

TEST_F(HostGpuTest, WithoutGraphsKernelsAreLaunched) {
  const auto images = network().held_by(*device_, kImages);
  host_gpu::state().refuses_graphs = true;
  for (int job = 0; job < 2; ++job) {
    EXPECT_EQ(network().run(*engine_, *images), network().expected);
  }
  EXPECT_EQ(host_gpu::state().num_replays, 0);
  EXPECT_GT(host_gpu::state().num_recorded, 0);  // it was tried
}

TEST_F(HostGpuTest, TheEnvironmentSwitchesGraphsOff) {
  setenv("SQUANT_CUDA_GRAPHS", "0", 1);
  const auto device = open_cuda_device();
  unsetenv("SQUANT_CUDA_GRAPHS");
  const auto engine = network().on(*device, {.max_images = kBatch});
  const auto images = network().held_by(*device, kImages);
  for (int job = 0; job < 2; ++job) {
    EXPECT_EQ(network().run(*engine, *images), network().expected);
  }
  EXPECT_EQ(host_gpu::state().num_recorded, 0);
}

}  // namespace
}  // namespace squant::eval
