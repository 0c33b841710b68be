#include "eval/engine/epilogue.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <cstring>
#include <random>

#include "eval/engine/node_kernels.h"

namespace squant::eval {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The stated order of operations, one float at a time, with the C library's rounding.
struct Scalar {
  float multiplier = 1, addend = 0, residual = 0;
  bool has_affine = true, has_residual = false;
  Clamp before, after;

  float value(float v) const {
    volatile float y = v;  // each result is stored: nothing can be contracted
    if (has_affine) {
      y = y * multiplier;
      y = y + addend;
    }
    y = clamped(y, before);
    if (has_residual) {
      y = y + residual;
      y = clamped(y, after);
    }
    return y;
  }
  static float clamped(float y, const Clamp& clamp) {
    y = y > clamp.lo ? y : clamp.lo;
    return y < clamp.hi ? y : clamp.hi;
  }
  static int stored(float y, const Quantizer& q) {
    volatile float t = q.scale * y;
    t = t - q.zero_point;
    const float code = std::nearbyint(Scalar::clamped(t, {q.lo, q.hi}));
    return static_cast<int>(code) + q.shift;
  }
};

class EpilogueTest : public testing::Test {
 protected:
  float draw(float lo, float hi) { return std::uniform_real_distribution<float>(lo, hi)(random_); }
  std::vector<float> draws(std::size_t count, float lo, float hi) {
    std::vector<float> result(count);
    for (float& value : result) {
      value = draw(lo, hi);
    }
    return result;
  }
  std::mt19937 random_{3};
};

TEST_F(EpilogueTest, VectorsGiveTheScalarOrdersBits) {
  // Channel counts around the lengths of vectors and of the block that repeats them.
  for (const std::int64_t channels : {1, 3, 8, 24, 67, 513}) {
    for (const bool has_affine : {false, true}) {
      for (const bool has_residual : {false, true}) {
        for (const Clamp before : {Clamp{}, Clamp{0, kInfinity}, Clamp{0, 6}}) {
          const std::int64_t positions = 29;
          const auto count = static_cast<std::size_t>(positions * channels);
          const std::vector<float> multiplier =
              draws(static_cast<std::size_t>(channels), -1e-3F, 1e-3F);
          const std::vector<float> addend = draws(static_cast<std::size_t>(channels), -1, 1);
          const std::vector<float> v = draws(count, -20000, 20000);
          const std::vector<float> residual = draws(count, -5, 5);
          Epilogue epilogue;
          epilogue.has_affine = has_affine;
          epilogue.multiplier = ChannelValues(multiplier);
          epilogue.addend = ChannelValues(addend);
          epilogue.before_add = before;
          epilogue.after_add = {0, kInfinity};
          const Quantizer quantizer{3.7F, -128, -128, 127, 0};
          std::vector<float> values(count);
          std::vector<std::uint8_t> codes(count), codes_alone(count), codes_after(count);
          const float* added = has_residual ? residual.data() : nullptr;
          run_epilogue(epilogue, v.data(), added, positions,
                       {values.data(), codes.data(), &quantizer});
          run_epilogue(epilogue, v.data(), added, positions,
                       {nullptr, codes_alone.data(), &quantizer});
          quantize_values(quantizer, values.data(), static_cast<std::int64_t>(count),
                          codes_after.data());
          EXPECT_EQ(codes_alone, codes);
          EXPECT_EQ(codes_after, codes);
          for (std::size_t i = 0; i < count; ++i) {
            const std::size_t c = i % static_cast<std::size_t>(channels);
            const Scalar scalar{multiplier[c], addend[c], residual[i],   has_affine,
                                has_residual,  before,    {0, kInfinity}};
            const float expected = scalar.value(v[i]);
            ASSERT_EQ(std::memcmp(&values[i], &expected, sizeof(float)), 0)
                << values[i] << " for " << expected;
            ASSERT_EQ(static_cast<std::int8_t>(codes[i]), Scalar::stored(expected, quantizer));
          }
        }
      }
    }
  }
}

TEST_F(EpilogueTest, TiesRoundToEvenOneUnitInTheLastPlaceDoesNot) {
  const Quantizer unsigned_codes{1, 0, 0, 255, 0};
  const Quantizer signed_codes{1, 0, -128, 127, 0};
  for (const Quantizer& quantizer : {unsigned_codes, signed_codes}) {
    std::vector<float> values;
    std::vector<int> expected;
    for (int code = -140; code < 260; ++code) {
      const float tie = static_cast<float>(code) + 0.5F;
      const int even = code % 2 == 0 ? code : code + 1;
      for (const auto& [value, rounded] :
           {std::pair(tie, even), std::pair(std::nextafter(tie, -kInfinity), code),
            std::pair(std::nextafter(tie, kInfinity), code + 1)}) {
        values.push_back(value);
        expected.push_back(
            std::clamp(rounded, static_cast<int>(quantizer.lo), static_cast<int>(quantizer.hi)));
      }
    }
    std::vector<std::uint8_t> codes(values.size());
    quantize_values(quantizer, values.data(), static_cast<std::int64_t>(values.size()),
                    codes.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const int code = quantizer.lo < 0 ? static_cast<std::int8_t>(codes[i]) : codes[i];
      EXPECT_EQ(code, expected[i]) << std::hexfloat << values[i];
      EXPECT_EQ(code, Scalar::stored(values[i], quantizer));
    }
  }
}

TEST_F(EpilogueTest, MultiplicationAndAdditionAreRoundedApart) {
  // (1 + 2^-12)^2 - (1 + 2^-11): 2^-24 fused, 0 in two steps.
  Epilogue epilogue;
  epilogue.multiplier = ChannelValues({1 + 0x1p-12F});
  epilogue.addend = ChannelValues({-(1 + 0x1p-11F)});
  const std::vector<float> v(100, 1 + 0x1p-12F);
  std::vector<float> values(v.size(), -1);
  run_epilogue(epilogue, v.data(), nullptr, 100, {values.data(), nullptr, nullptr});
  EXPECT_EQ(values, std::vector<float>(100, 0.0F));
}

TEST_F(EpilogueTest, HugeAndMissingValuesClamp) {
  const Quantizer quantizer{1e30F, 0, 0, 255, 0};
  const std::vector<float> values = {1e30F, -1e30F, kInfinity, -kInfinity, 0.0F, -0.0F};
  std::vector<std::uint8_t> codes(values.size());
  quantize_values(quantizer, values.data(), 6, codes.data());
  EXPECT_EQ(codes, (std::vector<std::uint8_t>{255, 0, 255, 0, 0, 0}));
}

TEST_F(EpilogueTest, ChannelsAreCombinedInOrder) {
  for (const std::int64_t channels : {1, 2, 3, 4}) {
    const std::int64_t outputs = 21;
    const std::int64_t positions = 13;
    const std::vector<float> v =
        draws(static_cast<std::size_t>(positions * channels * outputs), -50000, 50000);
    const std::vector<float> factors =
        draws(static_cast<std::size_t>(channels * outputs), -1e-4F, 1e-4F);
    const std::vector<float> shift = draws(static_cast<std::size_t>(positions * outputs), -3, 3);
    std::vector<float> y(static_cast<std::size_t>(positions * outputs));
    combine_channels(v.data(), factors.data(), shift.data(), positions, channels, outputs,
                     y.data());
    for (std::int64_t i = 0; i < positions * outputs; ++i) {
      const std::int64_t p = i / outputs;
      const std::int64_t o = i % outputs;
      volatile float sum = v[static_cast<std::size_t>(p * channels * outputs + o)] *
                           factors[static_cast<std::size_t>(o)];
      for (std::int64_t c = 1; c < channels; ++c) {
        volatile float term = v[static_cast<std::size_t>((p * channels + c) * outputs + o)] *
                              factors[static_cast<std::size_t>(c * outputs + o)];
        sum = sum + term;
      }
      sum = sum + shift[static_cast<std::size_t>(i)];
      ASSERT_EQ(y[static_cast<std::size_t>(i)], sum);
    }
  }
}

TEST(NodeKernelsTest, MaximaOfCodesAreCodesOfMaxima) {
  Graph graph({19, 11, 9});
  const Node& pool = graph.node(graph.max_pool(0, Window::square(3, 2, 1)));
  const Shape& in = graph.node(0).shape;
  std::mt19937 random(5);
  std::vector<float> values(static_cast<std::size_t>(in.size()));
  for (float& value : values) {
    value = std::uniform_real_distribution<float>(-2, 2)(random);
  }
  std::vector<float> maxima(static_cast<std::size_t>(pool.shape.size()));
  max_pool(pool, in, values.data(), maxima.data());
  for (const bool is_signed : {false, true}) {
    const Quantizer quantizer{50, 0, is_signed ? -128.0F : 0.0F, is_signed ? 127.0F : 255.0F, 0};
    std::vector<std::uint8_t> codes(values.size()), expected(maxima.size()), pooled(maxima.size());
    quantize_values(quantizer, values.data(), in.size(), codes.data());
    quantize_values(quantizer, maxima.data(), pool.shape.size(), expected.data());
    if (is_signed) {
      max_pool(pool, in, reinterpret_cast<const std::int8_t*>(codes.data()),
               reinterpret_cast<std::int8_t*>(pooled.data()));
    } else {
      max_pool(pool, in, codes.data(), pooled.data());
    }
    EXPECT_EQ(pooled, expected);
  }
}

TEST(NodeKernelsTest, AveragesAreSumsInRowMajorOrderThenOneDivision) {
  Window window = Window::square(3, 2, 1);
  for (const bool include_pad : {false, true}) {
    for (const bool ceil_mode : {false, true}) {
      window.count_include_pad = include_pad;
      window.ceil_mode = ceil_mode;
      Graph graph({5, 8, 6});
      const Node& pool = graph.node(graph.avg_pool(0, window));
      const Shape& in = graph.node(0).shape;
      std::mt19937 random(5);
      std::vector<float> values(static_cast<std::size_t>(in.size()));
      for (float& value : values) {
        value = std::uniform_real_distribution<float>(-2, 2)(random);
      }
      std::vector<float> means(static_cast<std::size_t>(pool.shape.size()));
      avg_pool(pool, in, values.data(), means.data());
      std::size_t at = 0;
      for (std::int64_t y = 0; y < pool.shape.height; ++y) {
        for (std::int64_t x = 0; x < pool.shape.width; ++x) {
          for (std::int64_t c = 0; c < in.channels; ++c) {
            float sum = 0;
            int inside = 0;
            int padded = 0;
            for (std::int64_t py = y * 2 - 1; py < y * 2 + 2; ++py) {
              for (std::int64_t px = x * 2 - 1; px < x * 2 + 2; ++px) {
                padded += py < in.height + 1 && px < in.width + 1 ? 1 : 0;
                if (py >= 0 && py < in.height && px >= 0 && px < in.width) {
                  sum += values[static_cast<std::size_t>((py * in.width + px) * in.channels + c)];
                  ++inside;
                }
              }
            }
            ASSERT_EQ(means[at++], sum / static_cast<float>(include_pad ? padded : inside));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace squant::eval
