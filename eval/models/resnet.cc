// ResNet-18 and ResNet-50 (He et al., CVPR 2016) with pytorchcv's state-dict names.
#include <array>

#include "eval/models/registry.h"

namespace squant::eval {
namespace {

struct Layout {
  std::array<int, 4> num_units;  // per stage
  bool bottleneck = false;
};

// The residual path without its last ReLU: two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride
// in the first.
int body(Graph& graph, int input, const std::string& name, std::int64_t channels,
         std::int64_t stride, bool bottleneck) {
  if (!bottleneck) {
    const int x =
        graph.relu(conv_bn(graph, input, name + ".conv1", channels, Window::square(3, stride, 1)));
    return conv_bn(graph, x, name + ".conv2", channels, Window::square(3, 1, 1));
  }
  int x =
      graph.relu(conv_bn(graph, input, name + ".conv1", channels / 4, Window::square(1, stride)));
  x = graph.relu(conv_bn(graph, x, name + ".conv2", channels / 4, Window::square(3, 1, 1)));
  return conv_bn(graph, x, name + ".conv3", channels, Window::square(1));
}

int unit(Graph& graph, int input, const std::string& name, std::int64_t channels,
         std::int64_t stride, bool bottleneck) {
  const int x = body(graph, input, name + ".body", channels, stride, bottleneck);
  int identity = input;
  if (stride != 1 || graph.node(input).shape.channels != channels) {
    identity = conv_bn(graph, input, name + ".identity_conv", channels, Window::square(1, stride));
  }
  return graph.relu(graph.add(x, identity));
}

Graph build(const Layout& layout) {
  Graph graph({3, 224, 224});
  int x = graph.relu(
      conv_bn(graph, graph.input(), "features.init_block.conv", 64, Window::square(7, 2, 3)));
  x = graph.max_pool(x, Window::square(3, 2, 1));
  std::int64_t channels = layout.bottleneck ? 256 : 64;
  for (std::size_t stage = 0; stage < layout.num_units.size(); ++stage, channels *= 2) {
    for (int i = 0; i < layout.num_units[stage]; ++i) {
      const std::string name =
          "features.stage" + std::to_string(stage + 1) + ".unit" + std::to_string(i + 1);
      x = unit(graph, x, name, channels, i == 0 && stage > 0 ? 2 : 1, layout.bottleneck);
    }
  }
  graph.linear(graph.global_avg_pool(x), "output", 1000);
  return graph;
}

}  // namespace

ModelInfo resnet18_info() {
  return {"resnet18",
          {3, 224, 224},
          kImagenetMean,
          kImagenetStddev,
          1000,
          "He et al., \"Deep Residual Learning for Image Recognition\", CVPR 2016, table 1; "
          "pytorchcv 0.0.51 resnet18",
          [] {
            return build({{2, 2, 2, 2}, false});
          }};
}

ModelInfo resnet50_info() {
  return {"resnet50",
          {3, 224, 224},
          kImagenetMean,
          kImagenetStddev,
          1000,
          "He et al., \"Deep Residual Learning for Image Recognition\", CVPR 2016, table 1; "
          "pytorchcv 0.0.51 resnet50",
          [] {
            return build({{3, 4, 6, 3}, true});
          }};
}

}  // namespace squant::eval
