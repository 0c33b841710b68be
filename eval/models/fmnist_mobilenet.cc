// The quickstart's network of depthwise separable convolutions with ReLU6, for 28x28 grey images.
#include "eval/models/registry.h"

namespace squant::eval {
namespace {

// A depthwise 3x3 convolution, then a pointwise 1x1 convolution; batch norm and ReLU6 after each.
int separable_block(Graph& graph, int input, const std::string& name, std::int64_t channels,
                    std::int64_t stride) {
  const std::int64_t in_channels = graph.node(input).shape.channels;
  int x = graph.conv(input, name + ".depthwise_conv", in_channels, Window::square(3, stride, 1),
                     in_channels);
  x = graph.relu6(graph.batch_norm(x, name + ".depthwise_bn"));
  x = graph.conv(x, name + ".pointwise_conv", channels, Window::square(1));
  return graph.relu6(graph.batch_norm(x, name + ".pointwise_bn"));
}

Graph build() {
  Graph graph({1, 28, 28});
  int x = graph.conv(graph.input(), "stem.conv", 16, Window::square(3, 1, 1));
  x = graph.relu6(graph.batch_norm(x, "stem.bn"));
  x = separable_block(graph, x, "block1", 64, 2);
  x = separable_block(graph, x, "block2", 64, 1);
  x = separable_block(graph, x, "block3", 128, 2);
  x = separable_block(graph, x, "block4", 128, 1);
  x = separable_block(graph, x, "block5", 256, 1);
  x = separable_block(graph, x, "block6", 256, 1);
  graph.linear(graph.global_avg_pool(x), "classifier", 10);
  return graph;
}

}  // namespace

ModelInfo fmnist_mobilenet_info() {
  return {"fmnist_mobilenet",
          {1, 28, 28},
          {0.2860},
          {0.3530},
          10,
          "squant-sweep's own small depthwise separable network for Fashion-MNIST (after Howard et "
          "al., "
          "arXiv 1704.04861)",
          build};
}

}  // namespace squant::eval
