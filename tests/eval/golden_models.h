// The reference's golden data of the paper's networks: tests/data/models.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace squant::eval {

inline const char* const kGoldenModels[] = {"resnet18", "resnet50", "inceptionv3", "sqnxt23_w2", "shufflenet_g1_w1"};

inline std::string golden_path(const std::string& file) { return std::string(SQUANT_TESTS_DATA_DIR "/models/") + file; }

inline nlohmann::json golden_json(const std::string& model) {
  std::ifstream file(golden_path(model + ".json"));
  return nlohmann::json::parse(file);
}

}  // namespace squant::eval
