// Where a network's time goes on a GPU: each operation of a batch on its own.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/context.h"
#include "bench/generated_network.h"
#include "bench/output.h"
#include "eval/cuda/cuda_device.h"

namespace squant::bench {
namespace {

using eval::cuda::OperationFacts;

struct Options {
  std::string model = "resnet50";
  int bits = 4;
  std::int64_t batch = 256;
  int repeats = 20;
  OutputOptions output;
};

std::string shape_text(std::int64_t h, std::int64_t w, std::int64_t c) {
  return std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c);
}

// "3x3", "3x3 stride 2", "1x1 in 3 groups"; empty where there is no window.
std::string window_text(const OperationFacts& facts) {
  std::string text;
  if (facts.macs > 0 || facts.kernel_h * facts.kernel_w > 1) {
    text = std::to_string(facts.kernel_h) + "x" + std::to_string(facts.kernel_w);
  }
  if (facts.stride > 1) text += " stride " + std::to_string(facts.stride);
  if (facts.groups > 1 && facts.kind != "depthwise") {
    text += " in " + std::to_string(facts.groups) + " groups";
  }
  return text;
}

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {
      {"operation"},  {"name"}, {"computed_by"}, {"input"},        {"output"},
      {"window"},     {"macs"}, {"time_us", 2},  {"share_pct", 1}, {"tera_ops_per_s", 1},
      {"gb_per_s", 0}};
  return all;
}

// An operation is two for each multiplication and addition.
std::vector<Value> row_of(const eval::CudaOperationTime& time, const std::string& name,
                          std::int64_t images, double total_us) {
  const OperationFacts& facts = time.facts;
  const std::int64_t macs = facts.macs * images;
  const auto bytes = static_cast<double>(facts.image_bytes * images + facts.weight_bytes);
  const Value speed =
      macs > 0 ? Value(2e-6 * static_cast<double>(macs) / time.time_us) : Value(std::monostate());
  return {facts.kind,
          name,
          facts.kernel,
          shape_text(facts.in_h, facts.in_w, facts.in_c),
          shape_text(facts.out_h, facts.out_w, facts.out_c),
          window_text(facts),
          macs,
          time.time_us,
          100 * time.time_us / total_us,
          speed,
          1e-3 * bytes / time.time_us};
}

void fill(Report& report, const Options& options, const eval::CudaNetworkTimes& times,
          const eval::QuantizedWeights& weights) {
  double total_us = 0;
  double macs = 0;
  for (const eval::CudaOperationTime& time : times.operations) {
    total_us += time.time_us;
    macs += static_cast<double>(time.facts.macs * times.images);
  }
  for (const eval::CudaOperationTime& time : times.operations) {
    const auto layer = static_cast<std::size_t>(time.layer);
    const std::string name = time.layer < 0 ? "" : weights.layers[layer].name;
    report.rows.push_back(row_of(time, name, times.images, total_us));
  }
  const auto images = static_cast<double>(times.images);
  report.summary = {{"model", options.model},
                    {"bits", std::int64_t{options.bits}},
                    {"batch", times.images},
                    {"operations_us", total_us},
                    {"network_us", times.network_us},
                    {"network_images_per_s", 1e6 * images / times.network_us},
                    {"network_tera_ops_per_s", 2e-6 * macs / times.network_us}};
}

eval::CudaNetworkTimes measure(const Options& options, eval::QuantizedWeights& weights) {
  const eval::Model model = generated_model(eval::model_info(options.model));
  QuantizedNetwork network = quantize_network(model, options.bits);
  const auto engine = eval::open_cuda_device()->make_engine(
      model, network.weights, network.activations, {.max_images = options.batch});
  const std::vector<std::uint8_t> pixels = noise_pixels(*model.info, options.batch);
  weights = std::move(network.weights);
  return engine->time_operations(pixels.data(), options.batch, options.repeats);
}

void add_options(CLI::App& app, Options& options) {
  app.add_option("--model", options.model, "Network")->capture_default_str();
  app.add_option("--bits", options.bits, "Bits of weights and activations")
      ->check(CLI::Range(quant::kMinBits, quant::kMaxBits))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Images; fewer where the GPU's memory is short")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "Of each operation, after a warm-up")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  add_output_options(app, options.output);
  app.footer(
      "An operation's time is the median, launched alone and several times in a row. gb_per_s "
      "counts what it has to read and write at least. network_us: all operations as the engine "
      "starts them.");
}

int run(int argc, char** argv) {
  CLI::App app("Time of each operation of a network on the GPU, on generated weights",
               "squant-bench layers");
  Options options;
  add_options(app, options);
  return run_command(app, argc, argv, [&] {
    eval::model_info(options.model);
    if (!has_cuda()) return 2;
    Report report{"layers", context_of_this_process(0), columns(), {}, {}};
    eval::QuantizedWeights weights;
    const eval::CudaNetworkTimes times = measure(options, weights);
    fill(report, options, times, weights);
    write_report(report, options.output);
    return 0;
  });
}

const Subcommand kLayers("layers", "time of each operation of a network on the GPU", run);

}  // namespace
}  // namespace squant::bench
