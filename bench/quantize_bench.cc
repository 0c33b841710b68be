// How long SQuant takes for a network's weights, beside a memcpy of the same weights (4 bytes read
// and 4 written per weight) by the same threads in the same run: counter `x_memcpy`. Both find in
// the caches what fits there; in the rows named "cold" both find nothing there. On a GPU, where
// there is one, beside a copy of the same weights within its memory.
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/context.h"
#include "bench/stopwatch.h"
#include "eval/cuda/cuda_device.h"
#include "quant/squant_cpu.h"

namespace squant::bench {
namespace {

using quant::Mode;
using quant::Rounding;
using quant::Simd;
using quant::WeightShape;

// The 54 weights of ResNet50: stem, sixteen bottlenecks, classifier.
std::vector<WeightShape> resnet50_shapes() {
  std::vector<WeightShape> shapes = {{64, 3, 49}};
  std::int64_t in = 64;
  constexpr std::int64_t kBlocks[] = {3, 4, 6, 3};
  for (std::int64_t stage = 0; stage < 4; ++stage) {
    const std::int64_t width = std::int64_t{64} << stage;
    for (std::int64_t block = 0; block < kBlocks[stage]; ++block) {
      shapes.insert(shapes.end(), {{width, in, 1}, {width, width, 9}, {4 * width, width, 1}});
      if (block == 0) shapes.push_back({4 * width, in, 1});
      in = 4 * width;
    }
  }
  shapes.push_back({1000, in, 1});
  return shapes;
}

// The quickstart's networks, eval/models/fmnist_*.cc.
std::vector<WeightShape> fmnist_resnet_shapes() {
  return {{16, 1, 9},  {32, 16, 9}, {32, 32, 9}, {32, 16, 1}, {64, 32, 9},
          {64, 64, 9}, {64, 32, 1}, {64, 64, 9}, {64, 64, 9}, {10, 64, 1}};
}
std::vector<WeightShape> fmnist_mobilenet_shapes() {
  std::vector<WeightShape> shapes = {{32, 1, 9}};
  std::int64_t in = 32;
  for (const std::int64_t out : {64, 64, 128, 128, 128, 256, 256}) {
    shapes.insert(shapes.end(), {{in, 1, 9}, {out, in, 1}});
    in = out;
  }
  shapes.push_back({10, in, 1});
  return shapes;
}

// A network of normally distributed weights, in one piece of memory, with room for its codes.
class Network {
 public:
  explicit Network(const std::vector<WeightShape>& shapes) {
    std::int64_t num_channels = 0;
    for (const WeightShape& shape : shapes) {
      num_weights_ += shape.size();
      num_channels += shape.out;
    }
    weights_.resize(static_cast<std::size_t>(num_weights_));
    copy_.resize(weights_.size());
    codes_.resize(weights_.size());
    scale_.resize(static_cast<std::size_t>(num_channels));
    zero_point_.resize(scale_.size());
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    for (float& weight : weights_) weight = normal(random);

    std::int64_t at = 0;
    std::int64_t channel = 0;
    for (const WeightShape& shape : shapes) {
      tensors_.push_back({"layer" + std::to_string(tensors_.size()), shape, weights_.data() + at,
                          codes_.data() + at, scale_.data() + channel,
                          zero_point_.data() + channel});
      at += shape.size();
      channel += shape.out;
    }
  }

  std::int64_t num_weights() const { return num_weights_; }
  const std::vector<quant::SquantTensor>& tensors() const { return tensors_; }

  void copy_weights(int num_threads) {
#pragma omp parallel for schedule(static) num_threads(num_threads)
    for (int thread = 0; thread < num_threads; ++thread) {
      const auto begin = static_cast<std::size_t>(num_weights_ * thread / num_threads);
      const auto end = static_cast<std::size_t>(num_weights_ * (thread + 1) / num_threads);
      std::memcpy(copy_.data() + begin, weights_.data() + begin, (end - begin) * sizeof(float));
    }
    benchmark::ClobberMemory();
  }

