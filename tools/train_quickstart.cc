// Trains the quickstart's two networks on Fashion-MNIST and writes
// experiments/quickstart/NAME.safetensors.
//
// SGD with Nesterov momentum, a warm-up and a cosine learning rate; images are shifted by up to two
// pixels and mirrored. The networks are those of eval/models: the graph is interpreted in training
// mode, so nothing is said twice.
#include <malloc.h>
#include <torch/optim/sgd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <random>

#include "eval/checkpoint/safetensors.h"
#include "eval/engine/engine.h"
#include "eval/engine/torch_ops.h"
#include "eval/images/dataset.h"

namespace squant::eval {
namespace {

struct Settings {
  std::vector<std::string> models = {"fmnist_resnet", "fmnist_mobilenet"};
  std::string output = "experiments/quickstart";
  int epochs = 10;
  std::uint64_t seed = 1;
  std::int64_t batch = 128;
  double learning_rate = 0.1;
  double weight_decay = 5e-4;
  int num_threads = 1;  // the order of the gradients' sums depends on it
};

constexpr double kMomentum = 0.9;
constexpr double kBatchNormMomentum = 0.1;
constexpr int kWarmUpSteps = 200;
constexpr std::int64_t kMaxShift = 2;

ImageChunk load_all(const std::string& part, const Shape& shape, int num_threads) {
  const auto dataset = open_dataset({"fashion-mnist", part, "", "", eval::kFileOrder});
  return dataset->load(0, dataset->size(), shape, num_threads);
}

// A network whose weights are learned.
class Learner {
 public:
  Learner(const ModelInfo& info, std::uint64_t seed) : graph_(info.build()) {
    std::mt19937_64 random(seed);
    for (const auto& [name, shape] : graph_.parameters()) {
      tensors_[name] = initial(name, shape, random);
      if (!name.ends_with("running_mean") && !name.ends_with("running_var")) {
        tensors_[name].requires_grad_();
      }
    }
  }

  std::vector<at::Tensor> parameters(bool decayed) const {
    std::vector<at::Tensor> result;
    for (const auto& [name, tensor] : tensors_) {
      if (tensor.requires_grad() && (tensor.dim() > 1) == decayed) {
        result.push_back(tensor);
      }
    }
    return result;
  }

  // Logits [n, classes] in training mode: batch statistics, which the running averages follow.
  at::Tensor forward(const at::Tensor& input) {
    std::vector<at::Tensor> values;
    for (const Node& node : graph_.nodes()) {
      values.push_back(node.op == Op::kInput ? input : evaluate(node, values));
    }
    return values.back().flatten(1);
  }

  StateDict state_dict() const {
    StateDict result;
    for (const auto& [name, tensor] : tensors_) {
      const at::Tensor values = tensor.detach().contiguous();
      const float* data = values.const_data_ptr<float>();
      result[name] = {values.sizes().vec(), {data, data + values.numel()}};
    }
    return result;
  }

 private:
  // He's initialization for weights; batch norm starts as the identity.
  static at::Tensor initial(const std::string& name, const std::vector<std::int64_t>& shape,
                            std::mt19937_64& random) {
    if (shape.size() == 1) {
      const bool is_one = name.ends_with(".weight") || name.ends_with(".running_var");
      return at::full(shape, is_one ? 1.0 : 0.0, at::kFloat);
    }
    at::Tensor result = at::empty(shape, at::kFloat);
    std::normal_distribution<float> normal(
        0, std::sqrt(2.0F / static_cast<float>(result.numel() / shape[0])));
    float* values = result.mutable_data_ptr<float>();
    std::generate(values, values + result.numel(), [&] { return normal(random); });
    return result.dim() == 4 ? result.contiguous(at::MemoryFormat::ChannelsLast) : result;
  }

  at::Tensor entry(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? at::Tensor() : found->second;
  }

