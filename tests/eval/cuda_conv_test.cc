// Convolutions as the CUDA kernels compute them, on the host: element by element against plain
// sums, and in tensor-core tiles against the elements.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "eval/cuda/layer_operations.h"
#include "tests/eval/cuda_host.h"
#include "tests/eval/int_conv_cases.h"

namespace squant::eval::cuda {
namespace {

// clang-format off
const Case kTileCases[] = {
    {"several_tiles", {64, 14, 14}, 150, Window::square(3, 1, 1), 1, unsigned_format(8), -128, 127, {9}},
    {"whole_chunks_strided", {96, 15, 13}, 72, Window::square(3, 2, 1), 1, signed_format(8), -128, 127, {0, 77}},
    {"seven_by_seven", {16, 15, 15}, 24, Window::square(7, 2, 3), 1, unsigned_format(8), -128, 127},
    {"odd_channels", {19, 9, 7}, 70, Window::square(3, 1, 1), 1, unsigned_format(8), -128, 127, {5}},
    {"words_of_channels", {20, 9, 7}, 33, Window::square(3, 1, 1), 1, unsigned_format(8), -8, 7},
    {"groups_of_chunks", {96, 8, 8}, 210, Window::square(3, 1, 1), 3, unsigned_format(8), -128, 127, {1, -100}},
    {"groups_of_five", {15, 8, 8}, 9, Window::square(3, 1, 1), 3, signed_format(4), -8, 7},
    {"single_position", {2048, 1, 1}, 100, Window::square(1), 1, unsigned_format(8), -128, 127, {100}},
    {"constant_channel", {64, 3, 3}, 4, Window::square(3, 1, 1), 1, unsigned_format(8), -128, -128, {1.275e10F, 0}},
    {"beyond_32_bits", {70000, 1, 1}, 2, Window::square(1), 1, unsigned_format(8), 127, 127, {0}, true},
};
// clang-format on

std::vector<Case> all_cases() {
  std::vector<Case> cases(std::begin(kCases), std::end(kCases));
  cases.insert(cases.end(), std::begin(kTileCases), std::end(kTileCases));
  return cases;
}

constexpr std::int64_t kImages = 3;
constexpr std::int64_t kGuard = 64;  // bytes behind every tensor that nobody may write

// A layer's operation and its memory: input, residual, float32 values and two sets of codes.
class Layer {
 public:
  // full_epilogue: batch norm, residual, two clamps, codes; else values alone, the sums themselves.
  Layer(const Case& of, bool full_epilogue) : data_(of) {
    const Shape& out = data_.problem().output;
    const auto outputs = static_cast<std::size_t>(out.channels);
    const std::int64_t elements = kImages * out.size();
    LayerSource source{data_.problem(),
                       std::vector<float>(outputs, 1.0F),
                       {std::vector<double>(outputs, 1.0), std::vector<double>(outputs, 0.0)},
                       {},
                       place(kImages * data_.problem().input.size())};
    source.out.values = values_ = place(4 * elements);
    if (full_epilogue) {
      for (std::size_t o = 0; o < outputs; ++o) {
        source.real.multiplier[o] = 1e-4 * static_cast<double>(o % 7 + 1);
        source.real.addend[o] = 0.3 * static_cast<double>(o % 5);
      }
      source.out.before_add = {0, 6};
      source.out.residual = residual_ = place(4 * elements);
      source.out.after_add = {0.5F, 11};
      codes_ = {place(elements), place(elements)};
      source.out.codes = tables_.add(std::vector<CodeOutput>{{codes_[0], {20, 3, 0, 255, 0}},
                                                             {codes_[1], {5.5F, -1, -8, 7, 0}}});
      source.out.num_codes = 2;
    }
    operation_ = code_layer(source, 1.0, true, tables_);
    constants_ = tables_.take();
    arena_.resize(static_cast<std::size_t>(size_));
    fill(elements);
  }

  const CaseData& data() const { return data_; }
  const Operation& operation() const { return operation_; }

  // The bytes of the arena after the operation.
  std::vector<std::byte> run_elements() {
    return run(
        [](const auto& op, const Memory& memory) { cuda::run_elements(op, memory, kImages); });
  }
  std::vector<std::byte> run_tiles() {
    const auto& conv = std::get<ConvOp>(operation_);
    return run([&](const auto&, const Memory& memory) {
      EXPECT_TRUE(cuda::run_tiles(conv, memory, kImages)) << "a copy was not aligned";
    });
  }
  std::vector<float> first_image(const std::vector<std::byte>& arena) const {
    std::vector<float> values(static_cast<std::size_t>(data_.problem().output.size()));
    std::memcpy(values.data(), arena.data() + values_, values.size() * sizeof(float));
    return values;
  }

 private:
  std::int64_t place(std::int64_t size_bytes) {
    const std::int64_t offset = size_;
    size_ += (size_bytes + kGuard + 63) / 64 * 64;
    return offset;
  }

  void fill(std::int64_t elements) {
    std::memset(arena_.data(), 0xA5, arena_.size());
    for (std::int64_t image = 0; image < kImages; ++image) {
      const CaseData other(data_.of(), static_cast<unsigned>(image + 1));
      std::memcpy(arena_.data() + image * data_.problem().input.size(), other.stored().data(),
                  other.stored().size());
    }
    std::mt19937 random(3);
    for (std::int64_t i = 0; residual_ >= 0 && i < elements; ++i) {
      const float value = static_cast<float>(random() % 2000) * 0.007F - 7;
      std::memcpy(arena_.data() + residual_ + 4 * i, &value, sizeof value);
    }
  }

