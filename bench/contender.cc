#include "bench/contender.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "bench/generated_network.h"
#include "bench/torch_network.h"
#include "eval/batch_size.h"
#include "eval/cuda/cuda_device.h"
#include "eval/engine/integer_engine.h"

namespace squant::bench {
namespace {

using Logits = std::shared_ptr<std::vector<float>>;

std::string kernels_of(const std::vector<eval::IntegerLayerFacts>& layers) {
  std::map<std::string, int> counts;
  for (const eval::IntegerLayerFacts& layer : layers) ++counts[layer.kernel];
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

class ContenderMaker {
 public:
  ContenderMaker(const eval::ModelInfo& info, const Images& images, const ContenderOptions& options)
      : info_(info),
        images_(images),
        options_(options),
        model_(generated_model(info)),
        logits_(std::make_shared<std::vector<float>>(
            static_cast<std::size_t>(images.count * info.num_classes))) {
    if (options.gpu) device_ = eval::open_cuda_device();
  }

  std::vector<Contender> make() {
    if (options_.cpu) {
      add_from_host("float", "", eval::make_float_engine(model_, nullptr, {}), cpu_batch(false));
    }
    if (options_.torch_gpu) add_torch_gpu();
    for (const int bits : options_.bits) add_quantized(bits);
    return std::move(contenders_);
  }

 private:
  std::int64_t cpu_batch(bool exact) const {
    return options_.batch > 0 ? options_.batch : eval::default_batch_size(info_, exact);
  }
  std::int64_t gpu_batch() const {
    constexpr std::int64_t kUsual = 256;
    return options_.batch > 0 ? options_.batch : kUsual;
  }

  void add(Contender contender) {
    contender.batch = std::min(contender.batch, images_.count);
    contenders_.push_back(std::move(contender));
  }

  // In calls of `call` images, of which the engine may compute fewer at a time.
  void add_from_host(const std::string& name, const std::string& kernels,
                     std::shared_ptr<eval::Engine> engine, std::int64_t call,
                     std::int64_t batch = 0) {
    const auto run_all = [this_info = &info_, images = &images_, logits = logits_,
                          engine = std::move(engine), call] {
      for (std::int64_t i = 0; i < images->count; i += call) {
        engine->run_pixels(images->pixels.data() + i * this_info->input.size(),
                           std::min(call, images->count - i),
                           logits->data() + i * this_info->num_classes);
      }
    };
    add({name, "host", batch > 0 ? batch : call, kernels, run_all});
  }

  void add_torch_gpu() {
    const std::pair<const char*, TorchPrecision> precisions[] = {
        {"torch gpu fp32", TorchPrecision::kFloat32},
        {"torch gpu tf32", TorchPrecision::kTf32},
        {"torch gpu fp16", TorchPrecision::kFloat16}};
    for (const auto& [name, precision] : precisions) {
      const std::shared_ptr<TorchEngine> engine = make_torch_engine(model_, "cuda", precision);
      add_from_host(name, "", engine, gpu_batch());
      engine->hold_pixels(images_.pixels.data(), images_.count, gpu_batch());
      add({name, "GPU", gpu_batch(), "",
           [engine, logits = logits_] { engine->run_held(logits->data()); }});
    }
  }

  void add_quantized(int bits) {
    const QuantizedNetwork network = quantize_network(model_, bits);
    const std::string name = " w" + std::to_string(bits) + "a" + std::to_string(bits);
    if (options_.cpu) {
      add_from_host("simulated" + name, "",
                    eval::make_float_engine(model_, &network.weights, network.activations),
                    cpu_batch(false));
      auto engine = std::make_shared<eval::IntegerEngine>(
          model_, network.weights, network.activations,
          eval::IntegerOptions{parse_kernel(options_.kernel)});
      const std::string kernels = kernels_of(engine->layer_facts());
      add_from_host("integer" + name, kernels, std::move(engine), cpu_batch(true));
    }
    if (device_ != nullptr) add_gpu("gpu" + name, network);
  }

  void add_gpu(const std::string& name, const QuantizedNetwork& network) {
    const std::shared_ptr<eval::CudaEngine> engine = device_->make_engine(
        model_, network.weights, network.activations, {.max_images = gpu_batch()});
    const std::string kernels = kernels_of(engine->layer_facts());
    // In calls as long as a sweep's: the host waits once a call.
    const std::int64_t call = std::max(cpu_batch(true), engine->max_batch());
    add_from_host(name, kernels, engine, call, engine->max_batch());
    if (held_ == nullptr) {
      held_ = device_->hold_images(images_.pixels.data(), images_.count, info_.input.size(),
                                   static_cast<std::int64_t>(images_.pixels.size()));
    }
    if (held_->num_kept() < images_.count) return;  // too many for this GPU's memory
    add({name, "GPU", engine->max_batch(), kernels,
         [engine, held = held_, logits = logits_, count = images_.count] {
           engine->run_images(*held, 0, count, logits->data());
         }});
  }

  const eval::ModelInfo& info_;
  const Images& images_;
  const ContenderOptions& options_;
  const eval::Model model_;
  const Logits logits_;  // [count, num_classes]: all write them, in turn
  std::shared_ptr<eval::CudaDevice> device_;
  std::shared_ptr<eval::CudaImages> held_;  // for all engines of the device
  std::vector<Contender> contenders_;
};

}  // namespace

std::vector<Contender> make_contenders(const eval::ModelInfo& info, const Images& images,
                                       const ContenderOptions& options) {
  return ContenderMaker(info, images, options).make();
}

}  // namespace squant::bench
