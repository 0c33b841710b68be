#include "quant/squant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "quant/squant_cpu.h"
#include "tests/quant/plain_squant.h"

namespace squant::quant {
namespace {

using ::testing::HasSubstr;

constexpr Mode kModes[] = {Mode::kE, Mode::kEK, Mode::kEC, Mode::kEKC};
constexpr Rounding kRoundings[] = {Rounding::kCurrent, Rounding::kPaper};

std::vector<Simd> simds_of_this_machine() {
  std::vector<Simd> simds = {Simd::kScalar};
  for (const Simd simd : {Simd::k128, Simd::kAvx2, Simd::kAvx512}) {
    if (lane_loops(simd) != nullptr) simds.push_back(simd);
  }
  return simds;
}

// A tensor with memory of its own; guards stand behind each output.
struct Owned {
  static constexpr std::size_t kGuards = 64;
  static constexpr std::int8_t kGuardCode = 77;

  Owned(WeightShape tensor_shape, std::vector<float> values,
        std::string tensor_name = "layer1.weight")
      : name(std::move(tensor_name)),
        shape(tensor_shape),
        weights(std::move(values)),
        codes(weights.size() + kGuards, kGuardCode),
        scale(static_cast<std::size_t>(shape.out) + kGuards, -1.0f),
        zero_point(static_cast<std::size_t>(shape.out) + kGuards, -1.0f) {}

  SquantTensor view() {
    return {name, shape, weights.data(), codes.data(), scale.data(), zero_point.data()};
  }
  void run(const SquantOptions& options, Simd simd = best_simd()) {
    const SquantTensor tensor = view();
    squant_cpu_simd({&tensor, 1}, options, simd);
  }
  bool guards_intact() const {
    bool intact = true;
    for (std::size_t i = weights.size(); i < codes.size(); ++i) intact &= codes[i] == kGuardCode;
    for (auto i = static_cast<std::size_t>(shape.out); i < scale.size(); ++i) {
      intact &= scale[i] == -1.0f && zero_point[i] == -1.0f;
    }
    return intact;
  }

