// EfficientNet-Lite0 with the state-dict names of the PyPI package efficientnet-lite-pytorch.
#include <algorithm>

#include "eval/models/registry.h"

namespace squant::eval {
namespace {

constexpr double kEpsilon = 1e-3;

// TensorFlow's "same": ceil(size / stride) outputs, of the padding the odd pixel at the bottom and
// right.
Window same(std::int64_t size, std::int64_t kernel, std::int64_t stride) {
  const std::int64_t outputs = (size + stride - 1) / stride;
  const std::int64_t all = std::max<std::int64_t>((outputs - 1) * stride + kernel - size, 0);
  Window window = Window::square(kernel, stride);
  window.padding = {all / 2, all / 2, all - all / 2, all - all / 2};
  return window;
}

struct Layer {
  std::string conv, norm;
  std::int64_t channels = 0, kernel = 1, stride = 1, groups = 1;
};

int conv_norm(Graph& graph, int input, const Layer& layer) {
  const Window window = same(graph.node(input).shape.height, layer.kernel, layer.stride);
  const int x = graph.conv(input, layer.conv, layer.channels, window, layer.groups);
  return graph.batch_norm(x, layer.norm, kEpsilon);
}

struct Stage {
  std::int64_t expansion, channels;
  int repeats;
  std::int64_t kernel, stride;
};

// Expansion (1x1), depthwise, projection (1x1, no ReLU); added to its input where the shapes allow.
int block(Graph& graph, int input, const std::string& name, const Stage& stage,
          std::int64_t stride) {
  const std::int64_t in_channels = graph.node(input).shape.channels;
  const std::int64_t expanded = in_channels * stage.expansion;
  int x = input;
  if (stage.expansion != 1) {
    x = graph.relu6(conv_norm(graph, x, {name + "._expand_conv", name + "._bn0", expanded}));
  }
  x = graph.relu6(conv_norm(
      graph, x,
      {name + "._depthwise_conv", name + "._bn1", expanded, stage.kernel, stride, expanded}));
  x = conv_norm(graph, x, {name + "._project_conv", name + "._bn2", stage.channels});
  return stride == 1 && in_channels == stage.channels ? graph.add(x, input) : x;
}

Graph build() {
  const std::vector<Stage> stages = {{1, 16, 1, 3, 1}, {6, 24, 2, 3, 2},  {6, 40, 2, 5, 2},
                                     {6, 80, 3, 3, 2}, {6, 112, 3, 5, 1}, {6, 192, 4, 5, 2},
                                     {6, 320, 1, 3, 1}};
  Graph graph({3, 224, 224});
  int x = graph.relu6(conv_norm(graph, graph.input(), {"_conv_stem", "_bn0", 32, 3, 2}));
  int index = 0;
  for (const Stage& stage : stages) {
    for (int i = 0; i < stage.repeats; ++i, ++index) {
      x = block(graph, x, "_blocks." + std::to_string(index), stage, i == 0 ? stage.stride : 1);
    }
  }
  x = graph.relu6(conv_norm(graph, x, {"_conv_head", "_bn1", 1280}));
  graph.linear(graph.global_avg_pool(x), "_fc", 1000);
  return graph;
}

}  // namespace

ModelInfo efficientnet_lite0_info() {
  constexpr double kMean = 127.0 / 255;
  constexpr double kStddev = 128.0 / 255;
  return {"efficientnet_lite0",
          {3, 224, 224},
          {kMean, kMean, kMean},
          {kStddev, kStddev, kStddev},
          1000,
          "Tan and Le, \"EfficientNet\", ICML 2019, in the Lite variant (no "
          "squeeze-and-excitation, ReLU6); PyPI "
          "efficientnet-lite-pytorch 0.1.0",
          build};
}

}  // namespace squant::eval
