#include "eval/weight_quantizer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <span>
#include <utility>

namespace squant::eval {
namespace {

using Tensors = std::vector<quant::SquantTensor>;

// Median of `repeats` runs after one warm-up.
double median_ms(int repeats, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

bool is_finite(const QuantizedLayer& layer) {
  const auto finite = [](float value) { return std::isfinite(value); };
  return std::all_of(layer.scale.begin(), layer.scale.end(), finite) &&
         std::all_of(layer.zero_point.begin(), layer.zero_point.end(), finite);
}

// What SQuant took on the CPU.
struct CpuTimes {
  double all_ms = 0;
  std::vector<double> tensor_ms;
};
CpuTimes run_on_cpu(std::span<const quant::SquantTensor> tensors,
                    const quant::SquantOptions& options, int repeats) {
  CpuTimes times;
  if (tensors.empty()) return times;
  if (repeats < 1) {
    quant::squant_cpu(tensors, options);
    return times;
  }
  times.all_ms = median_ms(repeats, [&] { quant::squant_cpu(tensors, options); });
  for (const quant::SquantTensor& tensor : tensors) {
    times.tensor_ms.push_back(median_ms(repeats, [&] {
      quant::squant_cpu({&tensor, 1}, options);
    }));
  }
  return times;
}

// Layer times in layer order, of what ran on the GPU and of what ran on the CPU.
void merge_times(const std::vector<bool>& on_gpu, const CudaSquantTimes& gpu, const CpuTimes& cpu,
                 MeasuredWeights& result) {
  result.model_ms = gpu.all_ms + cpu.all_ms;
  auto next_gpu = gpu.tensor_ms.begin();
  auto next_cpu = cpu.tensor_ms.begin();
  for (const bool here : on_gpu) result.layer_ms.push_back(here ? *next_gpu++ : *next_cpu++);
}

}  // namespace

WeightQuantizer::WeightQuantizer(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {}

QuantizedWeights WeightQuantizer::quantize(const Model& model,
                                           const quant::SquantOptions& options) {
  return measure(model, options, 0).weights;
}

MeasuredWeights WeightQuantizer::measure(const Model& model, const quant::SquantOptions& options,
                                         int repeats) {
  MeasuredWeights result;
  if (device_ != nullptr && by_gpu(model, options, repeats, result)) return result;
  return by_cpu(model, options, repeats);
}

MeasuredWeights WeightQuantizer::by_cpu(const Model& model, const quant::SquantOptions& options,
                                        int repeats) {
  MeasuredWeights result;
  result.weights = make_quantized_weights(model, options.bits);
  result.device = "cpu";
  CpuTimes times = run_on_cpu(squant_tensors(model, result.weights), options, repeats);
  result.model_ms = times.all_ms;
  result.layer_ms = std::move(times.tensor_ms);
  return result;
}

bool WeightQuantizer::by_gpu(const Model& model, const quant::SquantOptions& options, int repeats,
                             MeasuredWeights& result) {
  result.weights = make_quantized_weights(model, options.bits);
  std::vector<bool> on_gpu;
  Tensors gpu, cpu;
  for (const quant::SquantTensor& tensor : squant_tensors(model, result.weights)) {
    on_gpu.push_back(device_->takes_squant(tensor.shape));
    (on_gpu.back() ? gpu : cpu).push_back(tensor);
    if (!on_gpu.back()) spdlog::info("cuda: {} is quantized on the CPU: too large", tensor.name);
  }
  try {
    const CudaSquantTimes gpu_times =
        gpu.empty() ? CudaSquantTimes() : device_->squant(gpu, options, repeats);
    const CpuTimes cpu_times = run_on_cpu(cpu, options, repeats);
    if (repeats > 0) merge_times(on_gpu, gpu_times, cpu_times, result);
  } catch (const std::exception& error) {
    // Broken weights are refused by the CPU as well, which names the element.
    spdlog::info("cuda: {} is quantized on the CPU: {}", model.info->name, error.what());
    return false;
  }
  result.device = cpu.empty() ? "cuda" : gpu.empty() ? "cpu" : "cuda, cpu";
  const auto& layers = result.weights.layers;
  if (!std::all_of(layers.begin(), layers.end(), is_finite)) return false;
  return (is_checked_ && repeats < 1) || codes_are_the_cpus(model, options, result.weights);
}

bool WeightQuantizer::codes_are_the_cpus(const Model& model, const quant::SquantOptions& options,
                                         const QuantizedWeights& weights) {
  const QuantizedWeights expected = quantize_weights(model, options);
  for (std::size_t i = 0; i < expected.layers.size(); ++i) {
    const QuantizedLayer& own = weights.layers[i];
    const QuantizedLayer& cpus = expected.layers[i];
    if (own.codes != cpus.codes || own.scale != cpus.scale || own.zero_point != cpus.zero_point) {
      spdlog::warn(
          "cuda: weights are quantized on the CPU from now on: this GPU gave other codes for {} of "
          "{}",
          own.name, model.info->name);
      device_ = nullptr;
      return false;
    }
  }
  is_checked_ = true;
  return true;
}

}  // namespace squant::eval
