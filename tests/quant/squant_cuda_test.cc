// The CUDA kernel against the CPU: equal codes, scales and zero points, for every mode and every
// kind of row.
#include "quant/squant_cuda.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "quant/cuda_check.h"

namespace squant::quant {
namespace {

// A network's tensors in one memory, host or device: weights, scales and zero points, codes.
struct Network {
  std::vector<WeightShape> shapes;
  std::int64_t num_weights = 0;
  std::int64_t num_channels = 0;

  explicit Network(std::vector<WeightShape> all) : shapes(std::move(all)) {
    for (const WeightShape& shape : shapes) {
      num_weights += shape.size();
      num_channels += shape.out;
    }
  }
  std::vector<SquantTensor> tensors(const float* weights, std::int8_t* codes, float* scale,
                                    float* zero_point) const {
    std::vector<SquantTensor> result;
    for (const WeightShape& shape : shapes) {
      result.push_back(
          {"tensor" + std::to_string(result.size()), shape, weights, codes, scale, zero_point});
      weights += shape.size();
      codes += shape.size();
      scale += shape.out;
      zero_point += shape.out;
    }
    return result;
  }
};

struct Output {
  std::vector<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<float> zero_point;
  explicit Output(const Network& network)
      : codes(static_cast<std::size_t>(network.num_weights), 99),
        scale(static_cast<std::size_t>(network.num_channels)),
        zero_point(static_cast<std::size_t>(network.num_channels)) {}
};

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : bytes_(values.size() * sizeof(T)) {
    SQ_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&data_), bytes_));
    SQ_CUDA_CHECK(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() { return data_; }
  void read(std::vector<T>& values) {
    SQ_CUDA_CHECK(cudaMemcpy(values.data(), data_, bytes_, cudaMemcpyDeviceToHost));
  }

 private:
  T* data_ = nullptr;
  std::size_t bytes_;
};

Output on_gpu(const Network& network, const std::vector<float>& weights,
              const SquantOptions& options) {
  Output output(network);
  DeviceArray<float> device_weights(weights);
  DeviceArray<std::int8_t> codes(output.codes);
  DeviceArray<float> scale(output.scale);
  DeviceArray<float> zero_point(output.zero_point);
  SquantCuda squant(
      network.tensors(device_weights.data(), codes.data(), scale.data(), zero_point.data()),
      options);
  squant.enqueue(nullptr);
  squant.finish(nullptr);
  codes.read(output.codes);
  scale.read(output.scale);
  zero_point.read(output.zero_point);
  return output;
}

Output on_cpu(const Network& network, const std::vector<float>& weights,
              const SquantOptions& options) {
  Output output(network);
  squant_cpu(network.tensors(weights.data(), output.codes.data(), output.scale.data(),
                             output.zero_point.data()),
             options);
  return output;
}

class SquantCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!cuda_available(&why_not)) GTEST_SKIP() << "no GPU to run on: " << why_not;
  }
};

TEST_F(SquantCudaTest, CodesEqualTheCpusForEveryModeAndShape) {
  // Short and long rows, every kernel size of the paper's networks, and one row beyond shared
  // memory.
  const Network network({{64, 3, 49},
                         {64, 64, 9},
                         {512, 512, 9},
                         {37, 144, 1},
                         {96, 1, 25},
                         {24, 16, 7},
                         {10, 2048, 1},
                         {5, 1, 1},
                         {3, 60000, 1},
                         {2, 8000, 9}});
  constexpr std::uint32_t kSeed = 7;
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> weights(static_cast<std::size_t>(network.num_weights));
  for (float& weight : weights) weight = normal(random);
  for (const int bits : {2, 3, 4, 6, 8}) {
    for (const Mode mode : {Mode::kE, Mode::kEK, Mode::kEC, Mode::kEKC}) {
      for (const Rounding rounding : {Rounding::kCurrent, Rounding::kPaper}) {
        SquantOptions options;
        options.bits = bits;
        options.mode = mode;
        options.rounding = rounding;
        const Output gpu = on_gpu(network, weights, options);
        const Output cpu = on_cpu(network, weights, options);
        ASSERT_EQ(gpu.scale, cpu.scale) << "seed " << kSeed;
        ASSERT_EQ(gpu.zero_point, cpu.zero_point);
        ASSERT_EQ(gpu.codes, cpu.codes)
            << mode_name(mode) << ' ' << rounding_name(rounding) << ' ' << bits << " bits";
      }
    }
  }
}

TEST_F(SquantCudaTest, ANotFiniteWeightIsNamed) {
  const Network network({{4, 8, 9}, {3, 2000, 1}});
  std::vector<float> weights(static_cast<std::size_t>(network.num_weights), 0.25F);
  weights[4 * 8 * 9 + 2 * 2000 + 5] = std::numeric_limits<float>::quiet_NaN();
  try {
    on_gpu(network, weights, {});
    FAIL() << "a NaN went unnoticed";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("tensor1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("channel 2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace squant::quant