  at::Tensor evaluate(const Node& node, const std::vector<at::Tensor>& values) {
    std::vector<at::Tensor> inputs;
    for (const int input : node.inputs) {
      inputs.push_back(values[static_cast<std::size_t>(input)]);
    }
    if (node.is_layer()) {
      return apply_layer(node, inputs[0], entry(node.name + ".weight"), entry(node.name + ".bias"));
    }
    if (node.op == Op::kBatchNorm) {
      return at::batch_norm(inputs[0], entry(node.name + ".weight"), entry(node.name + ".bias"),
                            entry(node.name + ".running_mean"), entry(node.name + ".running_var"),
                            /*training=*/true, kBatchNormMomentum, node.epsilon,
                            /*cudnn_enabled=*/false);
    }
    return apply_function(node, inputs);
  }

  Graph graph_;
  std::map<std::string, at::Tensor> tensors_;
};

struct Batch {
  at::Tensor images;  // normalized, [n, C, H, W]
  at::Tensor labels;
};

// Copies the chosen images, each shifted (black comes in) and, every other one, mirrored.
Batch augmented(const ImageChunk& chunk, const std::vector<std::int64_t>& order, std::size_t first,
                std::int64_t count, const ModelInfo& info, std::mt19937_64& random) {
  const Shape& shape = chunk.shape;
  at::Tensor pixels = at::zeros({count, shape.height, shape.width, shape.channels}, at::kByte);
  at::Tensor labels = at::empty({count}, at::kLong);
  std::uint8_t* to = pixels.mutable_data_ptr<std::uint8_t>();
  std::uniform_int_distribution<std::int64_t> shift(-kMaxShift, kMaxShift);
  for (std::int64_t i = 0; i < count; ++i, to += shape.size()) {
    const std::int64_t image = order[first + static_cast<std::size_t>(i)];
    const std::uint8_t* from = chunk.pixels.data() + image * shape.size();
    labels.mutable_data_ptr<std::int64_t>()[i] = chunk.labels[static_cast<std::size_t>(image)];
    const std::int64_t down = shift(random);
    const std::int64_t right = shift(random);
    const bool mirror = (random() & 1) != 0;
    for (std::int64_t y = std::max<std::int64_t>(0, down);
         y < std::min(shape.height, shape.height + down); ++y) {
      for (std::int64_t x = std::max<std::int64_t>(0, right);
           x < std::min(shape.width, shape.width + right); ++x) {
        const std::int64_t from_x = mirror ? shape.width - 1 - (x - right) : x - right;
        std::copy_n(from + ((y - down) * shape.width + from_x) * shape.channels, shape.channels,
                    to + (y * shape.width + x) * shape.channels);
      }
    }
  }
  const auto per_channel = [](const std::vector<double>& values) {
    return at::tensor(values, at::kFloat).view({1, -1, 1, 1});
  };
  const at::Tensor images = pixels.permute({0, 3, 1, 2}).to(at::kFloat).div_(255);
  return {(images - per_channel(info.mean)) / per_channel(info.stddev), labels};
}

double learning_rate(const Settings& settings, std::int64_t step, std::int64_t num_steps) {
  const double warm_up = std::min(1.0, static_cast<double>(step + 1) / kWarmUpSteps);
  const double progress = static_cast<double>(step) / static_cast<double>(num_steps);
  return settings.learning_rate * warm_up * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

double top1_pct(const ModelInfo& info, const StateDict& weights, const ImageChunk& images) {
  const Model model = make_model(info.name, weights, "the trained network");
  const auto engine = make_float_engine(model, nullptr, {});
  std::vector<float> logits(static_cast<std::size_t>(images.count * info.num_classes));
  constexpr std::int64_t kBatch = 500;
  for (std::int64_t first = 0; first < images.count; first += kBatch) {
    engine->run_pixels(images.pixels.data() + first * info.input.size(),
                       std::min(kBatch, images.count - first),
                       logits.data() + first * info.num_classes);
  }
  std::int64_t num_right = 0;
  for (std::int64_t i = 0; i < images.count; ++i) {
    const auto row = logits.begin() + i * info.num_classes;
    num_right += std::max_element(row, row + info.num_classes) - row ==
                 images.labels[static_cast<std::size_t>(i)];
  }
  return 100.0 * static_cast<double>(num_right) / static_cast<double>(images.count);
}

void train(const Settings& settings, const ModelInfo& info) {
  const ImageChunk training = load_all("train", info.input, settings.num_threads);
  const ImageChunk test = load_all("test", info.input, settings.num_threads);
  Learner learner(info, settings.seed);
  torch::optim::SGD optimizer(
      {torch::optim::OptimizerParamGroup(learner.parameters(true),
                                         std::make_unique<torch::optim::SGDOptions>(
                                             torch::optim::SGDOptions(settings.learning_rate)
                                                 .momentum(kMomentum)
                                                 .nesterov(true)
                                                 .weight_decay(settings.weight_decay))),
       torch::optim::OptimizerParamGroup(learner.parameters(false))},
      torch::optim::SGDOptions(settings.learning_rate).momentum(kMomentum).nesterov(true));

  std::mt19937_64 random(settings.seed);
  std::vector<std::int64_t> order(static_cast<std::size_t>(training.count));
  std::iota(order.begin(), order.end(), 0);
  const std::int64_t steps_per_epoch = training.count / settings.batch;
  const std::int64_t num_steps = steps_per_epoch * settings.epochs;
  const auto start = std::chrono::steady_clock::now();
  double top1 = 0;
  for (int epoch = 0; epoch < settings.epochs; ++epoch) {
    std::shuffle(order.begin(), order.end(), random);
    double loss_sum = 0;
    for (std::int64_t i = 0; i < steps_per_epoch; ++i) {
      const Batch batch = augmented(training, order, static_cast<std::size_t>(i * settings.batch),
                                    settings.batch, info, random);
      const double rate = learning_rate(settings, epoch * steps_per_epoch + i, num_steps);
      for (torch::optim::OptimizerParamGroup& group : optimizer.param_groups()) {
        group.options().set_lr(rate);
      }
      optimizer.zero_grad();
      const at::Tensor loss = at::cross_entropy_loss(learner.forward(batch.images), batch.labels);
      loss.backward();
      optimizer.step();
      loss_sum += loss.item<double>();
    }
    top1 = top1_pct(info, learner.state_dict(), test);
    const double elapsed_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%s epoch %d/%d: training loss %.4f, test top-1 %.2f%%, %.0f s\n",
                info.name.c_str(), epoch + 1, settings.epochs,
                loss_sum / static_cast<double>(steps_per_epoch), top1, elapsed_s);
    std::fflush(stdout);
  }
  char top1_text[16];
  std::snprintf(top1_text, sizeof top1_text, "%.2f", top1);
  const std::string path = settings.output + "/" + info.name + ".safetensors";
  write_safetensors(path, learner.state_dict(),
                    {{"program", "train-quickstart"},
                     {"model", info.name},
                     {"data_set", "Fashion-MNIST, 60,000 training images"},
                     {"seed", std::to_string(settings.seed)},
                     {"epochs", std::to_string(settings.epochs)},
                     {"batch", std::to_string(settings.batch)},
                     {"float_top1_pct", top1_text}});
  std::printf("%s: wrote %s\n", info.name.c_str(), path.c_str());
}

}  // namespace
}  // namespace squant::eval

int main(int argc, char** argv) {
  squant::eval::Settings settings;
  CLI::App app("Trains the quickstart's networks on Fashion-MNIST");
  app.add_option("--models", settings.models, "Networks to train")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--output", settings.output, "Folder for NAME.safetensors")->capture_default_str();
  app.add_option("--epochs", settings.epochs)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--seed", settings.seed)->capture_default_str();
  app.add_option("--batch", settings.batch)->check(CLI::Range(2, 10000))->capture_default_str();
  app.add_option("--learning-rate", settings.learning_rate)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--weight-decay", settings.weight_decay)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--threads", settings.num_threads, "0: one per allowed core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  // Keep freed activations: giving them back to the kernel and faulting them in again costs a fifth
  // of the time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  try {
    squant::eval::set_engine_threads(settings.num_threads);
    for (const std::string& model : settings.models) {
      squant::eval::train(settings, squant::eval::model_info(model));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train-quickstart: %s\n", error.what());
    return 1;
  }
  return 0;
}
