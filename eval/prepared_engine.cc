#include "eval/prepared_engine.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "eval/batch_size.h"
#include "eval/engine/torch_cuda.h"

namespace squant::eval {
namespace {

// Whether LibTorch has a GPU for float networks; where not, the log says once why.
bool torch_has_gpu() {
  static const bool has = [] {
    const std::string& why_not = load_torch_cuda();
    if (!why_not.empty()) {
      spdlog::warn(
          "float and weights-only jobs run on the CPU: LibTorch's CUDA part cannot be used "
          "(docs/gpu.md): {}",
          why_not);
    }
    return why_not.empty();
  }();
  return has;
}

// LibTorch keeps several tensors at a time, and its convolutions want room of their own.
std::int64_t torch_gpu_batch(const Model& model, std::int64_t free_bytes) {
  constexpr std::int64_t kMost = 256;
  constexpr std::int64_t kTensors = 8;
  std::int64_t largest = 1;
  for (const Node& node : model.graph.nodes()) largest = std::max(largest, node.shape.size());
  const std::int64_t image_bytes = kTensors * largest * static_cast<std::int64_t>(sizeof(float));
  return std::clamp<std::int64_t>(free_bytes / 4 / image_bytes, 1, kMost);
}

PreparedEngine float_engine(const Model& model, const QuantizedWeights* weights,
                            const ActivationSettings& activations, const CudaDevice* device) {
  PreparedEngine result;
  result.memory_bytes = weight_bytes(model);
  if (device != nullptr && torch_has_gpu()) {
    result.images_per_call = torch_gpu_batch(model, device->free_bytes());
    result.engine = make_cuda_float_engine(model, weights, activations);
  } else {
    result.images_per_call = default_batch_size(*model.info, false);
    result.engine = make_float_engine(model, weights, activations);
  }
  return result;
}

template <class Engine>
PreparedEngine integer_engine(std::unique_ptr<Engine> engine, std::int64_t images_per_call) {
  PreparedEngine result;
  result.images_per_call = images_per_call;
  result.memory_bytes = engine->memory_bytes();
  result.layers = engine->layer_facts();
  result.engine = std::move(engine);
  return result;
}

}  // namespace

std::int64_t weight_bytes(const Model& model) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : model.weights) {
    bytes += static_cast<std::int64_t>(tensor.values.size() * sizeof(float));
  }
  return bytes;
}

PreparedEngine prepare_engine(const Job& job, const Model& model, const QuantizedWeights* weights,
                              std::vector<quant::ActivationRange> ranges, CudaDevice* device,
                              int batch_size) {
  ActivationSettings activations;
  activations.bits = job.activation_bits;
  activations.rounding = job.rounding;
  activations.ranges = std::move(ranges);
  // What LibTorch keeps of earlier jobs is free memory to this one.
  if (device != nullptr) release_torch_cuda_memory();
  PreparedEngine result;
  if (job.activation_bits == 0 || job.engine == EngineChoice::kSimulated) {
    result = float_engine(model, weights, activations, device);
  } else if (device != nullptr) {
    CudaEngineOptions options;
    if (batch_size > 0) options.max_images = batch_size;
    auto engine = device->make_engine(model, *weights, activations, options);
    CudaEngine* const on_gpu = engine.get();
    // A GPU cuts images into batches itself, and is waited for once a call.
    constexpr std::int64_t kImagesPerWait = 8192;
    result = integer_engine(std::move(engine), kImagesPerWait);
    result.on_gpu = on_gpu;
    return result;
  } else {
    result = integer_engine(std::make_unique<IntegerEngine>(model, *weights, activations),
                            default_batch_size(*model.info, true));
  }
  if (batch_size > 0) result.images_per_call = batch_size;
  return result;
}

}  // namespace squant::eval
