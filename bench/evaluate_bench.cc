// Images per second of the engines on generated weights, side by side in one run: float, simulated
// (fake quantization) and integer take turns on the same images with the same threads; where there
// is a GPU, our integer engine on it, and LibTorch's float32, TF32 and float16, channels last,
// where its CUDA part can be loaded. On a GPU twice: with images that come from host memory, and
// with images that are there already. Logits always end in host memory.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/contender.h"
#include "bench/context.h"
#include "bench/generated_network.h"
#include "bench/output.h"
#include "bench/stopwatch.h"
#include "bench/torch_network.h"
#include "eval/cuda/cuda_device.h"
#include "eval/engine/torch_cuda.h"
#include "quant/squant.h"

namespace squant::bench {
namespace {

struct Options {
  std::vector<std::string> models;
  ContenderOptions contenders{.bits = {8, 4}};
  std::int64_t images = 0;
  int threads = 0;
  int repeats = 5;
  bool check = false;
  bool gpu_only = false;
  OutputOptions output;
};

struct PassTimes {
  std::vector<double> wall_s, processor_s;
};

void time_pass(const Contender& contender, PassTimes& times) {
  const double wall = wall_seconds();
  const double processor = processor_seconds();
  contender.run_all();
  times.wall_s.push_back(wall_seconds() - wall);
  times.processor_s.push_back(processor_seconds() - processor);
}

// The contenders take turns.
std::vector<PassTimes> time_passes(const std::vector<Contender>& contenders, int repeats) {
  for (const Contender& contender : contenders) contender.run_all();  // warms up
  std::vector<PassTimes> times(contenders.size());
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (std::size_t i = 0; i < contenders.size(); ++i) time_pass(contenders[i], times[i]);
  }
  return times;
}

// About a second a pass: the networks of the paper take longer than the small ones, CPUs longer
// than GPUs.
std::int64_t num_images(const eval::ModelInfo& info, const Options& options) {
  if (options.images > 0) return options.images;
  const bool large = info.input.size() > 10000;
  return options.gpu_only ? (large ? 4096 : 16384) : (large ? 32 : 1024);
}

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {{"network"},
                                          {"engine"},
                                          {"images_from"},
                                          {"batch"},
                                          {"images"},
                                          {"images_per_s", 1},
                                          {"median_images_per_s", 1},
                                          {"processor_ms_per_image", 3},
                                          {"speedup", 2},
                                          {"processor_speedup", 2},
                                          {"sums_by"}};
  return all;
}

// Adds a row a contender. Returns whether no integer engine on the CPU was slower than the float
// engine.
bool measure(const eval::ModelInfo& info, const Options& options, Report& report) {
  Images images;
  images.count = num_images(info, options);
  images.pixels = noise_pixels(info, images.count);
  const std::vector<Contender> contenders = make_contenders(info, images, options.contenders);
  const std::vector<PassTimes> times = time_passes(contenders, options.repeats);
  const auto count = static_cast<double>(images.count);
  std::map<std::string, const PassTimes*> first;  // by where images come from
  bool fast = true;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const Contender& contender = contenders[i];
    const PassTimes& base = *first.emplace(contender.images_from, &times[i]).first->second;
    const double speedup = least(base.wall_s) / least(times[i].wall_s);
    const double per_s = count / least(times[i].wall_s);
    report.rows.push_back(
        {info.name, contender.engine, contender.images_from, contender.batch, images.count, per_s,
         count / median(times[i].wall_s), 1000 * least(times[i].processor_s) / count, speedup,
         least(base.processor_s) / least(times[i].processor_s), contender.kernels});
    tell_progress(info.name + ", " + contender.engine + ", images from " + contender.images_from +
                  ": " + std::to_string(static_cast<std::int64_t>(per_s)) + " images/s");
    fast = fast && (contender.engine.rfind("integer", 0) != 0 || speedup >= 1);
  }
  return fast;
}

void add_options(CLI::App& app, Options& options) {
  for (const eval::ModelInfo& info : eval::all_models()) options.models.push_back(info.name);
  app.add_option("--models", options.models, "Networks")->delimiter(',')->capture_default_str();
  app.add_option("--bits", options.contenders.bits, "Bits of weights and activations")
      ->delimiter(',')
      ->check(CLI::Range(quant::kMinBits, quant::kMaxBits))
      ->capture_default_str();
  app.add_option("--kernel", options.contenders.kernel, "What adds the integer engine's sums")
      ->check(CLI::IsMember({"auto", "int8", "float32", "float64"}))
      ->capture_default_str();
  app.add_option("--images", options.images,
                 "Images a pass; 0: 32, or 1024 for small networks; with --gpu-only 4096, 16384")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch", options.contenders.batch,
                 "Images at a time; 0: as the program chooses, and 256 for LibTorch on a GPU")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: one for each allowed core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "Passes after a warm-up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--gpu-only", options.gpu_only, "Leaves the CPU's engines out");
  app.add_flag("--check", options.check,
               "Exit with 1 where the integer engine is slower than the float engine");
  add_output_options(app, options.output);
  app.footer(
      "images_per_s is that of the best pass. images_from: where the images are when a pass "
      "begins; "
      "logits end in host memory. speedup is over the first row with the same images_from.");
}

// Whether there is something to measure.
bool look_for_gpu(Options& options) {
  options.contenders.cpu = !options.gpu_only;
  options.contenders.gpu = has_cuda();
  if (!options.contenders.gpu) return !options.gpu_only;
  const std::string why_not = eval::load_torch_cuda();
  options.contenders.torch_gpu = why_not.empty();
  if (!why_not.empty()) tell_progress("LibTorch on the GPU is left out: " + why_not);
  return true;
}

int run(int argc, char** argv) {
  CLI::App app("Images per second of the engines on generated weights, side by side",
               "squant-bench evaluate");
  Options options;
  add_options(app, options);
  return run_command(app, argc, argv, [&] {
    eval::set_engine_threads(options.threads);
    if (!look_for_gpu(options)) return 2;
    Report report{"evaluate", context_of_this_process(options.threads), columns(), {}, {}};
    bool fast = true;
    for (const std::string& name : options.models) {
      fast = measure(eval::model_info(name), options, report) && fast;
    }
    write_report(report, options.output);
    return options.check && !fast ? 1 : 0;
  });
}

const Subcommand kEvaluate("evaluate", "images per second of the engines, side by side", run);

}  // namespace
}  // namespace squant::bench
