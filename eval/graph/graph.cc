#include "eval/graph/graph.h"

#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>

namespace squant::eval {
namespace {

void require(bool condition, const std::string& message) {
  if (!condition) {
    throw std::logic_error("graph: " + message);
  }
}

std::string text(const Shape& shape) {
  return std::to_string(shape.channels) + " x " + std::to_string(shape.height) + " x " +
         std::to_string(shape.width);
}

std::string text(const std::vector<std::int64_t>& shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    result += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return result + "]";
}

// Positions of a window along one side.
std::int64_t num_windows(std::int64_t size, std::int64_t before, std::int64_t after,
                         std::int64_t kernel, std::int64_t stride, bool ceil_mode) {
  require(kernel > 0 && stride > 0 && before >= 0 && after >= 0, "a window needs positive sizes");
  const std::int64_t room = size + before + after - kernel;
  require(room >= 0, "a window larger than its padded input");
  std::int64_t result = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (result - 1) * stride >= size + before) {
    --result;  // the last window would see nothing but padding
  }
  return result;
}

void apply_window(const Window& window, Shape& shape) {
  const Padding& pad = window.padding;
  shape.height = num_windows(shape.height, pad.top, pad.bottom, window.kernel_h, window.stride_h,
                             window.ceil_mode);
  shape.width = num_windows(shape.width, pad.left, pad.right, window.kernel_w, window.stride_w,
                            window.ceil_mode);
}

}  // namespace

Graph::Graph(Shape input) {
  require(input.channels > 0 && input.height > 0 && input.width > 0, "an empty input");
  Node node;
  node.shape = input;
  nodes_.push_back(std::move(node));
}

int Graph::append(Node node) {
  nodes_.push_back(std::move(node));
  return output();
}

int Graph::conv(int input, const std::string& name, std::int64_t out_channels, const Window& window,
                std::int64_t groups, bool bias) {
  Node conv;
  conv.op = Op::kConv;
  conv.inputs = {input};
  conv.name = name;
  conv.shape = node(input).shape;
  conv.window = window;
  conv.groups = groups;
  conv.bias = bias;
  require(!window.ceil_mode, name + ": a convolution has no ceil_mode");
  require(groups > 0 && out_channels > 0 && conv.shape.channels % groups == 0 &&
              out_channels % groups == 0,
          name + ": channels are no multiple of groups");
  apply_window(window, conv.shape);
  conv.shape.channels = out_channels;
  return append(std::move(conv));
}

int Graph::linear(int input, const std::string& name, std::int64_t out_features, bool bias) {
  const Shape& in = node(input).shape;
  require(in.height == 1 && in.width == 1,
          name + ": a linear layer wants C x 1 x 1, got " + text(in));
  require(out_features > 0, name + ": no output");
  Node linear;
  linear.op = Op::kLinear;
  linear.inputs = {input};
  linear.name = name;
  linear.shape = {out_features, 1, 1};
  linear.bias = bias;
  return append(std::move(linear));
}

int Graph::batch_norm(int input, const std::string& name, double epsilon) {
  Node norm;
  norm.op = Op::kBatchNorm;
  norm.inputs = {input};
  norm.name = name;
  norm.shape = node(input).shape;
  norm.epsilon = epsilon;
  return append(std::move(norm));
}

int Graph::relu(int input) {
  Node relu;
  relu.op = Op::kRelu;
  relu.inputs = {input};
  relu.shape = node(input).shape;
  return append(std::move(relu));
}

int Graph::relu6(int input) {
  const int result = relu(input);
  nodes_.back().op = Op::kRelu6;
  return result;
}

int Graph::add(int a, int b) {
  require(node(a).shape == node(b).shape,
          "add of " + text(node(a).shape) + " and " + text(node(b).shape));
  Node add;
  add.op = Op::kAdd;
  add.inputs = {a, b};
  add.shape = node(a).shape;
  return append(std::move(add));
}

int Graph::concat(const std::vector<int>& inputs) {
  require(!inputs.empty(), "concat of nothing");
  Node concat;
  concat.op = Op::kConcat;
  concat.inputs = inputs;
  concat.shape = node(inputs.front()).shape;
  concat.shape.channels = 0;
  for (const int input : inputs) {
    const Shape& in = node(input).shape;
    require(in.height == concat.shape.height && in.width == concat.shape.width,
            "concat of different sizes");
    concat.shape.channels += in.channels;
  }
  return append(std::move(concat));
}

int Graph::pool(Op op, int input, const Window& window) {
  Node pool;
  pool.op = op;
  pool.inputs = {input};
  pool.shape = node(input).shape;
  pool.window = window;
  apply_window(window, pool.shape);
  return append(std::move(pool));
}

