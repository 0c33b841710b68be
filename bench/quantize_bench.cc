// How long SQuant takes for a network's weights, beside a copy of the same weights (4 bytes read
// and 4 written per weight) on the same device in the same run. On the CPU by the same threads:
// both find in the caches what fits there; in the rows named "cold" both find nothing there. On a
// GPU, where there is one, SQuant finds in its caches what fits there; the copy is measured both
// from memory, and from what the caches hold.
#include <benchmark/benchmark.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/context.h"
#include "bench/google.h"
#include "bench/output.h"
#include "bench/stopwatch.h"
#include "bench/weights.h"
#include "eval/cuda/cuda_device.h"
#include "eval/models/models.h"
#include "quant/squant_cpu.h"

namespace squant::bench {
namespace {

using quant::Mode;
using quant::Rounding;
using quant::Simd;

// The rows of one network follow each other.
NetworkWeights& weights_of(const std::string& model) {
  static std::string last;
  static std::unique_ptr<NetworkWeights> weights;
  if (last != model) {
    weights = std::make_unique<NetworkWeights>(eval::model_info(model).build());
    last = model;
  }
  return *weights;
}

// Reads and writes more than the caches hold.
void empty_caches() {
  static std::vector<std::int64_t> other(std::size_t{16} << 20);
  for (std::int64_t& value : other) ++value;
  benchmark::ClobberMemory();
}

enum class Caches : std::uint8_t { kWarm, kCold };

// Seconds that a call takes, after another one that brought back what the caches can hold, or after
// they were emptied.
template <class Call>
double time_call(Caches caches, Call call) {
  caches == Caches::kWarm ? call() : empty_caches();
  const double begin = wall_seconds();
  call();
  return wall_seconds() - begin;
}

void set_counters(benchmark::State& state, std::int64_t num_weights, double time_s, double copy_s) {
  const auto weights = static_cast<double>(num_weights);
  state.counters["weights"] = weights;
  state.counters["time_us"] = time_s * 1e6;
  state.counters["copy_us"] = copy_s * 1e6;
  state.counters["x_copy"] = time_s / copy_s;
  state.counters["ns_per_weight"] = time_s * 1e9 / weights;
  state.counters["copy_gb_per_s"] = weights * 8e-9 / copy_s;
}

void quantize_cpu(benchmark::State& state, const std::string& model,
                  const quant::SquantOptions& options, Simd simd, Caches caches) {
  NetworkWeights& weights = weights_of(model);
  const int num_threads = options.num_threads > 0 ? options.num_threads : omp_get_max_threads();
  std::vector<double> quantize_s;
  std::vector<double> copy_s;
  for ([[maybe_unused]] auto _ : state) {
    copy_s.push_back(time_call(caches, [&] {
      weights.copy(num_threads);
      benchmark::ClobberMemory();
    }));
    quantize_s.push_back(
        time_call(caches, [&] { quant::squant_cpu_simd(weights.tensors(), options, simd); }));
    state.SetIterationTime(quantize_s.back());
  }
  set_counters(state, weights.num_weights(), median(quantize_s), median(copy_s));
  state.SetLabel(std::string(quant::simd_name(simd)) + ", " + std::to_string(num_threads) +
                 (num_threads == 1 ? " thread" : " threads"));
}

// The GPU's own time, from weights to codes in its memory.
void quantize_gpu(benchmark::State& state, const std::string& model,
                  const quant::SquantOptions& options) {
  using From = eval::CudaDevice::CopyFrom;
  constexpr int kRepeats = 100;
  const NetworkWeights& weights = weights_of(model);
  const std::int64_t size_bytes = weights.num_weights() * static_cast<std::int64_t>(sizeof(float));
  const std::shared_ptr<eval::CudaDevice> device = eval::open_cuda_device();
  for ([[maybe_unused]] auto _ : state) {
    const double copy_s = device->copy_ms(size_bytes, kRepeats, From::kMemory) / 1e3;
    const double cached_s = device->copy_ms(size_bytes, kRepeats, From::kCaches) / 1e3;
    const double squant_s = device->squant(weights.tensors(), options, kRepeats).all_ms / 1e3;
    state.SetIterationTime(squant_s);
    set_counters(state, weights.num_weights(), squant_s, copy_s);
    state.counters["cached_copy_us"] = cached_s * 1e6;
    state.counters["x_cached_copy"] = squant_s / cached_s;
  }
  state.SetLabel("gpu");
}

void add_gpu(const std::string& model, const quant::SquantOptions& options) {
  const std::string name =
      model + "/w" + std::to_string(options.bits) + "/" + quant::mode_name(options.mode) + "/cuda";
  benchmark::RegisterBenchmark(
      name.c_str(), [=](benchmark::State& state) { quantize_gpu(state, model, options); })
      ->UseManualTime()
      ->Iterations(1);
}

// `what`: "" or "/cold".
void add_cpu(const std::string& model, const std::string& what, const quant::SquantOptions& options,
             Simd simd, Caches caches = Caches::kWarm) {
  const std::string name =
      model + "/w" + std::to_string(options.bits) + "/" + quant::mode_name(options.mode) + what;
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    quantize_cpu(state, model, options, simd, caches);
  })->UseManualTime();
}