  std::string name;
  WeightShape shape;
  std::vector<float> weights;
  std::vector<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<float> zero_point;
};

std::string describe(const WeightShape& shape, const SquantOptions& options) {
  return "[" + std::to_string(shape.out) + ", " + std::to_string(shape.in) + ", " +
         std::to_string(shape.kernel) + "] w" + std::to_string(options.bits) + " " +
         mode_name(options.mode) + " " + rounding_name(options.rounding);
}

void expect_equal(const Owned& tensor, const testing::PlainResult& plain) {
  const auto out = static_cast<std::size_t>(tensor.shape.out);
  ASSERT_EQ(std::memcmp(tensor.scale.data(), plain.scale.data(), out * sizeof(float)), 0);
  for (std::size_t o = 0; o < out; ++o)
    ASSERT_EQ(tensor.zero_point[o], plain.zero_point[o]) << "channel " << o;
  for (std::size_t i = 0; i < plain.codes.size(); ++i) {
    ASSERT_EQ(tensor.codes[i], plain.codes[i]) << "weight " << i << " = " << tensor.weights[i];
  }
  ASSERT_TRUE(tensor.guards_intact());
}

// With every instruction set of this machine.
void expect_equals_plain(Owned& tensor, const SquantOptions& options) {
  const testing::PlainResult plain = testing::plain_squant(tensor.weights, tensor.shape, options);
  for (const Simd simd : simds_of_this_machine()) {
    SCOPED_TRACE(describe(tensor.shape, options) + " simd " + simd_name(simd));
    tensor.run(options, simd);
    expect_equal(tensor, plain);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

using Generator = std::mt19937;

float normal(Generator& random, float mean, float deviation) {
  return std::normal_distribution<float>(mean, deviation)(random);
}

// Kinds of channels; each has its own trap.
enum class Kind {
  kNormal,
  kGrid,
  kOffset,
  kOneSided,
  kConstant,
  kTiny,
  kHuge,
  kMixed,
  kSymmetric,
  kTwoValues,
  kNumKinds
};

void fill_channel(Kind kind, Generator& random, float* weights, std::int64_t size) {
  const auto pick = [&](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  const float offset = std::ldexp(normal(random, 0, 1), pick(24));
  const float constant = normal(random, 0, 1);
  for (std::int64_t i = 0; i < size; ++i) {
    float& w = weights[i];
    switch (kind) {
      case Kind::kNormal:
        w = normal(random, 0.01f, 0.1f);
        break;
      case Kind::kGrid:
        w = static_cast<float>(pick(31) - 15) / 4;
        break;  // equal priorities, sums of n + 0.5
      case Kind::kOffset:
        w = offset + normal(random, 0, 1e-3f);
        break;  // x off its range, coarse x
      case Kind::kOneSided:
        w = std::fabs(normal(random, 0, 1)) + 0.5f;
        break;
      case Kind::kConstant:
        w = constant;
        break;
      case Kind::kTiny:
        w = normal(random, 0, 1e-30f);
        break;
      case Kind::kHuge:
        w = normal(random, 0, 1e20f);
        break;
      case Kind::kMixed:
        w = pick(20) == 0 ? normal(random, 0, 10) : normal(random, 0, 1e-3f);
        break;
      case Kind::kSymmetric:
        w = (i % 2 ? 1.0f : -1.0f) * static_cast<float>(1 + pick(3)) * 0.37f;
        break;
      default:
        w = pick(2) ? 1.0f : -0.25f;
        break;
    }
  }
  // zero_point 0: x is scale * w as it stands, down to tiny ones.
  if (kind == Kind::kMixed && size > 2) {
    weights[0] = -8;
    weights[size - 1] = 7;
  }
}

Owned random_tensor(Generator& random, WeightShape shape) {
  std::vector<float> weights(static_cast<std::size_t>(shape.size()));
  for (std::int64_t o = 0; o < shape.out; ++o) {
    const auto kind = static_cast<Kind>(random() % static_cast<unsigned>(Kind::kNumKinds));
    fill_channel(kind, random, weights.data() + o * shape.row(), shape.row());
  }
  return Owned(shape, std::move(weights));
}

TEST(SquantTest, EqualsThePlainAlgorithmOnThousandsOfRandomTensors) {
  constexpr std::int64_t kKernels[] = {1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 15, 25, 49, 50, 51, 64};
  for (unsigned seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Generator random(seed);
    WeightShape shape;
    shape.kernel = kKernels[random() % std::size(kKernels)];
    shape.in = 1 + static_cast<std::int64_t>(random() % (shape.kernel == 1 ? 120 : 40));
    shape.out = 1 + static_cast<std::int64_t>(random() % 8);
    SquantOptions options;
    options.bits = 2 + static_cast<int>(random() % 7);
    options.num_threads = 1;
    Owned tensor = random_tensor(random, shape);
    for (const Mode mode : kModes) {
      options.mode = mode;
      options.rounding = kRoundings[random() % 2];
      expect_equals_plain(tensor, options);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(SquantTest, EqualsThePlainAlgorithmOnLargeTensors) {
  Generator random(7);
  for (const WeightShape shape :
       {WeightShape{3, 300, 9}, WeightShape{2, 4608, 1}, WeightShape{2, 700, 25},
        WeightShape{700, 1, 9}, WeightShape{40, 3, 49}, WeightShape{1, 20000, 1},
        WeightShape{1, 1, 1}, WeightShape{33, 1, 1}, WeightShape{1, 1, 3000}}) {
    Owned tensor = random_tensor(random, shape);
    for (const Rounding rounding : kRoundings) {
      for (const Mode mode : kModes) {
        expect_equals_plain(tensor, {.bits = 4, .mode = mode, .rounding = rounding});
      }
    }
    if (HasFatalFailure()) return;
  }
}

TEST(SquantTest, DoesNotDependOnTheNumberOfThreads) {
  Generator random(11);
  std::vector<Owned> network;
  for (const WeightShape shape :
       {WeightShape{64, 3, 49}, WeightShape{64, 64, 9}, WeightShape{256, 1, 9},
        WeightShape{128, 256, 1}, WeightShape{10, 512, 1}, WeightShape{5, 7, 4}}) {
    network.push_back(random_tensor(random, shape));
  }
  std::vector<SquantTensor> tensors;
  for (Owned& tensor : network) tensors.push_back(tensor.view());
  for (const Mode mode : kModes) {
    std::vector<std::vector<std::int8_t>> expected;
    for (const int num_threads : {1, 2, 3, 8}) {
      squant_cpu(tensors, {.bits = 4, .mode = mode, .num_threads = num_threads});
      for (std::size_t i = 0; i < network.size(); ++i) {
        EXPECT_TRUE(network[i].guards_intact());
        if (num_threads == 1) {
          expected.push_back(network[i].codes);
        } else {
          EXPECT_EQ(network[i].codes, expected[i]) << num_threads << " threads, tensor " << i;
        }
      }
    }
  }
}

TEST(SquantTest, AChannelsCodesDependOnNoOtherChannel) {
  Generator random(13);
  Owned all = random_tensor(random, {50, 5, 9});
  all.run({});
  for (const std::int64_t o : {0, 17, 49}) {
    const auto row = static_cast<std::size_t>(all.shape.row());
    const auto begin = static_cast<std::ptrdiff_t>(o * all.shape.row());
    Owned alone({1, 5, 9},
                {all.weights.begin() + begin, all.weights.begin() + begin + all.shape.row()});
    alone.run({});
    EXPECT_EQ(std::memcmp(alone.codes.data(), all.codes.data() + begin, row), 0) << "channel " << o;
  }
}

// Three bits, weights chosen so that scale = 1 and zero_point = 0: x is the weight.
TEST(SquantTest, OfEqualPrioritiesTheLowerIndexFlipsFirst) {
  Owned tensor({1, 1, 9}, {-4, 3, 0.25f, 0.25f, 0.25f, 0.25f, 0, 0, 0});
  tensor.run({.bits = 3, .mode = Mode::kEK});
  EXPECT_EQ(tensor.scale[0], 1.0f);
  EXPECT_EQ(tensor.zero_point[0], 0.0f);
  EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 9),
            (std::vector<std::int8_t>{-4, 3, 1, 0, 0, 0, 0, 0, 0}));
}

TEST(SquantTest, AnErrorSumOfHalfAStepFlipsNothing) {
  Owned tensor({1, 1, 4}, {-4, 3, 0.25f, 0.25f});
  for (const Mode mode : {Mode::kEK, Mode::kEC, Mode::kEKC}) {
    tensor.run({.bits = 3, .mode = mode});
    EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 4),
              (std::vector<std::int8_t>{-4, 3, 0, 0}));
  }
}

TEST(SquantTest, TheChannelStageUndoesTheLastFlipOfAKernelThatFlippedTooMuch) {
  // Each kernel after the first: errors -0.3 and -0.3, one goes up, 0.4 too much. Three of
  // them: 1.2 too much, one flip is undone; the largest |error| after the flip is 0.7 in all, so
  // the first kernel's.
  Owned tensor({1, 4, 2}, {-4, 3, 0.3f, 0.3f, 0.3f, 0.3f, 0.3f, 0.3f});
  tensor.run({.bits = 3, .mode = Mode::kEK});
  EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 8),
            (std::vector<std::int8_t>{-4, 3, 1, 0, 1, 0, 1, 0}));
  tensor.run({.bits = 3, .mode = Mode::kEKC});
  EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 8),
            (std::vector<std::int8_t>{-4, 3, 0, 0, 1, 0, 1, 0}));
}

