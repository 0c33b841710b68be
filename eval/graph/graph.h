// A network as a small static graph: what a model file builds, and what the engines execute.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "eval/checkpoint/state_dict.h"

namespace squant::eval {

enum class Op : std::uint8_t {
  kInput,
  kConv,       // 2-d convolution, NAME.weight [O, I / groups, kh, kw], NAME.bias [O] if `bias`
  kLinear,     // NAME.weight [O, I], NAME.bias [O] if `bias`; its input is C x 1 x 1
  kBatchNorm,  // inference: (x - running_mean) / sqrt(running_var + epsilon) * weight + bias
  kRelu,
  kRelu6,
  kAdd,     // of two inputs of one shape
  kConcat,  // along channels
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,   // C x 1 x 1
  kChannelShuffle,  // [groups, C / groups] transposed
};

// One image's activation; the batch dimension is the engine's.
struct Shape {
  std::int64_t channels = 0;
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t size() const { return channels * height * width; }
  bool operator==(const Shape&) const = default;
};

struct Padding {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  static Padding same(std::int64_t all) { return {all, all, all, all}; }
  bool operator==(const Padding&) const = default;
};

// The window of a convolution or a pool.
struct Window {
  std::int64_t kernel_h = 1, kernel_w = 1;
  std::int64_t stride_h = 1, stride_w = 1;
  Padding padding = {};
  bool ceil_mode =
      false;  // pools: a last window that starts inside the input or its left padding counts
  bool count_include_pad = true;  // average pool: divide by the window's size, padding included
  static Window square(std::int64_t kernel, std::int64_t stride = 1, std::int64_t pad = 0) {
    return {kernel, kernel, stride, stride, Padding::same(pad)};
  }
};

struct Node {
  Op op = Op::kInput;
  std::vector<int> inputs;  // indices of earlier nodes
  std::string name;         // state-dict prefix; empty without parameters
  Shape shape;              // of the output
  Window window;            // kConv, kMaxPool, kAvgPool
  std::int64_t groups = 1;  // kConv, kChannelShuffle
  bool bias = false;        // kConv, kLinear
  double epsilon = 0;       // kBatchNorm
  bool is_layer() const { return op == Op::kConv || op == Op::kLinear; }
};

// Nodes in topological order: node 0 is the input, the last node the logits. The quantized layers
// (convolutions and linear layers) in node order are the paper's layer order: the first one's input
// stays float, the last one's has 8 bits.
class Graph {
 public:
  explicit Graph(Shape input);

  // Each adds a node and returns its index. They throw std::logic_error where shapes do not fit: a
  // model file is code.
  int conv(int input, const std::string& name, std::int64_t out_channels, const Window& window,
           std::int64_t groups = 1, bool bias = false);
  int linear(int input, const std::string& name, std::int64_t out_features, bool bias = true);
  int batch_norm(int input, const std::string& name, double epsilon = 1e-5);
  int relu(int input);
  int relu6(int input);
  int add(int a, int b);
  int concat(const std::vector<int>& inputs);
  int max_pool(int input, const Window& window);
  int avg_pool(int input, const Window& window);
  int global_avg_pool(int input);
  int channel_shuffle(int input, std::int64_t groups);

  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(int index) const { return nodes_.at(static_cast<std::size_t>(index)); }
  int input() const { return 0; }
  int output() const { return static_cast<int>(nodes_.size()) - 1; }
  std::vector<int> layers() const;  // node indices of the quantized layers, in order
  std::vector<std::vector<int>> consumers() const;  // per node, the nodes that read it
  // Every state-dict entry the network needs, with its shape, in node order.
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> parameters() const;

 private:
  int append(Node node);
  int pool(Op op, int input, const Window& window);
  std::vector<Node> nodes_;
};

// Throws std::invalid_argument that lists every missing, unexpected and mis-shaped tensor; `where`
// names the checkpoint.
void check_state_dict(const Graph& graph, const StateDict& tensors, const std::string& where);

}  // namespace squant::eval