void add_network(const std::string& model, int bits, bool gpu) {
  const Simd best = quant::best_simd();
  if (gpu) {
    for (const Mode mode : {Mode::kEKC, Mode::kE}) add_gpu(model, {.bits = bits, .mode = mode});
  }
  for (const Mode mode : {Mode::kEKC, Mode::kE, Mode::kEK, Mode::kEC}) {
    add_cpu(model, "", {.bits = bits, .mode = mode}, best);
  }
  add_cpu(model, "/paper", {.bits = bits, .rounding = Rounding::kPaper}, best);
  add_cpu(model, "/cold", {.bits = bits}, best, Caches::kCold);
  add_cpu(model, "/one_thread", {.bits = bits, .num_threads = 1}, best);
  for (const Simd simd : {Simd::kAvx2, Simd::k128, Simd::kScalar}) {
    const bool available = simd == Simd::kScalar || quant::lane_loops(simd) != nullptr;
    if (simd == best || !available) continue;
    add_cpu(model, std::string("/") + quant::simd_name(simd), {.bits = bits}, simd);
  }
}

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {
      {"network"},          {"weight_bits"},      {"mode"},
      {"variant"},          {"computed_by"},      {"weights"},
      {"time_us", 1},       {"copy_us", 1},       {"x_copy", 2},
      {"ns_per_weight", 4}, {"copy_gb_per_s", 0}, {"cached_copy_us", 1},
      {"x_cached_copy", 2}};
  return all;
}

// NAME/wBITS/MODE[/VARIANT], and a counter a column.
std::vector<Value> row_of(const benchmark::BenchmarkReporter::Run& run) {
  std::istringstream name(run.run_name.function_name);
  std::string network, bits, mode, variant;
  std::getline(name, network, '/');
  std::getline(name, bits, '/');
  std::getline(name, mode, '/');
  std::getline(name, variant);
  const auto counter = [&](const std::string& counter_name) -> Value {
    const auto found = run.counters.find(counter_name);
    if (found == run.counters.end()) return std::monostate();
    return found->second.value;
  };
  const auto num_weights = static_cast<std::int64_t>(std::get<double>(counter("weights")));
  std::vector<Value> row = {
      network,    std::int64_t{std::stoi(bits.substr(1))}, mode, variant, run.report_label,
      num_weights};
  for (std::size_t i = row.size(); i < columns().size(); ++i) {
    row.push_back(counter(columns()[i].name));
  }
  return row;
}

struct Options {
  std::vector<std::string> models = {"resnet18",        "resnet50",         "inceptionv3",
                                     "sqnxt23_w2",      "shufflenet_g1_w1", "fmnist_resnet",
                                     "fmnist_mobilenet"};
  int bits = 4;
  OutputOptions output;
};

int measure(const Options& options, const std::vector<std::string>& google_flags) {
  const bool gpu = has_cuda();
  for (const std::string& model : options.models) {
    eval::model_info(model);  // throws for an unknown one
    add_network(model, options.bits, gpu);
  }
  Report report{"quantize", context_of_this_process(omp_get_max_threads()), columns(), {}, {}};
  const int code = run_google_benchmarks(google_flags, [&](const auto& run) {
    if (run.run_type != benchmark::BenchmarkReporter::Run::RT_Iteration) return;  // a mean
    report.rows.push_back(row_of(run));
    tell_progress(run.benchmark_name());
  });
  if (!report.rows.empty()) write_report(report, options.output);
  return code;
}

int run(int argc, char** argv) {
  CLI::App app("SQuant of networks' weights, beside a copy of the same weights",
               "squant-bench quantize");
  Options options;
  app.add_option("--models", options.models, "Networks")->delimiter(',')->capture_default_str();
  app.add_option("--bits", options.bits, "Bits of the weights")
      ->check(CLI::Range(quant::kMinBits, quant::kMaxBits))
      ->capture_default_str();
  add_output_options(app, options.output);
  app.allow_extras();
  app.footer("And Google Benchmark's flags: --benchmark_filter=REGEX ...");
  return run_command(app, argc, argv, [&] { return measure(options, app.remaining()); });
}

const Subcommand kQuantize("quantize", "SQuant against memory bandwidth, CPU and GPU", run);

}  // namespace
}  // namespace squant::bench
