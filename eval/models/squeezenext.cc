// SqueezeNext 2.0-SqNxt-23 (Gholami et al., CVPR workshops 2018) with pytorchcv's state-dict names.
#include <array>

#include "eval/models/registry.h"

namespace squant::eval {
namespace {

Window window(std::int64_t kernel_h, std::int64_t kernel_w) {
  const std::int64_t y = kernel_h / 2;
  const std::int64_t x = kernel_w / 2;
  return {.kernel_h = kernel_h, .kernel_w = kernel_w, .padding = {y, x, y, x}};
}

int block(Graph& graph, int input, const std::string& name, std::int64_t channels,
          const Window& shape) {
  return graph.relu(conv_bn(graph, input, name, channels, shape, /*bias=*/true));
}

// Two squeezing 1x1 convolutions, 1x3, 3x1, and one that expands, beside an identity or a 1x1
// convolution.
int unit(Graph& graph, int input, const std::string& name, std::int64_t channels,
         std::int64_t stride) {
  const std::int64_t in_channels = graph.node(input).shape.channels;
  const bool resizes = stride == 2 || in_channels > channels;
  const std::int64_t squeezed = in_channels / (stride == 2 ? 1 : resizes ? 4 : 2);
  int x = block(graph, input, name + ".conv1", squeezed, Window::square(1, stride));
  x = block(graph, x, name + ".conv2", squeezed / 2, Window::square(1));
  x = block(graph, x, name + ".conv3", squeezed, window(1, 3));
  x = block(graph, x, name + ".conv4", squeezed, window(3, 1));
  x = block(graph, x, name + ".conv5", channels, Window::square(1));
  const int identity =
      resizes ? block(graph, input, name + ".identity_conv", channels, Window::square(1, stride))
              : input;
  return graph.relu(graph.add(x, identity));
}

Graph build() {
  constexpr std::array<int, 4> kNumUnits = {6, 6, 8, 1};
  Graph graph({3, 224, 224});
  int x = block(graph, graph.input(), "features.init_block.conv", 128, Window::square(7, 2, 1));
  Window pool = Window::square(3, 2);
  pool.ceil_mode = true;
  x = graph.max_pool(x, pool);
  std::int64_t channels = 64;
  for (std::size_t stage = 0; stage < kNumUnits.size(); ++stage, channels *= 2) {
    for (int i = 0; i < kNumUnits[stage]; ++i) {
      const std::string name =
          "features.stage" + std::to_string(stage + 1) + ".unit" + std::to_string(i + 1);
      x = unit(graph, x, name, channels, i == 0 && stage > 0 ? 2 : 1);
    }
  }
  x = block(graph, x, "features.final_block", 256, Window::square(1));
  graph.linear(graph.global_avg_pool(x), "output", 1000);
  return graph;
}

}  // namespace

ModelInfo sqnxt23_w2_info() {
  return {"sqnxt23_w2",
          {3, 224, 224},
          kImagenetMean,
          kImagenetStddev,
          1000,
          "Gholami et al., \"SqueezeNext: Hardware-Aware Neural Network Design\", CVPR workshops "
          "2018, 2.0-SqNxt-23; "
          "pytorchcv 0.0.51 sqnxt23_w2",
          build};
}

}  // namespace squant::eval