int Graph::max_pool(int input, const Window& window) { return pool(Op::kMaxPool, input, window); }

int Graph::avg_pool(int input, const Window& window) { return pool(Op::kAvgPool, input, window); }

int Graph::global_avg_pool(int input) {
  Node pool;
  pool.op = Op::kGlobalAvgPool;
  pool.inputs = {input};
  pool.shape = {node(input).shape.channels, 1, 1};
  return append(std::move(pool));
}

int Graph::channel_shuffle(int input, std::int64_t groups) {
  Node shuffle;
  shuffle.op = Op::kChannelShuffle;
  shuffle.inputs = {input};
  shuffle.shape = node(input).shape;
  shuffle.groups = groups;
  require(groups > 0 && shuffle.shape.channels % groups == 0,
          "shuffle: channels are no multiple of groups");
  return append(std::move(shuffle));
}

std::vector<int> Graph::layers() const {
  std::vector<int> result;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].is_layer()) {
      result.push_back(static_cast<int>(i));
    }
  }
  return result;
}

std::vector<std::vector<int>> Graph::consumers() const {
  std::vector<std::vector<int>> result(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    for (const int input : nodes_[i].inputs) {
      result.at(static_cast<std::size_t>(input)).push_back(static_cast<int>(i));
    }
  }
  return result;
}

std::vector<std::pair<std::string, std::vector<std::int64_t>>> Graph::parameters() const {
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> result;
  for (const Node& node : nodes_) {
    const std::int64_t out = node.shape.channels;
    if (node.op == Op::kConv) {
      const std::int64_t in = nodes_[static_cast<std::size_t>(node.inputs[0])].shape.channels;
      result.push_back({node.name + ".weight",
                        {out, in / node.groups, node.window.kernel_h, node.window.kernel_w}});
    } else if (node.op == Op::kLinear) {
      const std::int64_t in = nodes_[static_cast<std::size_t>(node.inputs[0])].shape.channels;
      result.push_back({node.name + ".weight", {out, in}});
    } else if (node.op == Op::kBatchNorm) {
      for (const char* entry : {".weight", ".bias", ".running_mean", ".running_var"}) {
        result.push_back({node.name + entry, {out}});
      }
    }
    if (node.is_layer() && node.bias) {
      result.push_back({node.name + ".bias", {out}});
    }
  }
  return result;
}

namespace {

// The problems of one kind; a wrong checkpoint has hundreds, of which the first few say enough.
class Complaints {
 public:
  explicit Complaints(std::string kind) : kind_(std::move(kind)) {}
  void add(const std::string& what) {
    constexpr int kShown = 10;
    if (++count_ <= kShown) {
      text_ += (count_ == 1 ? "" : ", ") + what;
    } else {
      rest_ = " and " + std::to_string(count_ - kShown) + " more";
    }
  }
  std::string text() const { return count_ == 0 ? "" : "\n  " + kind_ + ": " + text_ + rest_; }

 private:
  std::string kind_, text_, rest_;
  int count_ = 0;
};

// Empty, or what is wrong with the values of a tensor.
std::string value_problem(const std::string& name, const std::vector<float>& values) {
  const bool is_variance = name.ends_with(".running_var");
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || (is_variance && values[i] < 0)) {
      return name + " (element " + std::to_string(i) + " is " + std::to_string(values[i]) + ")";
    }
  }
  return "";
}

}  // namespace

void check_state_dict(const Graph& graph, const StateDict& tensors, const std::string& where) {
  Complaints missing("missing");
  Complaints unexpected("not of this network");
  Complaints shape("wrong shape");
  Complaints value("not usable");
  std::map<std::string, bool> known;
  for (const auto& [name, expected] : graph.parameters()) {
    known[name] = true;
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      missing.add(name + " " + text(expected));
      continue;
    }
    const HostTensor& tensor = found->second;
    const std::int64_t size = std::accumulate(expected.begin(), expected.end(), std::int64_t{1},
                                              std::multiplies<std::int64_t>());
    if (tensor.shape != expected || static_cast<std::int64_t>(tensor.values.size()) != size) {
      shape.add(name + " " + text(tensor.shape) + " instead of " + text(expected));
    } else if (const std::string problem = value_problem(name, tensor.values); !problem.empty()) {
      value.add(problem);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!known.contains(name)) {
      unexpected.add(name + " " + text(tensor.shape));
    }
  }
  const std::string problems = missing.text() + unexpected.text() + shape.text() + value.text();
  if (!problems.empty()) {
    throw std::invalid_argument(
        where + ": the checkpoint does not fit the network; choose the model it was trained " +
        "as, or a checkpoint with this network's state-dict names" + problems);
  }
}

}  // namespace squant::eval
