// The networks this program knows. A new network is one file here and one line in models.cc.
#pragma once

#include <string>
#include <vector>

#include "eval/graph/graph.h"

namespace squant::eval {

struct ModelInfo {
  std::string name;
  Shape input;  // of one image, e.g. 3 x 224 x 224
  std::vector<double>
      mean;  // per channel, of pixels in [0, 1]: the network sees (pixel / 255 - mean) / stddev
  std::vector<double> stddev;
  std::int64_t num_classes = 0;
  std::string source;  // the publication and the implementation whose state-dict names are used
  Graph (*build)() = nullptr;
};

// Throws std::invalid_argument that lists the known names.
const ModelInfo& model_info(const std::string& name);
const std::vector<ModelInfo>& all_models();

// Made-up weights and inputs that every implementation can generate: u(name, i) in [0, 1),
// docs/numerics.md. Used for golden tests and for the noise batch that sets activation ranges.
double generated_uniform(const std::string& name, std::uint64_t index);
StateDict generated_state_dict(const Graph& graph);
// `count` values u("calibration", i), in NCHW order: every value is a multiple of 2^-24.
std::vector<float> calibration_noise(std::int64_t count);

}  // namespace squant::eval
