// The search for the flips of stage C against sorting all candidates.
#include "quant/squant_team_select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "tests/quant/thread_team.h"

namespace squant::quant {
namespace {

using testing::run_team;
using testing::ThreadTeam;

constexpr std::int32_t kLo = -8;
constexpr std::int32_t kHi = 7;

struct Channel {
  std::vector<float> errors;
  std::vector<std::int8_t> codes;
  std::int32_t count = 0;
  std::int32_t stride = 1;
  float above = 1.125F;

  Candidates candidates() { return {errors.data(), count, stride, above, codes.data(), kLo, kHi}; }
};

// Codes after the flips, by sorting.
std::vector<std::int8_t> sorted_flips(Channel channel, FlipPlan plan) {
  const Candidates of = channel.candidates();
  std::vector<std::uint64_t> keys;
  for (std::int32_t i = 0; i < of.count; ++i) {
    const float error = of.errors[i * of.stride];
    const std::int8_t code = of.codes[of.element(i)];
    if (plan.up ? error < 0 && code < kHi : error > 0 && code > kLo)
      keys.push_back(flip_key(std::fabs(error), static_cast<std::uint32_t>(of.element(i))));
  }
  std::sort(keys.begin(), keys.end(), std::greater<>());
  for (std::size_t i = 0; i < keys.size() && static_cast<std::int64_t>(i) < plan.count; ++i)
    flip_code(of, keys[i], plan.up);
  return channel.codes;
}

std::vector<std::int8_t> team_flips(int team_size, std::int32_t max_keys, Channel channel,
                                    FlipPlan plan) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(max_keys));
  std::int32_t num_keys = 0;
  run_team(team_size, [&](ThreadTeam& team) {
    flip_candidates(team, channel.candidates(),
                    {nullptr, nullptr, keys.data(), max_keys, &num_keys}, plan);
  });
  return channel.codes;
}

// Errors of many kinds, among them all equal, two values a bit apart, and all but a few tiny.
Channel draw_channel(std::mt19937& random, std::int32_t size, int kind) {
  std::uniform_real_distribution<float> uniform(-0.5F, 0.5F);
  Channel channel;
  if (random() % 2 == 0) channel.above = INFINITY;
  channel.stride = kind == 5 ? 9 : 1;
  for (std::int32_t i = 0; i < size * channel.stride; ++i) {
    float error = uniform(random);
    if (kind == 1) error = random() % 2 == 0 ? 0.25F : -0.25F;
    if (kind == 2) error = random() % 2 == 0 ? -0.25F : -0.25F - 0x1p-26F;
    if (kind == 3 && random() % 32 != 0) error *= 1e-30F;
    if (kind == 4) error = random() % 16 == 0 ? error : 0.0F;
    if (kind == 5) error = i % 9 == 0 ? 2.0F * error : static_cast<float>(random() % 9);
    if (kind == 6) error = -0.5F;
    channel.errors.push_back(error);
    channel.codes.push_back(static_cast<std::int8_t>(static_cast<int>(random() % 16) + kLo));
  }
  channel.count = size;
  channel.errors.resize(channel.errors.size() + 3, 7.0F);  // packs are read whole
  return channel;
}

TEST(FlipCandidatesTest, FlipsWhatSortingFlips) {
  constexpr std::uint32_t kSeed = 17;
  constexpr int kNumKinds = 7;
  std::mt19937 random(kSeed);
  const std::int32_t sizes[] = {1, 2, 5, 31, 32, 33, 100, 1000, 3000};
  for (int trial = 0; trial < 2000; ++trial) {
    const std::int32_t size = sizes[random() % std::size(sizes)];
    const int kind = static_cast<int>(random() % kNumKinds);
    const Channel channel = draw_channel(random, size, kind);
    // Few flips, as the sum of errors asks for, or any number up to more than there are.
    const std::int64_t most = random() % 2 == 0 ? 8 : size + 2;
    const FlipPlan plan{static_cast<std::int64_t>(random()) % (most + 1), random() % 2 == 0, true};
    const std::int32_t max_keys = random() % 2 == 0 ? 64 : 4;
    const int team_size = random() % 4 == 0 ? 8 : 1;
    ASSERT_EQ(team_flips(team_size, max_keys, channel, plan), sorted_flips(channel, plan))
        << "seed " << kSeed << " trial " << trial << " size " << size << " kind " << kind
        << " count " << plan.count << (plan.up ? " up" : " down") << " max_keys " << max_keys;
  }
}

}  // namespace
}  // namespace squant::quant