TEST(SquantTest, TheRoundingVariantsDifferAtHalves) {
  const std::vector<float> weights = {-4, 3, 0.5f, 1.5f, -0.5f, -1.5f};
  Owned tensor({1, 6, 1}, weights);
  tensor.run({.bits = 3, .mode = Mode::kE, .rounding = Rounding::kCurrent});
  EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 6),
            (std::vector<std::int8_t>{-4, 3, 0, 2, 0, -2}));
  tensor.run({.bits = 3, .mode = Mode::kE, .rounding = Rounding::kPaper});
  EXPECT_EQ(std::vector<std::int8_t>(tensor.codes.begin(), tensor.codes.begin() + 6),
            (std::vector<std::int8_t>{-4, 3, 1, 2, 0, -1}));
}

TEST(SquantTest, TheLargestFloatBelowAHalfRoundsToZeroInBothVariants) {
  Owned tensor({1, 3, 1}, {-4, 3, std::nextafter(0.5f, 0.0f)});
  for (const Rounding rounding : kRoundings) {
    for (const Simd simd : simds_of_this_machine()) {
      tensor.run({.bits = 3, .mode = Mode::kE, .rounding = rounding}, simd);
      EXPECT_EQ(tensor.codes[2], 0) << rounding_name(rounding) << " " << simd_name(simd);
    }
  }
}

