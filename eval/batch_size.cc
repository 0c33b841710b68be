#include "eval/batch_size.h"

#include <algorithm>

namespace squant::eval {

std::int64_t default_batch_size(const ModelInfo& info, bool exact) {
  if (exact) {
    return 1024;
  }
  // Measured on resnet18, efficientnet_lite0 and the quickstart's networks: best at 20 to 25 MB.
  constexpr std::int64_t kActivationBytes = 24 << 20;
  const Graph graph = info.build();
  std::int64_t largest = 1;
  for (const Node& node : graph.nodes()) {
    largest = std::max(largest, node.shape.size() * 4);
  }
  return std::clamp(kActivationBytes / largest, std::int64_t{4}, std::int64_t{64});
}

}  // namespace squant::eval
