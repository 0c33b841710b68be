// Inception-v3 (Szegedy et al., CVPR 2016) with pytorchcv's state-dict names.
#include "eval/models/registry.h"

namespace squant::eval {
namespace {

// Convolution, batch norm (epsilon 1e-3), ReLU. Without padding unless said.
int block(Graph& graph, int input, const std::string& name, std::int64_t channels,
          const Window& window) {
  return graph.relu(
      conv_bn(graph, input, name, channels, window, /*bias=*/false, /*epsilon=*/1e-3));
}

// Stride 1, output as large as the input.
Window same(std::int64_t kernel_h, std::int64_t kernel_w) {
  const std::int64_t y = kernel_h / 2;
  const std::int64_t x = kernel_w / 2;
  return {.kernel_h = kernel_h, .kernel_w = kernel_w, .padding = {y, x, y, x}};
}

struct Step {
  std::int64_t channels;
  Window window;
};

// NAME.conv_list.conv1, conv2, ...
int sequence(Graph& graph, int input, const std::string& name, const std::vector<Step>& steps) {
  int x = input;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    x = block(graph, x, name + ".conv_list.conv" + std::to_string(i + 1), steps[i].channels,
              steps[i].window);
  }
  return x;
}

int pointwise(Graph& graph, int input, const std::string& name, std::int64_t channels) {
  return block(graph, input, name + ".conv", channels, same(1, 1));
}

int pooled(Graph& graph, int input, const std::string& name, std::int64_t channels) {
  return pointwise(graph, graph.avg_pool(input, same(3, 3)), name, channels);
}

// A sequence that ends in a 1x3 beside a 3x1 convolution.
int split(Graph& graph, int input, const std::string& name, const std::vector<Step>& steps) {
  const int x = sequence(graph, input, name, steps);
  const int wide = block(graph, x, name + ".conv1x3", 384, same(1, 3));
  const int high = block(graph, x, name + ".conv3x1", 384, same(3, 1));
  return graph.concat({wide, high});
}

int inception_a(Graph& graph, int input, const std::string& unit, std::int64_t pool_channels) {
  const std::string name = unit + ".branches.branch";
  const int a = pointwise(graph, input, name + "1", 64);
  const int b = sequence(graph, input, name + "2", {{48, same(1, 1)}, {64, same(5, 5)}});
  const int c =
      sequence(graph, input, name + "3", {{64, same(1, 1)}, {96, same(3, 3)}, {96, same(3, 3)}});
  const int d = pooled(graph, input, name + "4", pool_channels);
  return graph.concat({a, b, c, d});
}

int reduction_a(Graph& graph, int input, const std::string& unit) {
  const std::string name = unit + ".branches.branch";
  const Window halve = Window::square(3, 2);
  const int a = sequence(graph, input, name + "1", {{384, halve}});
  const int b =
      sequence(graph, input, name + "2", {{64, same(1, 1)}, {96, same(3, 3)}, {96, halve}});
  return graph.concat({a, b, graph.max_pool(input, halve)});
}

int inception_b(Graph& graph, int input, const std::string& unit, std::int64_t middle) {
  const std::string name = unit + ".branches.branch";
  const int a = pointwise(graph, input, name + "1", 192);
  const int b = sequence(graph, input, name + "2",
                         {{middle, same(1, 1)}, {middle, same(1, 7)}, {192, same(7, 1)}});
  const int c = sequence(graph, input, name + "3",
                         {{middle, same(1, 1)},
                          {middle, same(7, 1)},
                          {middle, same(1, 7)},
                          {middle, same(7, 1)},
                          {192, same(1, 7)}});
  const int d = pooled(graph, input, name + "4", 192);
  return graph.concat({a, b, c, d});
}

int reduction_b(Graph& graph, int input, const std::string& unit) {
  const std::string name = unit + ".branches.branch";
  const Window halve = Window::square(3, 2);
  const int a = sequence(graph, input, name + "1", {{192, same(1, 1)}, {320, halve}});
  const int b = sequence(graph, input, name + "2",
                         {{192, same(1, 1)}, {192, same(1, 7)}, {192, same(7, 1)}, {192, halve}});
  return graph.concat({a, b, graph.max_pool(input, halve)});
}

int inception_c(Graph& graph, int input, const std::string& unit) {
  const std::string name = unit + ".branches.branch";
  const int a = pointwise(graph, input, name + "1", 320);
  const int b = split(graph, input, name + "2", {{384, same(1, 1)}});
  const int c = split(graph, input, name + "3", {{448, same(1, 1)}, {384, same(3, 3)}});
  const int d = pooled(graph, input, name + "4", 192);
  return graph.concat({a, b, c, d});
}

int stem(Graph& graph, const std::string& name) {
  int x = block(graph, graph.input(), name + ".conv1", 32, Window::square(3, 2));
  x = block(graph, x, name + ".conv2", 32, Window::square(3));
  x = block(graph, x, name + ".conv3", 64, same(3, 3));
  x = graph.max_pool(x, Window::square(3, 2));
  x = block(graph, x, name + ".conv4", 80, same(1, 1));
  x = block(graph, x, name + ".conv5", 192, Window::square(3));
  return graph.max_pool(x, Window::square(3, 2));
}

Graph build() {
  Graph graph({3, 299, 299});
  int x = stem(graph, "features.init_block");
  x = inception_a(graph, x, "features.stage1.unit1", 32);
  x = inception_a(graph, x, "features.stage1.unit2", 64);
  x = inception_a(graph, x, "features.stage1.unit3", 64);
  x = reduction_a(graph, x, "features.stage2.unit1");
  x = inception_b(graph, x, "features.stage2.unit2", 128);
  x = inception_b(graph, x, "features.stage2.unit3", 160);
  x = inception_b(graph, x, "features.stage2.unit4", 160);
  x = inception_b(graph, x, "features.stage2.unit5", 192);
  x = reduction_b(graph, x, "features.stage3.unit1");
  x = inception_c(graph, x, "features.stage3.unit2");
  x = inception_c(graph, x, "features.stage3.unit3");
  graph.linear(graph.global_avg_pool(x), "output.fc", 1000);
  return graph;
}

}  // namespace

ModelInfo inceptionv3_info() {
  return {"inceptionv3",
          {3, 299, 299},
          kImagenetMean,
          kImagenetStddev,
          1000,
          "Szegedy et al., \"Rethinking the Inception Architecture for Computer Vision\", CVPR "
          "2016; pytorchcv 0.0.51 "
          "inceptionv3",
          build};
}

}  // namespace squant::eval
