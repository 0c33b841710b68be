// The reference's golden codes, and how an implementation's are compared with them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "eval/checkpoint/safetensors.h"
#include "quant/squant.h"

namespace squant::quant {

inline const std::map<std::string, Mode> kModes = {
    {"e", Mode::kE}, {"ek", Mode::kEK}, {"ec", Mode::kEC}, {"ekc", Mode::kEKC}};

inline const std::string kGoldenPath = SQUANT_TESTS_DATA_DIR "/quant/squant_codes.safetensors";

class Golden {
 public:
  static const Golden& get() {
    static const Golden golden;
    return golden;
  }

  const std::map<std::string, eval::SafetensorsEntry>& entries() const { return view_.entries; }

  template <class T>
  std::vector<T> values(const std::string& name) const {
    const auto& data = view_.entries.at(name).data;
    std::vector<T> values(data.size() / sizeof(T));
    std::memcpy(values.data(), data.data(), data.size());
    return values;
  }
  bool has(const std::string& name) const { return view_.entries.count(name) > 0; }

 private:
  const eval::MappedFile file_{kGoldenPath};
  const eval::SafetensorsView view_ = eval::parse_safetensors(file_.bytes(), kGoldenPath);
};

// CASE/w{b}.{mode}.{rounding}/codes
struct Config {
  std::string prefix;  // all before "codes"
  std::string weight;
  std::string affine;  // CASE/w{b}/
  SquantOptions options;
};

inline std::vector<Config> configs() {
  std::vector<Config> configs;
  for (const auto& [name, entry] : Golden::get().entries()) {
    if (!name.ends_with("/codes")) continue;
    const std::string prefix = name.substr(0, name.size() - 5);
    const std::size_t begin = prefix.rfind('/', prefix.size() - 2) + 1;
    const std::string setting = prefix.substr(begin, prefix.size() - 1 - begin);
    const std::size_t mode_at = setting.find('.') + 1;
    const std::size_t rounding_at = setting.find('.', mode_at) + 1;
    Config config{prefix,
                  prefix.substr(0, begin) + "weight",
                  prefix.substr(0, begin) + setting.substr(0, mode_at - 1) + "/",
                  {}};
    config.options.bits = std::stoi(setting.substr(1));
    config.options.mode = kModes.at(setting.substr(mode_at, rounding_at - 1 - mode_at));
    config.options.rounding = parse_rounding(setting.substr(rounding_at));
    configs.push_back(config);
  }
  return configs;
}

// What an undecided channel must fulfil: codes in range, and the sums that the mode corrects within
// half a step.
inline void check_undecided(const float* weights, const std::int8_t* codes, float scale,
                            float zero_point, const WeightShape& shape,
                            const SquantOptions& options) {
  constexpr double kHalf = 0.5 + 1e-6;  // the reference sums in float32
  const int half = 1 << (options.bits - 1);
  double channel = 0;
  for (std::int64_t i = 0; i < shape.in; ++i) {
    double kernel = 0;
    for (std::int64_t j = 0; j < shape.kernel; ++j) {
      const std::int64_t at = i * shape.kernel + j;
      const float scaled = scale * weights[at];
      kernel += static_cast<double>(codes[at]) - static_cast<double>(scaled - zero_point);
      EXPECT_GE(codes[at], -half);
      EXPECT_LE(codes[at], half - 1);
    }
    if (options.mode == Mode::kEK) {
      EXPECT_LE(std::fabs(kernel), kHalf) << "kernel " << i;
    }
    channel += kernel;
  }
  if (options.mode != Mode::kEK) {
    EXPECT_LE(std::fabs(channel), kHalf);
  }
}

// How many channels are the reference's, code by code, and how many it leaves open.
struct GoldenCount {
  std::int64_t num_equal = 0;
  std::int64_t num_undecided = 0;
};
inline void compare_with_golden(const Config& config, const std::vector<std::int8_t>& codes,
                                const std::vector<float>& scale,
                                const std::vector<float>& zero_point, GoldenCount& count) {
  SCOPED_TRACE(config.prefix);
  const Golden& golden = Golden::get();
  const std::vector<float> weights = golden.values<float>(config.weight);
  const WeightShape shape = weight_shape(golden.entries().at(config.weight).shape, config.weight);
  const auto row = static_cast<std::size_t>(shape.row());
  EXPECT_EQ(scale, golden.values<float>(config.affine + "scale"));
  EXPECT_EQ(zero_point, golden.values<float>(config.affine + "zero_point"));
  const std::vector<std::int8_t> expected = golden.values<std::int8_t>(config.prefix + "codes");
  ASSERT_EQ(codes.size(), expected.size());
  std::vector<std::uint8_t> decided(scale.size(), 1);
  if (golden.has(config.prefix + "decided"))
    decided = golden.values<std::uint8_t>(config.prefix + "decided");
  for (std::size_t o = 0; o < scale.size(); ++o) {
    SCOPED_TRACE("channel " + std::to_string(o));
    if (decided[o] != 0) {
      ++count.num_equal;
      ASSERT_EQ(std::memcmp(&codes[o * row], &expected[o * row], row), 0);
    } else {
      ++count.num_undecided;
      check_undecided(&weights[o * row], &codes[o * row], scale[o], zero_point[o], shape,
                      config.options);
    }
  }
}

}  // namespace squant::quant
