// The quickstart's residual network: 3x3 convolutions, batch norm, 1x1 projections, for 28x28 grey
// images.
#include "eval/models/registry.h"

namespace squant::eval {
namespace {

// A basic block: two 3x3 convolutions beside an identity, or beside a 1x1 projection where the
// shape changes.
int basic_block(Graph& graph, int input, const std::string& name, std::int64_t channels,
                std::int64_t stride) {
  int x = graph.conv(input, name + ".conv1", channels, Window::square(3, stride, 1));
  x = graph.relu(graph.batch_norm(x, name + ".bn1"));
  x = graph.conv(x, name + ".conv2", channels, Window::square(3, 1, 1));
  x = graph.batch_norm(x, name + ".bn2");
  int shortcut = input;
  if (stride != 1 || graph.node(input).shape.channels != channels) {
    shortcut = graph.conv(input, name + ".shortcut_conv", channels, Window::square(1, stride));
    shortcut = graph.batch_norm(shortcut, name + ".shortcut_bn");
  }
  return graph.relu(graph.add(x, shortcut));
}

Graph build() {
  Graph graph({1, 28, 28});
  int x = graph.conv(graph.input(), "stem.conv", 16, Window::square(3, 1, 1));
  x = graph.relu(graph.batch_norm(x, "stem.bn"));
  x = basic_block(graph, x, "stage1.block1", 32, 2);
  x = basic_block(graph, x, "stage2.block1", 64, 2);
  x = basic_block(graph, x, "stage2.block2", 64, 1);
  graph.linear(graph.global_avg_pool(x), "classifier", 10);
  return graph;
}

}  // namespace

ModelInfo fmnist_resnet_info() {
  return {
      "fmnist_resnet",
      {1, 28, 28},
      {0.2860},
      {0.3530},
      10,
      "squant-sweep's own small residual network for Fashion-MNIST (after He et al., CVPR 2016)",
      build};
}

}  // namespace squant::eval
