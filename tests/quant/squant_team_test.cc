// The algorithm of the CUDA kernels, run here by threads that meet at a barrier: teams of every
// size give the codes of the reference.
#include "quant/squant_team.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "quant/squant.h"
#include "tests/quant/draw_weights.h"
#include "tests/quant/thread_team.h"

namespace squant::quant {
namespace {

using testing::draw_weights;
using testing::run_team;
using testing::ThreadTeam;
using testing::WeightKind;

// Few, so that rows here have more candidates than that.
constexpr std::int32_t kMaxKeys = 16;
constexpr std::int8_t kUntouched = 99;

struct RowResult {
  std::vector<std::int8_t> codes;  // or other output, by bytes
  float scale = 0;
  float zero_point = 0;
  bool finite = true;
};

// How far the row's memory is from an alignment of 16 bytes.
struct Misaligned {
  std::size_t weights = 0;  // floats
  std::size_t output = 0;   // bytes
};

// The row's output, byte by byte, after checking that nothing beside it was written.
RowResult by_team(int team_size, const std::vector<float>& weights, WeightShape shape,
                  const SquantOptions& options, Misaligned misaligned = {},
                  CudaOutput output = CudaOutput::kCodes) {
  std::vector<float> placed(weights.size() + misaligned.weights);
  std::copy(weights.begin(), weights.end(), placed.begin() + misaligned.weights);
  const auto bytes = static_cast<std::size_t>(output_bytes(output, shape.size()));
  std::vector<std::int8_t> written(misaligned.output + bytes + 16, kUntouched);
  std::vector<float> error(weights.size() + 3);
  std::vector<std::int8_t> codes(weights.size());
  std::vector<std::uint64_t> keys(kMaxKeys);
  std::int32_t num_keys = 0;
  RowResult result;
  std::vector<char> finite(static_cast<std::size_t>(team_size));
  run_team(team_size, [&](ThreadTeam& team) {
    finite[static_cast<std::size_t>(team.rank())] =
        squant_team_row(team,
                        {placed.data() + misaligned.weights, static_cast<std::int32_t>(shape.in),
                         static_cast<std::int32_t>(shape.kernel)},
                        {options.bits, options.mode, options.rounding, output},
                        {error.data(), codes.data(), keys.data(), kMaxKeys, &num_keys},
                        {written.data() + misaligned.output, &result.scale, &result.zero_point});
  });
  result.finite = finite[0] != 0;
  const auto begin = written.begin() + misaligned.output;
  result.codes.assign(begin, begin + bytes);
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (i < misaligned.output || i >= misaligned.output + bytes) {
      EXPECT_EQ(written[i], kUntouched) << "beside the row, at " << i;
    }
  }
  return result;
}

RowResult by_cpu(const std::vector<float>& weights, WeightShape shape,
                 const SquantOptions& options) {
  RowResult result;
  result.codes.resize(weights.size());
  const SquantTensor tensor{
      "row", shape, weights.data(), result.codes.data(), &result.scale, &result.zero_point};
  squant_cpu({&tensor, 1}, options);
  return result;
}

SquantOptions draw_options(std::mt19937& random) {
  SquantOptions options;
  // 4 bits often: some kinds of weights are made for them.
  options.bits = random() % 2 == 0 ? 4 : 2 + static_cast<int>(random() % 7);
  options.mode = static_cast<Mode>(random() % 4);
  options.rounding = static_cast<Rounding>(random() % 2);
  options.num_threads = 1;
  return options;
}

TEST(SquantTeamTest, TeamsOfEverySizeGiveTheCodesOfTheReference) {
  constexpr std::uint32_t kSeed = 20220425;
  std::mt19937 random(kSeed);
  const std::int64_t kernels[] = {1, 1, 9, 9, 2, 3, 7, 25, 49};
  const std::int64_t ins[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 64, 127, 128, 129, 300, 513};
  for (int trial = 0; trial < 1500; ++trial) {
    const WeightShape shape{1, ins[random() % std::size(ins)],
                            kernels[random() % std::size(kernels)]};
    const auto kind = static_cast<WeightKind>(random() % testing::kNumWeightKinds);
    std::vector<float> weights(static_cast<std::size_t>(shape.size()));
    draw_weights(random, kind, weights.data(), shape.size());
    const SquantOptions options = draw_options(random);
    const RowResult expected = by_cpu(weights, shape, options);
    const int team_sizes[] = {1, 1, 3, 8};
    const int team_size = team_sizes[random() % std::size(team_sizes)];
    const RowResult got =
        by_team(team_size, weights, shape, options, {random() % 4, random() % 16});
    ASSERT_TRUE(got.finite);
    ASSERT_EQ(got.codes, expected.codes)
        << "seed " << kSeed << " trial " << trial << " team " << team_size << " in " << shape.in
        << " kernel " << shape.kernel << " bits " << options.bits << " kind "
        << static_cast<int>(kind) << ' ' << mode_name(options.mode) << ' '
        << rounding_name(options.rounding);
    ASSERT_EQ(got.scale, expected.scale);
    ASSERT_EQ(got.zero_point, expected.zero_point);
  }
}

TEST(SquantTeamTest, PackedCodesAreTheCodesTwoAByte) {
  std::mt19937 random(11);
  for (int size = 1; size < 70; ++size) {
    std::vector<float> weights(static_cast<std::size_t>(size));
    draw_weights(random, WeightKind::kNormal, weights.data(), size);
    SquantOptions options;
    options.bits = 2 + size % 3;
    const RowResult codes = by_cpu(weights, {1, size, 1}, options);
    const RowResult packed =
        by_team(3, weights, {1, size, 1}, options, {0, random() % 16}, CudaOutput::kPackedCodes);
    ASSERT_EQ(packed.codes.size(), (weights.size() + 1) / 2);
    for (std::size_t i = 0; i < 2 * packed.codes.size(); ++i) {
      const int byte = packed.codes[i / 2];
      const int half = i % 2 == 0 ? byte & 15 : (byte >> 4) & 15;
      ASSERT_EQ(half, i < weights.size() ? codes.codes[i] & 15 : 0) << i << " of " << size;
    }
  }
}

TEST(SquantTeamTest, WeightsAreDequantizedAsByTheHost) {
  std::mt19937 random(12);
  for (int size = 1; size < 70; ++size) {
    std::vector<float> weights(static_cast<std::size_t>(size));
    draw_weights(random, WeightKind::kNormal, weights.data(), size);
    const WeightShape shape{1, size, 1};
    RowResult codes = by_cpu(weights, shape, {});
    std::vector<float> expected(weights.size());
    dequantize({"row", shape, weights.data(), codes.codes.data(), &codes.scale, &codes.zero_point},
               expected.data(), 1);
    const RowResult got =
        by_team(3, weights, shape, {}, {0, 4 * (random() % 4)}, CudaOutput::kWeights);
    std::vector<float> restored(weights.size());
    ASSERT_EQ(got.codes.size(), restored.size() * sizeof(float));
    std::memcpy(restored.data(), got.codes.data(), got.codes.size());
    ASSERT_EQ(restored, expected) << size;
  }
}

TEST(SquantTeamTest, NotFiniteWeightsAreReportedAndNothingIsWritten) {
  using Limits = std::numeric_limits<float>;
  for (const float broken :
       {Limits::quiet_NaN(), -Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
    for (const std::size_t place : {0, 5, 77, 90}) {  // in a member's share, and in the tail
      std::vector<float> weights(91, 0.5F);
      weights[0] = -1.0F;
      weights[place] = broken;
      const RowResult got = by_team(4, weights, {1, 13, 7}, {});
      EXPECT_FALSE(got.finite) << broken << " at " << place;
      EXPECT_EQ(got.codes, std::vector<std::int8_t>(91, kUntouched));
    }
  }
}

TEST(SquantTeamTest, AScaleOrZeroPointThatOverflowsIsReported) {
  EXPECT_FALSE(by_team(2, {-3e38F, 3e38F, 0.0F}, {1, 3, 1}, {}).finite);  // their range
  EXPECT_FALSE(by_team(2, {1e30F, 1e30F, 1e30F}, {1, 3, 1}, {}).finite);  // scale * weight
}

TEST(RoundInsideTest, GivesTheCodesAndErrorsOfRoundElement) {
  std::mt19937 random(3);
  for (int bits = 2; bits <= 8; ++bits) {
    const CodeRange range = signed_code_range(bits);
    std::uniform_real_distribution<float> uniform(range.lo - 0.5F, range.hi + 0.5F);
    std::vector<float> all;
    for (int i = 0; i < 20000; ++i) all.push_back(uniform(random));
    for (float half = range.lo - 0.5F; half <= range.hi + 0.5F; half += 0.5F) {
      for (const float x : {half, std::nextafter(half, 1e9F), std::nextafter(half, -1e9F)})
        all.push_back(x);
    }
    for (const float tiny : {1e-30F, -1e-30F, 0x1p-25F, -0.0F}) all.push_back(tiny);
    for (const float x : all) {
      if (!rounds_inside(x, x, range)) continue;
      const auto check = [&](InsideElement got, Rounding rounding) {
        const float rounded = round_element(x, range, rounding);
        ASSERT_EQ(static_cast<std::int8_t>(got.code), static_cast<std::int8_t>(rounded)) << x;
        ASSERT_EQ(got.error, rounded - x) << x;
        ASSERT_EQ(to_fixed_inside(got.error), to_fixed(got.error));
        const float code = rounded;
        ASSERT_EQ(can_flip(x, got.error, true, range), got.error < 0 && code < range.hi) << x;
        ASSERT_EQ(can_flip(x, got.error, false, range), got.error > 0 && code > range.lo) << x;
      };
      check(round_inside<Rounding::kCurrent>(x), Rounding::kCurrent);
      check(round_inside<Rounding::kPaper>(x), Rounding::kPaper);
    }
  }
}

}  // namespace
}  // namespace squant::quant