TEST(SquantTest, CorrectionsHoldErrorSumsWithinHalfAStep) {
  constexpr double kHalf = 0.5 + 1e-5;  // sums count in steps of 2^-26 per element
  for (int bits = 2; bits <= 8; ++bits) {
    Generator random(static_cast<unsigned>(bits));
    std::vector<float> weights(16 * 64 * 9);
    for (float& w : weights) w = normal(random, 0, 0.1f);
    Owned tensor({16, 64, 9}, weights);
    SquantOptions options{.bits = bits};
    options.mode = Mode::kE;
    tensor.run(options);
    const SquantErrors e = squant_errors(tensor.view(), options);
    options.mode = Mode::kEK;
    tensor.run(options);
    const SquantErrors ek = squant_errors(tensor.view(), options);
    options.mode = Mode::kEC;
    tensor.run(options);
    const SquantErrors ec = squant_errors(tensor.view(), options);
    options.mode = Mode::kEKC;
    tensor.run(options);
    const SquantErrors ekc = squant_errors(tensor.view(), options);
    EXPECT_GT(e.max_channel, 1);
    EXPECT_LE(ek.max_kernel, kHalf);
    EXPECT_LE(ec.max_channel, kHalf);
    EXPECT_LE(ekc.max_channel, kHalf);
    EXPECT_LE(ekc.max_kernel, 1 + kHalf);
    EXPECT_LT(e.squared, ekc.squared);  // what the corrections cost
  }
}

TEST(SquantTest, ErrorsAreMeasuredAsTheyAre) {
  // Scale 1, zero point 0; nearest rounding leaves errors -0.25, -0.25 | 0.5, 0.
  Owned tensor({1, 4, 2}, {-4, 3, 0.25f, 0.25f, 1.5f, 0, 0, 0});
  const SquantOptions options{.bits = 3, .mode = Mode::kE};
  tensor.run(options);
  const SquantErrors errors = squant_errors(tensor.view(), options);
  EXPECT_EQ(errors.squared, 0.0625 + 0.0625 + 0.25);
  EXPECT_EQ(errors.max_kernel, 0.5);
  EXPECT_EQ(errors.max_channel, 0.0);
}

TEST(SquantTest, DequantizedWeightsAreWithinAStepOfTheWeights) {
  Generator random(17);
  std::vector<float> weights(300 * 40 * 9);
  for (float& w : weights) w = normal(random, 0.02f, 0.3f);
  Owned tensor({300, 40, 9}, weights);
  tensor.run({.bits = 8, .mode = Mode::kE});
  std::vector<float> restored(weights.size());
  dequantize(tensor.view(), restored.data());
  const auto row = static_cast<std::size_t>(tensor.shape.row());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t o = i / row;
    EXPECT_EQ(restored[i],
              (static_cast<float>(tensor.codes[i]) + tensor.zero_point[o]) / tensor.scale[o]);
    ASSERT_NEAR(restored[i], weights[i], 0.51f / tensor.scale[o]);
  }
}

TEST(SquantTest, NothingToDoIsDone) { EXPECT_NO_THROW(squant_cpu({}, {})); }

// ---- names and shapes ----

