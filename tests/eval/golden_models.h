// The reference's golden data of the paper's networks: tests/data/models.
#pragma once

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "eval/checkpoint/safetensors.h"

namespace squant::eval {

inline const char* const kGoldenModels[] = {"resnet18", "resnet50", "inceptionv3", "sqnxt23_w2",
                                            "shufflenet_g1_w1"};

inline std::string golden_path(const std::string& file) {
  return std::string(SQUANT_TESTS_DATA_DIR "/models/") + file;
}

inline nlohmann::json golden_json(const std::string& model) {
  std::ifstream file(golden_path(model + ".json"));
  return nlohmann::json::parse(file);
}

// NAME.safetensors.
class GoldenTensors {
 public:
  explicit GoldenTensors(const std::string& model)
      : file_(golden_path(model + ".safetensors")),
        view_(parse_safetensors(file_.bytes(), model)) {}

  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const SafetensorsEntry& entry = view_.entries.at(name);
    if (entry.dtype != (sizeof(T) == 1 ? "I8" : "F32")) {
      throw std::logic_error(name + " is " + entry.dtype);
    }
    std::vector<T> result(entry.data.size() / sizeof(T));
    std::memcpy(result.data(), entry.data.data(), entry.data.size());
    return result;
  }

  bool has(const std::string& name) const { return view_.entries.contains(name); }
  // Names that start with `prefix`, without it.
  std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> result;
    for (const auto& [name, entry] : view_.entries) {
      if (name.starts_with(prefix)) {
        result.push_back(name.substr(prefix.size()));
      }
    }
    return result;
  }

 private:
  MappedFile file_;
  SafetensorsView view_;
};

// |a - b| / |b|, Euclidean norms.
inline double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a.at(i)) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

}  // namespace squant::eval
