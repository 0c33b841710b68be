// The algorithm of the CUDA kernels, run here by threads that meet at a barrier: teams of every
// size give the codes of the reference.
#include "quant/squant_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "quant/squant.h"

namespace squant::quant {
namespace {

// What the threads of one team share.
struct Meeting {
  explicit Meeting(int size) : barrier(size), slots(static_cast<std::size_t>(size)) {}
  std::barrier<> barrier;
  std::vector<std::int64_t> slots;
};

class ThreadTeam {
 public:
  ThreadTeam(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(meeting_.slots.size()); }
  void sync() { meeting_.barrier.arrive_and_wait(); }
  WeightRange range_of(WeightRange value) {
    return reduce(value, [](WeightRange a, WeightRange b) {
      return WeightRange{min_or_nan(a.min, b.min), max_or_nan(a.max, b.max)};
    });
  }
  std::uint32_t max_of(std::uint32_t value) {
    return reduce(value, [](std::uint32_t a, std::uint32_t b) { return b > a ? b : a; });
  }
  std::int64_t sum_of(std::int64_t value) {
    return reduce(value, [](std::int64_t a, std::int64_t b) { return a + b; });
  }
  std::int32_t add(std::int32_t* counter, std::int32_t count) {
    return std::atomic_ref<std::int32_t>(*counter).fetch_add(count);
  }

 private:
  template <class T, class Combine>
  T reduce(T value, Combine combine) {
    std::memcpy(&meeting_.slots[static_cast<std::size_t>(rank_)], &value, sizeof value);
    sync();
    T result{};
    std::memcpy(&result, &meeting_.slots[0], sizeof result);
    for (std::size_t i = 1; i < meeting_.slots.size(); ++i) {
      T other{};
      std::memcpy(&other, &meeting_.slots[i], sizeof other);
      result = combine(result, other);
    }
    sync();
    return result;
  }
  Meeting& meeting_;
  int rank_;
};

// Few, so that rows here have more candidates than that.
constexpr std::int32_t kMaxKeys = 16;

struct RowResult {
  std::vector<std::int8_t> codes;
  float scale = 0;
  float zero_point = 0;
  bool finite = true;
};

RowResult by_team(int team_size, const std::vector<float>& weights, WeightShape shape,
                  const SquantOptions& options) {
  RowResult result;
  result.codes.assign(weights.size(), 99);
  std::vector<float> error(weights.size());
  std::vector<std::int16_t> rounded(weights.size());
  std::vector<std::uint64_t> keys(kMaxKeys);
  std::int32_t num_keys = 0;
  Meeting meeting(team_size);
  std::vector<std::thread> threads;
  std::vector<char> finite(static_cast<std::size_t>(team_size));
  for (int rank = 0; rank < team_size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadTeam team(meeting, rank);
      const TeamRow row{weights.data(), result.codes.data(), static_cast<std::int32_t>(shape.in),
                        static_cast<std::int32_t>(shape.kernel)};
      finite[static_cast<std::size_t>(rank)] =
          squant_team_row(team, row, options.bits, options.mode, options.rounding,
                          {error.data(), rounded.data(), keys.data(), kMaxKeys, &num_keys},
                          &result.scale, &result.zero_point);
    });
  }
  for (std::thread& thread : threads) thread.join();
  result.finite = finite[0] != 0;
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

// Normal weights, or weights on a coarse grid, which have many equal priorities.
std::vector<float> draw_weights(std::mt19937& random, std::int64_t size) {
  std::normal_distribution<float> normal(0.0F, 0.1F);
  std::uniform_int_distribution<int> grid(-20, 20);
  const bool coarse = random() % 3 == 0;
  const bool one_sided = random() % 4 == 0;
  std::vector<float> weights(static_cast<std::size_t>(size));
  for (float& weight : weights) {
    weight = coarse ? static_cast<float>(grid(random)) * 0.25F : normal(random);
    if (one_sided) weight = std::fabs(weight) + 0.5F;
  }
  return weights;
}

TEST(SquantTeamTest, TeamsOfEverySizeGiveTheCodesOfTheReference) {
  constexpr std::uint32_t kSeed = 20220425;
  std::mt19937 random(kSeed);
  const WeightShape shapes[] = {{1, 1, 1},  {1, 64, 1}, {1, 300, 1}, {1, 5, 9},
                                {1, 64, 9}, {1, 3, 49}, {1, 1, 25},  {1, 40, 7}};
  for (int trial = 0; trial < 300; ++trial) {
    const WeightShape shape = shapes[random() % std::size(shapes)];
    const std::vector<float> weights = draw_weights(random, shape.size());
    SquantOptions options;
    options.bits = 2 + static_cast<int>(random() % 7);
    options.mode = static_cast<Mode>(random() % 4);
    options.rounding = static_cast<Rounding>(random() % 2);
    options.num_threads = 1;
    const RowResult expected = by_cpu(weights, shape, options);
    for (const int team_size : {1, 3, 8}) {
      const RowResult got = by_team(team_size, weights, shape, options);
      ASSERT_TRUE(got.finite);
      ASSERT_EQ(got.codes, expected.codes)
          << "seed " << kSeed << " trial " << trial << " team " << team_size << " in " << shape.in
          << " kernel " << shape.kernel << " bits " << options.bits << ' '
          << mode_name(options.mode) << ' ' << rounding_name(options.rounding);
      ASSERT_EQ(got.scale, expected.scale);
      ASSERT_EQ(got.zero_point, expected.zero_point);
    }
  }
}

TEST(SquantTeamTest, NotFiniteWeightsAreReportedAndNothingIsWritten) {
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> weights(90, 0.5F);
    weights[77] = broken;
    const RowResult got = by_team(4, weights, {1, 10, 9}, {});
    EXPECT_FALSE(got.finite);
    EXPECT_EQ(got.codes, std::vector<std::int8_t>(90, 99));
  }
}

}  // namespace
}  // namespace squant::quant
