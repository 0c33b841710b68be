// ShuffleNet 1x, one group (Zhang et al., CVPR 2018) with pytorchcv's state-dict names.
#include <array>

#include "eval/models/registry.h"

namespace squant::eval {
namespace {

constexpr std::int64_t kGroups = 1;

// 1x1, shuffle, depthwise 3x3, 1x1; added to its input, or, with stride 2, concatenated with its
// average pool.
int unit(Graph& graph, int input, const std::string& name, std::int64_t channels, bool downsample) {
  const std::int64_t in_channels = graph.node(input).shape.channels;
  const std::int64_t middle = channels / 4;
  const std::int64_t expanded = downsample ? channels - in_channels : channels;
  int x = graph.conv(input, name + ".compress_conv1", middle, Window::square(1), kGroups);
  x = graph.relu(graph.batch_norm(x, name + ".compress_bn1"));
  x = graph.channel_shuffle(x, kGroups);
  x = graph.conv(x, name + ".dw_conv2", middle, Window::square(3, downsample ? 2 : 1, 1), middle);
  x = graph.batch_norm(x, name + ".dw_bn2");
  x = graph.conv(x, name + ".expand_conv3", expanded, Window::square(1), kGroups);
  x = graph.batch_norm(x, name + ".expand_bn3");
  if (downsample) {
    return graph.relu(graph.concat({x, graph.avg_pool(input, Window::square(3, 2, 1))}));
  }
  return graph.relu(graph.add(x, input));
}

Graph build() {
  constexpr std::array<int, 3> kNumUnits = {4, 8, 4};
  Graph graph({3, 224, 224});
  int x = graph.conv(graph.input(), "features.init_block.conv", 24, Window::square(3, 2, 1));
  x = graph.relu(graph.batch_norm(x, "features.init_block.bn"));
  x = graph.max_pool(x, Window::square(3, 2, 1));
  std::int64_t channels = 144;
  for (std::size_t stage = 0; stage < kNumUnits.size(); ++stage, channels *= 2) {
    for (int i = 0; i < kNumUnits[stage]; ++i) {
      const std::string name =
          "features.stage" + std::to_string(stage + 1) + ".unit" + std::to_string(i + 1);
      x = unit(graph, x, name, channels, /*downsample=*/i == 0);
    }
  }
  graph.linear(graph.global_avg_pool(x), "output", 1000);
  return graph;
}

}  // namespace

ModelInfo shufflenet_g1_w1_info() {
  return {"shufflenet_g1_w1",
          {3, 224, 224},
          kImagenetMean,
          kImagenetStddev,
          1000,
          "Zhang et al., \"ShuffleNet: An Extremely Efficient Convolutional Neural Network for "
          "Mobile Devices\", "
          "CVPR 2018, table 1, g = 1; pytorchcv 0.0.51 shufflenet_g1_w1",
          build};
}

}  // namespace squant::eval