 private:
  std::int64_t num_weights_ = 0;
  std::vector<float> weights_;
  std::vector<float> copy_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scale_;
  std::vector<float> zero_point_;
  std::vector<quant::SquantTensor> tensors_;
};

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
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void quantize(benchmark::State& state, const std::vector<WeightShape>& shapes,
              const quant::SquantOptions& options, Simd simd, Caches caches) {
  Network network(shapes);
  const int num_threads = options.num_threads > 0 ? options.num_threads : omp_get_max_threads();
  std::vector<double> quantize_s;
  std::vector<double> memcpy_s;
  for ([[maybe_unused]] auto _ : state) {
    memcpy_s.push_back(time_call(caches, [&] { network.copy_weights(num_threads); }));
    quantize_s.push_back(
        time_call(caches, [&] { quant::squant_cpu_simd(network.tensors(), options, simd); }));
    state.SetIterationTime(quantize_s.back());
  }
  state.counters["median_us"] = median(quantize_s) * 1e6;
  state.counters["memcpy_us"] = median(memcpy_s) * 1e6;
  state.counters["x_memcpy"] = median(quantize_s) / median(memcpy_s);
  state.counters["ns_per_weight"] =
      median(quantize_s) * 1e9 / static_cast<double>(network.num_weights());
  state.SetLabel(std::string(quant::simd_name(simd)) + ", threads " + std::to_string(num_threads));
}

// The GPU's own time, from weights to codes in its memory.
void quantize_cuda(benchmark::State& state, const std::vector<WeightShape>& shapes,
                   const quant::SquantOptions& options) {
  constexpr int kRepeats = 50;
  const Network network(shapes);
  const std::shared_ptr<eval::CudaDevice> device = eval::open_cuda_device();
  double squant_ms = 0;
  double copy_ms = 0;
  for ([[maybe_unused]] auto _ : state) {
    copy_ms =
        device->copy_ms(network.num_weights() * 4, kRepeats, eval::CudaDevice::CopyFrom::kMemory);
    squant_ms = device->squant(network.tensors(), options, kRepeats).all_ms;
    state.SetIterationTime(squant_ms / 1e3);
  }
  const auto num_weights = static_cast<double>(network.num_weights());
  state.counters["median_us"] = squant_ms * 1e3;
  state.counters["copy_us"] = copy_ms * 1e3;
  state.counters["x_copy"] = squant_ms / copy_ms;
  state.counters["ns_per_weight"] = squant_ms * 1e6 / num_weights;
  state.counters["copy_GB_per_s"] = num_weights * 8 / (copy_ms * 1e6);
  state.SetLabel("cuda, median of " + std::to_string(kRepeats));
}

void add_cuda(const std::string& name, const std::vector<WeightShape>& shapes,
              const quant::SquantOptions& options) {
  benchmark::RegisterBenchmark(
      name.c_str(), [=](benchmark::State& state) { quantize_cuda(state, shapes, options); })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

void add(const std::string& name, const std::vector<WeightShape>& shapes,
         const quant::SquantOptions& options, Simd simd, Caches caches = Caches::kWarm) {
  benchmark::RegisterBenchmark(
      name.c_str(),
      [=](benchmark::State& state) { quantize(state, shapes, options, simd, caches); })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

int run(int argc, char** argv) {
  const struct {
    const char* name;
    std::vector<WeightShape> shapes;
  } networks[] = {{"resnet50", resnet50_shapes()},
                  {"fmnist_resnet", fmnist_resnet_shapes()},
                  {"fmnist_mobilenet", fmnist_mobilenet_shapes()}};
  const Simd best = quant::best_simd();
  const bool gpu = has_cuda();
  for (const auto& network : networks) {
    const std::string front = std::string(network.name) + "/w4/";
    if (gpu) {
      add_cuda(front + "squant/cuda", network.shapes, {.bits = 4});
      add_cuda(front + "squant-e/cuda", network.shapes, {.bits = 4, .mode = Mode::kE});
    }
    for (const Mode mode : {Mode::kEKC, Mode::kE, Mode::kEK, Mode::kEC}) {
      add(front + quant::mode_name(mode), network.shapes, {.bits = 4, .mode = mode}, best);
    }
    add(front + "squant/paper", network.shapes, {.bits = 4, .rounding = Rounding::kPaper}, best);
    add(front + "squant/cold", network.shapes, {.bits = 4}, best, Caches::kCold);
    add(front + "squant/one_thread", network.shapes, {.bits = 4, .num_threads = 1}, best);
    for (const Simd simd : {Simd::kAvx2, Simd::k128, Simd::kScalar}) {
      const bool available = simd == Simd::kScalar || quant::lane_loops(simd) != nullptr;
      if (simd != best && available)
        add(front + "squant/" + quant::simd_name(simd), network.shapes, {.bits = 4}, simd);
    }
  }
  return run_google_benchmarks(argc, argv);
}

const Subcommand kQuantize(
    "quantize",
    "SQuant against memory bandwidth, CPU and GPU: ResNet50 and the quickstart's networks", run);

}  // namespace
}  // namespace squant::bench
