#include "eval/engine/int_conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "eval/engine/int_conv_onednn.h"
#include "eval/engine/int_conv_torch.h"
#include "tests/eval/int_conv_cases.h"

namespace squant::eval {
namespace {

constexpr SumKernel kAllKernels[] = {SumKernel::kInt8, SumKernel::kFloat32, SumKernel::kFloat64};

class IntConvTest : public testing::TestWithParam<Case> {};

TEST_P(IntConvTest, EveryKernelGivesTheIntegerSums) {
  const CaseData data(GetParam());
  const std::vector<float> expected = data.expected();
  int num_computed = 0;
  for (const SumKernel kernel : kAllKernels) {
    SCOPED_TRACE(sum_kernel_name(kernel));
    std::unique_ptr<IntConv> conv;
    try {
      conv = make_int_conv(data.problem(), kernel);
    } catch (const std::invalid_argument&) {
      continue;  // says itself that it is not exact here
    }
    ++num_computed;
    EXPECT_EQ(conv->kernel(), kernel);
    EXPECT_EQ(data.computed(*conv), expected);
    for (const float value : expected) {
      ASSERT_LE(std::abs(value), conv->bound() * (1 + 1e-6));
    }
  }
  EXPECT_GE(num_computed, 2);
  EXPECT_EQ(data.computed(*make_int_conv(data.problem())), expected);
}

INSTANTIATE_TEST_SUITE_P(Shapes, IntConvTest, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(IntConvRuleTest, EightBitUnitsComputeWhatTheyAddExactly) {
  if (!onednn::has_exact_int8()) {
    GTEST_SKIP() << "this CPU has no VNNI, or oneDNN is not there";
  }
  for (const char* name : {"pointwise", "linear", "three_by_three", "grouped", "depthwise",
                           "signed_padded", "shifted", "one_sided", "large_sums"}) {
    SCOPED_TRACE(name);
    const auto it = std::find_if(std::begin(kCases), std::end(kCases),
                                 [&](const Case& c) { return c.name == std::string(name); });
    EXPECT_EQ(make_int_conv(CaseData(*it).problem())->kernel(), SumKernel::kInt8);
  }
}

TEST(IntConvRuleTest, SumsBeyondFloat32StillCountEveryUnit) {
  // 7,000 products of 255 and 10 or 11: up to 19,635,000, above 2^24. Added in parts, and rounded
  // once.
  Case wide{"wide", {7000, 1, 1}, 2,   Window::square(1), 1, unsigned_format(8), 10,
            10,     {0, 1},       true};
  const CaseData data(wide);
  for (const SumKernel kernel : {SumKernel::kFloat32, SumKernel::kFloat64}) {
    EXPECT_EQ(data.computed(*make_int_conv(data.problem(), kernel)), data.expected())
        << sum_kernel_name(kernel);
  }
}

TEST(IntConvRuleTest, ConstantChannelsFarFromZeroAreExactOrRefused) {
  // All weights of a channel equal 0.5: its scale is 255 / 1e-8, its zero point 1.3e10.
  const Case constant{"layer7",           {64, 3, 3}, 4,    Window::square(3, 1, 1), 1,
                      unsigned_format(8), -128,       -128, {1.275e10F, 0}};
  const CaseData data(constant);
  EXPECT_EQ(data.computed(*make_int_conv(data.problem())), data.expected());
  EXPECT_EQ(data.computed(*make_int_conv(data.problem(), SumKernel::kFloat64)), data.expected());

  const Case absurd{"layer7", {64, 3, 3}, 4,      Window::square(3, 1, 1), 1, unsigned_format(8),
                    -128,     -128,       {1e30F}};
  try {
    make_int_conv(CaseData(absurd).problem());
    FAIL() << "a zero point of 1e30 was taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("layer7"));
    EXPECT_THAT(error.what(), testing::HasSubstr("channel 0"));
  }
}

TEST(IntConvRuleTest, RangesFarFromZeroAreRefused) {
  EXPECT_THROW(code_format({1.0F, 1e20F, 0, 255}), std::invalid_argument);
  const Case far{"far", {4600, 1, 1}, 2, Window::square(1), 1, {false, 0, 255, 8000000, 0}};
  const CaseData data(far);
  EXPECT_THROW(make_int_conv(data.problem()), std::invalid_argument);
}

TEST(CodeFormatTest, ValuesThatFitAByteAreStoredThemselves) {
  const CodeFormat plain = code_format({1.0F, 0.0F, 0, 255});
  EXPECT_EQ(std::tuple(plain.is_signed, plain.lo, plain.hi, plain.zero, plain.shift),
            std::tuple(false, 0, 255, 0, 0));
  const CodeFormat shifted = code_format({1.0F, 3.0F, 0, 15});
  EXPECT_EQ(std::tuple(shifted.is_signed, shifted.lo, shifted.hi, shifted.zero, shifted.shift),
            std::tuple(false, 3, 18, 0, 3));
  const CodeFormat small_signed = code_format({1.0F, 1.0F, -8, 7});
  EXPECT_EQ(std::tuple(small_signed.lo, small_signed.hi, small_signed.zero), std::tuple(-7, 8, 0));
  const CodeFormat wide_signed = code_format({1.0F, 1.0F, -128, 127});
  EXPECT_EQ(std::tuple(wide_signed.lo, wide_signed.hi, wide_signed.zero), std::tuple(-128, 127, 1));
}

// What stands in for oneDNN's float32 convolution where there is no oneDNN.
TEST(TorchConvTest, GivesTheIntegerSumsOfUnpaddedImages) {
  for (const std::int64_t groups : {1, 3, 12}) {
    for (const std::int64_t stride : {1, 2}) {
      const Case whole{"torch", {12, 11, 9},        24,   Window::square(3, stride),
                       groups,  unsigned_format(8), -128, 127};
      const CaseData data(whole);
      const std::vector<float> weights(data.problem().codes.begin(), data.problem().codes.end());
      const TorchConv conv(weights.data(), groups, 24, 12, 3, 3, stride, stride);
      const std::vector<float> input(data.stored().begin(), data.stored().end());
      std::vector<float> values(static_cast<std::size_t>(data.problem().output.size()));
      conv.run(input.data(), 11, 9, values.data());
      EXPECT_EQ(values, data.expected()) << groups << " groups, stride " << stride;
    }
  }
}

// The first layer: pixels, one input channel at a time.
TEST(PixelConvTest, SumsOfEachChannelAreExactForEveryKernel) {
  const Window windows[] = {Window::square(7, 2, 3), Window::square(3, 2),
                            asymmetric(3, 2, {0, 0, 1, 1}), Window::square(3, 1, 1),
                            Window::square(1)};
  for (const Window& window : windows) {
    for (const std::int64_t channels : {1, 3}) {
      const Case whole{"first", {channels, 37, 41}, 18, window, 1, unsigned_format(8), -128,
                       127,     {100, -3, 0}};
      const CaseData data(whole);
      std::vector<std::uint8_t> pixels(static_cast<std::size_t>(whole.input.size()));
      std::mt19937 random(7);
      for (std::uint8_t& pixel : pixels) {
        pixel = static_cast<std::uint8_t>(random() % 256);
      }
      // The kernel that needs no oneDNN first: the others are compared with it, and it with the sum
      // over channels.
      std::vector<float> first;
      for (const SumKernel kernel : {SumKernel::kFloat64, SumKernel::kFloat32, SumKernel::kInt8}) {
        if (kernel == SumKernel::kInt8 && !onednn::has_exact_int8()) {
          continue;
        }
        const PixelConv conv(data.problem(), kernel);
        EXPECT_EQ(conv.kernel(), kernel);
        Scratch scratch;
        conv.load(pixels.data(), scratch);
        const std::int64_t row = data.problem().output.width * channels * whole.outputs;
        std::vector<float> values(static_cast<std::size_t>(data.problem().output.height * row), -1);
        for (const Strip& strip : conv.strips()) {
          conv.run(strip, scratch, values.data() + strip.first * row);
        }
        if (first.empty()) {
          first = values;
        }
        EXPECT_EQ(values, first) << sum_kernel_name(kernel);
      }
      // Summed over the channels: what FloatInputConv gives on the pixels as floats.
      const std::vector<float> floats(pixels.begin(), pixels.end());
      std::vector<float> together(static_cast<std::size_t>(data.problem().output.size()));
      Scratch scratch;
      FloatInputConv(data.problem()).run(floats.data(), scratch, together.data());
      for (std::int64_t p = 0; p < data.problem().output.height * data.problem().output.width;
           ++p) {
        for (std::int64_t o = 0; o < whole.outputs; ++o) {
          float sum = 0;
          for (std::int64_t c = 0; c < channels; ++c) {
            sum += first[static_cast<std::size_t>((p * channels + c) * whole.outputs + o)];
          }
          ASSERT_EQ(sum, together[static_cast<std::size_t>(p * whole.outputs + o)]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace squant::eval