  template <class Run>
  std::vector<std::byte> run(const Run& how) {
    AlignedBuffer constants(constants_.size());
    std::memcpy(constants.data(), constants_.data(), constants_.size());
    AlignedBuffer arena(arena_.size());
    std::memcpy(arena.data(), arena_.data(), arena_.size());
    const Memory memory{reinterpret_cast<const unsigned char*>(constants.data()),
                        reinterpret_cast<unsigned char*>(arena.data()), nullptr, nullptr};
    std::visit([&](const auto& op) { how(op, memory); }, operation_);
    return {arena.data(), arena.data() + arena.size()};
  }

  CaseData data_;
  Tables tables_;
  Operation operation_;
  std::vector<std::byte> constants_;
  AlignedBuffer arena_;
  std::int64_t size_ = 0;
  std::int64_t values_ = -1, residual_ = -1;
  std::vector<std::int64_t> codes_;
};

class CudaConvTest : public testing::TestWithParam<Case> {};

TEST_P(CudaConvTest, ElementsAreTheIntegerSums) {
  Layer layer(GetParam(), false);
  EXPECT_EQ(layer.first_image(layer.run_elements()), layer.data().expected());
}

// Sums and epilogue, and not one byte more.
TEST_P(CudaConvTest, TilesWriteWhatTheElementsWrite) {
  for (const bool full_epilogue : {false, true}) {
    Layer layer(GetParam(), full_epilogue);
    const auto* conv = std::get_if<ConvOp>(&layer.operation());
    if (conv == nullptr || !conv->tensor_cores) {
      const std::string name = GetParam().name;
      EXPECT_TRUE(name.find("depthwise") != std::string::npos || name == "shifted_padded" ||
                  name == "beyond_32_bits")
          << "is not computed in tiles";
      return;
    }
    EXPECT_EQ(layer.run_tiles(), layer.run_elements()) << "full epilogue: " << full_epilogue;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaConvTest, testing::ValuesIn(all_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

struct PixelCase {
  const char* name;
  Shape input;
  std::int64_t outputs;
  Window window;
  std::vector<float> zero_points;
};

class CudaPixelTest : public testing::TestWithParam<PixelCase> {};

TEST_P(CudaPixelTest, TilesWriteWhatTheElementsWrite) {
  const PixelCase& of = GetParam();
  const CaseData data(
      {of.name, of.input, of.outputs, of.window, 1, unsigned_format(8), -128, 127, of.zero_points});
  const Shape& out = data.problem().output;
  ModelInfo info;
  info.mean.assign(static_cast<std::size_t>(of.input.channels), 0.45);
  info.stddev.assign(static_cast<std::size_t>(of.input.channels), 0.22);
  const auto outputs = static_cast<std::size_t>(of.outputs);
  LayerSource source{data.problem(),
                     std::vector<float>(outputs, 31.0F),
                     {std::vector<double>(outputs, 0.7), std::vector<double>(outputs, -0.2)},
                     {},
                     -1};
  source.out.values = 0;
  Tables tables;
  const auto op = std::get<PixelConvOp>(pixel_layer(source, info, true, tables));
  ASSERT_EQ(op.tensor_cores, of.window.kernel_h <= 8);
  if (!op.tensor_cores) return;
  const std::vector<std::byte> constants = tables.take();
  AlignedBuffer aligned(constants.size());
  std::memcpy(aligned.data(), constants.data(), constants.size());
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(kImages * of.input.size()));
  std::mt19937 random(5);
  for (std::uint8_t& pixel : pixels) pixel = static_cast<std::uint8_t>(random());

  std::vector<float> by_elements(static_cast<std::size_t>(kImages * out.size()) + kGuard, -7);
  std::vector<float> by_tiles = by_elements;
  Memory memory{reinterpret_cast<const unsigned char*>(aligned.data()), nullptr, pixels.data(),
                nullptr};
  memory.arena = reinterpret_cast<unsigned char*>(by_elements.data());
  run_elements(op, memory, kImages);
  memory.arena = reinterpret_cast<unsigned char*>(by_tiles.data());
  EXPECT_TRUE(run_tiles(op, memory, kImages));
  EXPECT_EQ(by_tiles, by_elements);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CudaPixelTest,
    testing::Values(PixelCase{"seven_by_seven", {3, 29, 31}, 64, Window::square(7, 2, 3), {0}},
                    PixelCase{"wide_weights", {3, 29, 31}, 70, Window::square(3, 2, 1), {9, -130}},
                    PixelCase{"gray", {1, 28, 28}, 18, Window::square(3, 1, 1), {100}},
                    PixelCase{"no_padding", {3, 21, 19}, 32, Window::square(3, 2), {2}},
                    PixelCase{"eight_by_eight", {4, 21, 19}, 32, Window::square(8, 2, 4), {2}},
                    PixelCase{"nine_by_nine", {3, 21, 19}, 32, Window::square(9, 2, 4), {2}},
                    PixelCase{"asymmetric", {3, 20, 20}, 32, asymmetric(3, 2, {0, 0, 1, 1}), {2}}),
    [](const auto& test) { return std::string(test.param.name); });

// A tile reads two steps ahead of what it multiplies: that the host's late copies notice a missing
// wait is what the tests above rely on.
TEST(HostWarpTest, CopiesHappenWhenTheyAreWaitedFor) {
  HostBlock block(1);
  HostWarp warp(block, 0);
  alignas(16) unsigned char from[16] = {7};
  alignas(16) unsigned char to[16] = {};
  warp.copy16(0, to, from, 16);
  warp.commit();
  warp.commit();
  warp.wait<2>();
  EXPECT_EQ(to[0], 0);
  warp.wait<1>();
  EXPECT_EQ(to[0], 7);
}

}  // namespace
}  // namespace squant::eval::cuda