TEST(SquantNamesTest, ParseWhatTheyPrint) {
  for (const Mode mode : kModes) EXPECT_EQ(parse_mode(mode_name(mode)), mode);
  for (const Rounding rounding : kRoundings)
    EXPECT_EQ(parse_rounding(rounding_name(rounding)), rounding);
  EXPECT_STREQ(mode_name(Mode::kEKC), "squant");
  EXPECT_STREQ(mode_name(Mode::kEC), "squant-c");
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(SquantNamesTest, UnknownNamesListTheKnownOnes) {
  EXPECT_EQ(message_of([] { parse_mode("squant-ek"); }),
            "unknown mode 'squant-ek', expected one of: squant-e, squant-k, squant-c, squant");
  EXPECT_EQ(message_of([] { parse_rounding(""); }),
            "unknown rounding '', expected one of: current, paper");
}

WeightShape shape_of(std::vector<std::int64_t> dimensions) {
  return weight_shape(dimensions, "fc.weight");
}

TEST(SquantNamesTest, AnyRankFromTwoIsAWeight) {
  EXPECT_EQ(shape_of({10, 64}).kernel, 1);
  EXPECT_EQ(shape_of({10, 64, 5}).kernel, 5);
  EXPECT_EQ(shape_of({10, 64, 3, 3}).row(), 576);
  EXPECT_EQ(shape_of({10, 64, 3, 3, 2}).size(), 11520);
}

TEST(SquantNamesTest, BadShapesNameTheTensor) {
  EXPECT_THAT(message_of([] { shape_of({10}); }),
              HasSubstr("tensor 'fc.weight' of shape [10]: a weight to quantize has"));
  EXPECT_THAT(message_of([] { shape_of({}); }), HasSubstr("'fc.weight'"));
  EXPECT_THAT(message_of([] {
                shape_of({10, 0, 3});
              }),
              HasSubstr("every dimension must be at least 1"));
  EXPECT_THAT(message_of([] {
                shape_of({10, -4});
              }),
              HasSubstr("every dimension must be at least 1"));
  EXPECT_THAT(message_of([] {
                shape_of({std::int64_t{1} << 40, std::int64_t{1} << 40});
              }),
              HasSubstr("overflows"));
  EXPECT_THAT(message_of([] {
                shape_of({1, 2, std::int64_t{1} << 40, std::int64_t{1} << 40});
              }),
              HasSubstr("overflows"));
}

// ---- bad input ----

TEST(SquantErrorsTest, BitsOutsideTwoToEight) {
  Owned tensor({1, 2, 1}, {1, 2});
  for (const int bits : {-1, 0, 1, 9, 32}) {
    EXPECT_EQ(message_of([&] { tensor.run({.bits = bits}); }),
              "squant_cpu: bits must be in [2, 8], got " + std::to_string(bits));
  }
  EXPECT_EQ(tensor.codes[0], Owned::kGuardCode);
}

TEST(SquantErrorsTest, EmptyTensorsAndNullPointersAreFoundBeforeAnythingIsWritten) {
  Owned good({1, 2, 1}, {1, 2}, "good");
  Owned bad({1, 2, 1}, {1, 2}, "bad");
  const auto run_with = [&](auto change) {
    SquantTensor broken = bad.view();
    change(broken);
    const SquantTensor both[] = {good.view(), broken};
    return message_of([&] { squant_cpu(both, {}); });
  };
  EXPECT_THAT(run_with([](SquantTensor& t) { t.shape.in = 0; }),
              HasSubstr("tensor 'bad' of shape [O, I, K] = [1, 0, 1] is empty"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.shape.out = -1; }), HasSubstr("is empty"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.weights = nullptr; }),
              HasSubstr("weights is a null pointer"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.codes = nullptr; }),
              HasSubstr("codes is a null pointer"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.scale = nullptr; }),
              HasSubstr("scale is a null pointer"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.zero_point = nullptr; }),
              HasSubstr("zero_point is a null pointer"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.shape.in = kMaxRow + 1; }),
              HasSubstr("at most 16777216 weights"));
  EXPECT_THAT(run_with([](SquantTensor& t) { t.shape.out = std::int64_t{1} << 62; }),
              HasSubstr("overflows"));
  EXPECT_EQ(good.codes[0], Owned::kGuardCode);
}

TEST(SquantErrorsTest, TheFirstBrokenWeightIsNamedWhateverTheThreadsDid) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const Simd simd : simds_of_this_machine()) {
      for (const std::int64_t size : {3, 40, 1000}) {
        for (std::int64_t at = 0; at < size; at += size < 100 ? 1 : 37) {
          Generator random(1);
          Owned tensor = random_tensor(random, {20, size, 1});
          tensor.weights[static_cast<std::size_t>(5 * size + at)] = value;
          tensor.weights[static_cast<std::size_t>(19 * size)] = value;
          ASSERT_THAT(message_of([&] { tensor.run({.num_threads = 3}, simd); }),
                      HasSubstr("squant_cpu: tensor 'layer1.weight', output channel 5: weight " +
                                std::to_string(5 * size + at) + " is "));
        }
      }
    }
  }
}

TEST(SquantErrorsTest, WeightsBeyondFloat32ArithmeticAreRefused) {
  const float max = std::numeric_limits<float>::max();
  for (const std::vector<float>& weights :
       {std::vector<float>{1, 2, -max, max}, {1, 2, max, max}, {1, 2, -1e30f, -1e30f}}) {
    Owned tensor({2, 2, 1}, weights);
    EXPECT_THAT(message_of([&] { tensor.run({}); }),
                HasSubstr("tensor 'layer1.weight', output channel 1: the weights are too large"));
  }
}

TEST(SquantErrorsTest, MeasuringChecksAsQuantizingDoes) {
  Owned tensor({1, 2, 1}, {1, 2});
  SquantTensor broken = tensor.view();
  broken.codes = nullptr;
  EXPECT_THAT(message_of([&] { squant_errors(broken, {}); }),
              HasSubstr("squant_errors: tensor 'layer1.weight'"));
  EXPECT_THAT(message_of([&] { squant_errors(tensor.view(), {.bits = 1}); }),
              HasSubstr("bits must be in [2, 8]"));
  EXPECT_THAT(message_of([&] { dequantize(broken, nullptr); }),
              HasSubstr("dequantize: tensor 'layer1.weight'"));
  EXPECT_THAT(message_of([&] { dequantize(tensor.view(), nullptr); }), HasSubstr("null pointer"));
}

}  // namespace
}  // namespace squant::quant
