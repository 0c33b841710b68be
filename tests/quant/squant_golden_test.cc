// The reference's golden data: every code, scale and zero point, to the bit.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "quant/squant_cpu.h"
#include "tests/quant/golden_codes.h"

namespace squant::quant {
namespace {

class SquantGoldenTest : public ::testing::TestWithParam<Simd> {};

TEST_P(SquantGoldenTest, EveryCodeScaleAndZeroPointIsTheReferences) {
  const Simd simd = GetParam();
  if (simd != Simd::kScalar && lane_loops(simd) == nullptr)
    GTEST_SKIP() << "this machine lacks the instruction set";
  const Golden& golden = Golden::get();
  const std::vector<Config> all = configs();
  ASSERT_EQ(all.size(), 21U * 4U * (6U + 3U));
  GoldenCount count;
  for (const Config& config : all) {
    const std::vector<float> weights = golden.values<float>(config.weight);
    const WeightShape shape = weight_shape(golden.entries().at(config.weight).shape, config.weight);
    const auto out = static_cast<std::size_t>(shape.out);
    std::vector<std::int8_t> codes(weights.size());
    std::vector<float> scale(out);
    std::vector<float> zero_point(out);
    const SquantTensor tensor{config.weight, shape,        weights.data(),
                              codes.data(),  scale.data(), zero_point.data()};
    squant_cpu_simd({&tensor, 1}, config.options, simd);
    compare_with_golden(config, codes, scale, zero_point, count);
  }
  EXPECT_EQ(count.num_equal, 16176);
  EXPECT_EQ(count.num_undecided, 600);
}

INSTANTIATE_TEST_SUITE_P(Simd, SquantGoldenTest,
                         ::testing::Values(Simd::kScalar, Simd::k128, Simd::kAvx2, Simd::kAvx512),
                         [](const auto& param) {
                           return std::string("Simd_") + simd_name(param.param);
                         });

}  // namespace
}  // namespace squant::quant
