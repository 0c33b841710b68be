#include "eval/models/models.h"

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "eval/models/registry.h"

namespace squant::eval {
namespace {

std::uint64_t fnv1a(const std::string& text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  return hash;
}

// The element `index` (from 0) of the SplitMix64 sequence that starts at `seed`, as 24 bits in [0,
// 1).
double splitmix_uniform(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  z = z ^ (z >> 31);
  return static_cast<double>(z >> 40) * 0x1p-24;
}

// What one uniform number becomes, by the entry's name and shape: u -> (u + offset) * factor +
// base.
struct Spread {
  double offset = 0, factor = 1, base = 0;
};

Spread spread(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (shape.size() >= 2) {
    const std::int64_t row =
        std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
    return {-0.5, 2 * std::sqrt(6.0 / static_cast<double>(row)), 0};
  }
  if (name.ends_with("running_var") || name.ends_with(".weight")) {
    return {0, 1, 0.5};
  }
  return {-0.5, 0.2, 0};
}

}  // namespace

const std::vector<ModelInfo>& all_models() {
  static const std::vector<ModelInfo> models = {
      resnet18_info(),      resnet50_info(),         inceptionv3_info(),
      sqnxt23_w2_info(),    shufflenet_g1_w1_info(), efficientnet_lite0_info(),
      fmnist_resnet_info(), fmnist_mobilenet_info(),
  };
  return models;
}

const ModelInfo& model_info(const std::string& name) {
  std::string known;
  for (const ModelInfo& info : all_models()) {
    if (info.name == name) {
      return info;
    }
    known += (known.empty() ? "" : ", ") + info.name;
  }
  throw std::invalid_argument("unknown model \"" + name + "\"; known are: " + known);
}

double generated_uniform(const std::string& name, std::uint64_t index) {
  return splitmix_uniform(fnv1a(name), index);
}

StateDict generated_state_dict(const Graph& graph) {
  StateDict result;
  for (const auto& [name, shape] : graph.parameters()) {
    const std::uint64_t seed = fnv1a(name);
    const Spread by = spread(name, shape);
    HostTensor& tensor = result[name];
    tensor.shape = shape;
    tensor.values.resize(static_cast<std::size_t>(
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      tensor.values[i] =
          static_cast<float>((splitmix_uniform(seed, i) + by.offset) * by.factor + by.base);
    }
  }
  return result;
}

std::vector<float> calibration_noise(std::int64_t count) {
  const std::uint64_t seed = fnv1a("calibration");
  std::vector<float> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = static_cast<float>(splitmix_uniform(seed, i));
  }
  return result;
}

}  // namespace squant::eval
