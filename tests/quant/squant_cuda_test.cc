// The CUDA kernel against the CPU: equal codes, scales and zero points, for every mode and every
// kind of row.
#include "quant/squant_cuda.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "quant/cuda_check.h"
#include "tests/quant/draw_weights.h"
#include "tests/quant/golden_codes.h"

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

class SquantCudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!cuda_available(&why_not)) GTEST_SKIP() << "no GPU to run on: " << why_not;
  }
};

// Rows on both sides of every border: a pack, a warp, a warp's share of shared memory, a thread's
// marks, all of shared memory. Rows of odd length put what follows at every alignment.
std::vector<WeightShape> shapes_of_every_kind() {
  std::vector<WeightShape> shapes;
  for (const std::int64_t in :
       {1,    2,    3,    4,    31,   32,   33,   127,  128,  129,  511,   1023,  1024, 1025,
        1151, 1152, 1153, 2048, 4095, 4096, 4097, 8191, 8192, 8193, 25088, 37200, 60000}) {
    shapes.push_back({3, in, 1});
  }
  for (const std::int64_t in : {1,    2,    3,    4,    31,   32,   33,   127,  128,  129,  511,
                                1023, 1024, 1025, 1151, 1152, 1153, 2048, 4096, 4097, 8192, 8193}) {
    shapes.push_back({3, in, 1});
  }
  for (const std::int64_t in : {1, 2, 3, 16, 31, 32, 33, 127, 128, 129, 256, 512})
    shapes.push_back({5, in, 9});
  for (const std::int64_t kernel : {2, 3, 7, 25, 49}) {
    for (const std::int64_t in : {1, 3, 24, 46, 47, 200}) shapes.push_back({2, in, kernel});
  }
  for (const std::int64_t in : {45200, 60000}) shapes.push_back({1, in, 1});
  for (const std::int64_t in : {4600, 8000}) shapes.push_back({2, in, 9});
  shapes.push_back({300, 64, 9});
  shapes.push_back({37, 144, 1});
  return shapes;
}

// Every tensor of a kind of its own, so that a few draws show every shape with every kind.
std::vector<float> draw_network(std::mt19937& random, const Network& network, int first_kind) {
  std::vector<float> weights(static_cast<std::size_t>(network.num_weights));
  float* at = weights.data();
  int kind = first_kind % testing::kNumWeightKinds;
  for (const WeightShape& shape : network.shapes) {
    for (std::int64_t channel = 0; channel < shape.out; ++channel) {
      testing::draw_weights(random, static_cast<testing::WeightKind>(kind), at, shape.row());
      at += shape.row();
    }
    kind = (kind + 1) % testing::kNumWeightKinds;
  }
  return weights;
}

TEST_F(SquantCudaTest, CodesEqualTheCpusForEveryModeAndShape) {
  const Network network(shapes_of_every_kind());
  constexpr std::uint32_t kSeed = 7;
  std::mt19937 random(kSeed);
  int draw = 0;
  for (const int bits : {4, 2, 8, 3, 4, 6}) {
    for (const Rounding rounding : {Rounding::kCurrent, Rounding::kPaper}) {
      const std::vector<float> weights = draw_network(random, network, draw++);
      for (const Mode mode : {Mode::kE, Mode::kEK, Mode::kEC, Mode::kEKC}) {
        SquantOptions options;
        options.bits = bits;
        options.mode = mode;
        options.rounding = rounding;
        const Output gpu = on_gpu(network, weights, options);
        const Output cpu = on_cpu(network, weights, options);
        ASSERT_EQ(gpu.scale, cpu.scale) << "seed " << kSeed;
        ASSERT_EQ(gpu.zero_point, cpu.zero_point);
        for (std::size_t i = 0; i < cpu.codes.size(); ++i) {
          ASSERT_EQ(gpu.codes[i], cpu.codes[i])
              << "weight " << i << ' ' << mode_name(mode) << ' ' << rounding_name(rounding) << ' '
              << bits << " bits, draw " << draw;
        }
      }
    }
  }
}

TEST_F(SquantCudaTest, EveryGoldenCodeScaleAndZeroPointIsTheReferences) {
  const Golden& golden = Golden::get();
  GoldenCount count;
  for (const Config& config : configs()) {
    const std::vector<float> weights = golden.values<float>(config.weight);
    const Network network({weight_shape(golden.entries().at(config.weight).shape, config.weight)});
    const Output gpu = on_gpu(network, weights, config.options);
    compare_with_golden(config, gpu.codes, gpu.scale, gpu.zero_point, count);
  }
  EXPECT_EQ(count.num_equal, 16176);
  EXPECT_EQ(count.num_undecided, 600);
}

// A tensor's output in another form, byte by byte.
std::vector<std::int8_t> output_on_gpu(WeightShape shape, const std::vector<float>& weights,
                                       CudaOutput form, std::size_t bytes) {
  std::vector<std::int8_t> output(bytes);
  const std::vector<float> channels(static_cast<std::size_t>(shape.out));
  DeviceArray<float> device_weights(weights);
  DeviceArray<std::int8_t> device_output(output);
  DeviceArray<float> scale(channels);
  DeviceArray<float> zero_point(channels);
  const SquantTensor tensor{
      "tensor",         shape, device_weights.data(), device_output.data(), scale.data(),
      zero_point.data()};
  SquantCuda squant({&tensor, 1}, {}, form);
  squant.enqueue(nullptr);
  squant.finish(nullptr);
  device_output.read(output);
  return output;
}

TEST_F(SquantCudaTest, OtherOutputsHoldTheSameCodes) {
  for (const WeightShape shape : {WeightShape{7, 65, 9}, {5, 64, 9}, {3, 1500, 1}, {9, 1, 1}}) {
    const Network network({shape});
    std::mt19937 random(5);
    const std::vector<float> weights = draw_network(random, network, 0);
    Output cpu = on_cpu(network, weights, {});
    const auto row = static_cast<std::size_t>(shape.row());
    const auto row_bytes = (row + 1) / 2;

    const std::vector<std::int8_t> packed = output_on_gpu(
        shape, weights, CudaOutput::kPackedCodes, row_bytes * static_cast<std::size_t>(shape.out));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const int byte = packed[i / row * row_bytes + i % row / 2];
      ASSERT_EQ((i % row % 2 == 0 ? byte : byte >> 4) & 15, cpu.codes[i] & 15) << i;
    }

    std::vector<float> expected(weights.size());
    dequantize(network.tensors(weights.data(), cpu.codes.data(), cpu.scale.data(),
                               cpu.zero_point.data())[0],
               expected.data());
    const std::vector<std::int8_t> bytes =
        output_on_gpu(shape, weights, CudaOutput::kWeights, weights.size() * sizeof(float));
    std::vector<float> restored(weights.size());
    std::memcpy(restored.data(), bytes.data(), bytes.size());
    ASSERT_EQ(restored, expected);
  }
}

TEST_F(SquantCudaTest, PackedCodesOfMoreThanFourBitsAreRefused) {
  SquantOptions options;
  options.bits = 5;
  EXPECT_THROW(SquantCuda({}, options, CudaOutput::kPackedCodes), std::invalid_argument);
}

TEST_F(SquantCudaTest, ATensorWithoutMemoryIsRefused) {
  const SquantTensor tensor{"nowhere", {2, 3, 9}};
  try {
    SquantCuda({&tensor, 1}, {});
    FAIL() << "a null pointer went unnoticed";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("nowhere"), std::string::npos) << error.what();
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
