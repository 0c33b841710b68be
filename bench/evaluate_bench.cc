// Images per second of the engines on generated weights, side by side in one run: float, simulated
// (fake quantization) and integer take turns on the same images with the same threads, and, where
// there is one, the GPU, from and to host memory: our integer engine, and LibTorch's float32, TF32
// and float16, channels last, where its CUDA part can be loaded.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "bench/cuda_context.h"
#include "bench/torch_network.h"
#include "eval/batch_size.h"
#include "eval/cuda/cuda_device.h"
#include "eval/engine/engine.h"
#include "eval/engine/integer_engine.h"

namespace squant::bench {
namespace {

struct Options {
  std::vector<std::string> models;
  std::vector<int> bits{8, 4};
  std::string kernel = "auto";
  std::int64_t images = 0;
  std::int64_t batch = 0;
  int threads = 0;
  int repeats = 5;
  bool check = false;
  bool gpu_only = false;
  bool has_torch_cuda = false;
};

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One engine, and the best of its passes over the images.
struct Contender {
  std::string name;
  std::unique_ptr<eval::Engine> engine;
  std::int64_t batch = 1;
  std::string kernels;
  double wall_s = 1e30, processor_s = 1e30;
};

void pass(Contender& contender, const eval::ModelInfo& info,
          const std::vector<std::uint8_t>& pixels, std::int64_t images) {
  std::vector<float> logits(static_cast<std::size_t>(contender.batch * info.num_classes));
  const double wall = wall_seconds();
  const double processor = processor_seconds();
  for (std::int64_t i = 0; i < images; i += contender.batch) {
    contender.engine->run_pixels(pixels.data() + i * info.input.size(),
                                 std::min(contender.batch, images - i), logits.data());
  }
  contender.wall_s = std::min(contender.wall_s, wall_seconds() - wall);
  contender.processor_s = std::min(contender.processor_s, processor_seconds() - processor);
}

std::string kernels_of(const std::vector<eval::IntegerLayerFacts>& layers) {
  std::map<std::string, int> counts;
  for (const eval::IntegerLayerFacts& layer : layers) {
    ++counts[layer.kernel];
  }
  std::string text;
  for (const auto& [kernel, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kernel;
  }
  return text;
}

std::optional<eval::SumKernel> parse_kernel(const std::string& name) {
  for (const eval::SumKernel kernel :
       {eval::SumKernel::kInt8, eval::SumKernel::kFloat32, eval::SumKernel::kFloat64}) {
    if (name == eval::sum_kernel_name(kernel)) return kernel;
  }
  return std::nullopt;
}

std::int64_t batch_of(const eval::ModelInfo& info, bool exact, const Options& options) {
  return options.batch > 0 ? options.batch : eval::default_batch_size(info, exact);
}

// LibTorch on the GPU, in what it computes floats with.
void add_torch_cuda(const eval::Model& model, std::int64_t batch,
                    std::vector<Contender>& contenders) {
  const std::pair<const char*, TorchPrecision> precisions[] = {
      {"torch gpu fp32", TorchPrecision::kFloat32},
      {"torch gpu tf32", TorchPrecision::kTf32},
      {"torch gpu fp16", TorchPrecision::kFloat16}};
  for (const auto& [name, precision] : precisions) {
    contenders.push_back({name, make_torch_engine(model, "cuda", precision), batch, ""});
  }
}

// One quantized network, in every engine that runs it.
void add_quantized(const eval::Model& model, int bits, const Options& options,
                   eval::CudaDevice* device, std::vector<Contender>& contenders) {
  const eval::QuantizedWeights weights = eval::quantize_weights(model, {.bits = bits});
  eval::ActivationSettings activations;
  activations.bits = bits;
  activations.ranges =
      eval::calibrate(model, weights, bits, quant::Rounding::kCurrent, bits < 6 ? 12 : 25, 2);
  const std::string name = " w" + std::to_string(bits) + "a" + std::to_string(bits);
  const std::int64_t exact_batch = batch_of(*model.info, true, options);
  const auto add = [&](const std::string& engine_name, auto engine) {
    std::string kernels = kernels_of(engine->layer_facts());
    contenders.push_back({engine_name + name, std::move(engine), exact_batch, std::move(kernels)});
  };
  if (!options.gpu_only) {
    contenders.push_back({"simulated" + name, eval::make_float_engine(model, &weights, activations),
                          batch_of(*model.info, false, options), ""});
    add("integer",
        std::make_unique<eval::IntegerEngine>(model, weights, activations,
                                              eval::IntegerOptions{parse_kernel(options.kernel)}));
  }
  if (device != nullptr) add("gpu", device->make_engine(model, weights, activations));
}

std::vector<Contender> make_contenders(const eval::ModelInfo& info, const Options& options) {
  const eval::Model model =
      eval::make_model(info.name, eval::generated_state_dict(info.build()), "generated weights");
  const std::shared_ptr<eval::CudaDevice> device =
      eval::cuda_usable() ? eval::open_cuda_device() : nullptr;
  std::vector<Contender> contenders;
  if (!options.gpu_only) {
    contenders.push_back(
        {"float", eval::make_float_engine(model, nullptr, {}), batch_of(info, false, options), ""});
  }
  if (options.has_torch_cuda) {
    constexpr std::int64_t kMostImages = 256;
    add_torch_cuda(model, std::min(batch_of(info, true, options), kMostImages), contenders);
  }
  for (const int bits : options.bits) {
    add_quantized(model, bits, options, device.get(), contenders);
  }
  return contenders;
}

// Returns whether no integer engine was slower than the float engine.
bool measure(const eval::ModelInfo& info, const Options& options) {
  std::vector<Contender> contenders = make_contenders(info, options);
  // About a second a pass for the networks of the paper, less for the small ones.
  const std::int64_t images = options.images > 0          ? options.images
                              : info.input.size() > 10000 ? 32
                                                          : 1024;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(images * info.input.size()));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
  }
  for (int repeat = 0; repeat <= options.repeats; ++repeat) {
    for (Contender& contender : contenders) {
      pass(contender, info, pixels, images);
    }
    if (repeat == 0) {  // warm-up
      for (Contender& contender : contenders) contender.wall_s = contender.processor_s = 1e30;
    }
  }
  const auto count = static_cast<double>(images);
  bool fast = true;
  for (const Contender& contender : contenders) {
    const double speedup = contenders.front().wall_s / contender.wall_s;
    std::printf("| %s | %s | %lld | %.1f | %.3f | %.2f | %.2f | %s |\n", info.name.c_str(),
                contender.name.c_str(), static_cast<long long>(contender.batch),
                count / contender.wall_s, 1000 * contender.processor_s / count, speedup,
                contenders.front().processor_s / contender.processor_s, contender.kernels.c_str());
    fast = fast && (contender.kernels.empty() || speedup >= 1);
  }
  std::fflush(stdout);
  return fast;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Images per second on generated weights: float, simulated and integer engine, best of the "
      "repeats");
  Options options;
  for (const eval::ModelInfo& info : eval::all_models()) options.models.push_back(info.name);
  app.add_option("--models", options.models, "Networks")->delimiter(',')->capture_default_str();
  app.add_option("--bits", options.bits, "Bits of weights and activations")
      ->delimiter(',')
      ->check(CLI::Range(quant::kMinBits, quant::kMaxBits))
      ->capture_default_str();
  app.add_option("--kernel", options.kernel, "What adds the integer engine's sums")
      ->check(CLI::IsMember({"auto", "int8", "float32", "float64"}))
      ->capture_default_str();
  app.add_option("--images", options.images, "Images a pass; 0: 32, or 1024 for small networks")
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Images a call; 0: as the program chooses")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: one for each allowed core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "Passes after a warm-up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--gpu-only", options.gpu_only,
               "Leaves the CPU's engines out; the first row is what \"times float\" refers to");
  app.add_flag("--check", options.check,
               "Exit with 1 where the integer engine is slower than the float engine");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  eval::set_engine_threads(options.threads);
  bool fast = true;
  try {
    const std::string gpu = cuda_description();
    if (gpu.empty() && options.gpu_only) return 2;
    if (!gpu.empty()) {
      std::printf("GPU: %s\n\n", gpu.c_str());
      const std::string why_not = load_torch_cuda();
      options.has_torch_cuda = why_not.empty();
      if (!why_not.empty()) {
        std::fprintf(stderr, "squant-bench: LibTorch's CUDA part: its rows are skipped (%s)\n",
                     why_not.c_str());
      }
    }
    std::printf(
        "| network | engine | batch | images/s | processor ms/image | times float (wall) | times "
        "float (processor) | sums by |\n|---|---|---|---|---|---|---|---|\n");
    for (const std::string& name : options.models) {
      fast = measure(eval::model_info(name), options) && fast;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "squant-bench evaluate: %s\n", error.what());
    return 2;
  }
  return options.check && !fast ? 1 : 0;
}

const Subcommand kEvaluate("evaluate", "images per second of the engines, side by side", run);

}  // namespace
}  // namespace squant::bench
