#include "eval/cuda/cuda_device.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "eval/cuda/device_memory.h"
#include "eval/cuda/device_program.h"
#include "quant/squant_cuda.h"

namespace squant::eval {
namespace {

// What all engines of a GPU take turns with.
struct Workspace {
  // A batch on its way: uploaded, computed, downloaded.
  struct Slot {
    cuda::PinnedBuffer upload, download;
    cuda::DeviceBuffer input;
    cuda::Event done;
    float* logits = nullptr;  // of the caller; null: the slot is free
    std::size_t logits_bytes = 0;
  };

  cuda::Stream stream;
  cuda::DeviceBuffer arena;
  Slot slots[2];

  // Waits for a slot's batch and hands its logits to the caller.
  void finish(Slot& slot) {
    if (slot.logits == nullptr) return;
    slot.done.wait();
    std::memcpy(slot.logits, slot.download.data(), slot.logits_bytes);
    slot.logits = nullptr;
  }
  // After an error: nothing in flight may write to memory that is given back.
  void abandon() {
    cudaStreamSynchronize(stream.get());
    for (Slot& slot : slots) slot.logits = nullptr;
  }
};

class CudaIntegerEngine final : public CudaEngine {
 public:
  CudaIntegerEngine(cuda::Program program, std::shared_ptr<Workspace> workspace)
      : workspace_(std::move(workspace)),
        program_(std::move(program), workspace_->stream.get()),
        layers_(program_.program().layers) {
    workspace_->arena.reserve(arena_bytes());
    check_tiles();
  }

  void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) override {
    run(pixels, n, logits, [&](unsigned char* arena, const unsigned char* input, std::int64_t m) {
      return program_.enqueue(arena, input, nullptr, m, stream());
    });
  }
  void run_input(const float* input, std::int64_t n, float* logits) override {
    run(input, n, logits, [&](unsigned char* arena, const unsigned char* device, std::int64_t m) {
      return program_.enqueue(arena, nullptr, reinterpret_cast<const float*>(device), m, stream());
    });
  }
  std::vector<IntegerLayerFacts> layer_facts() const override { return layers_; }
  std::int64_t memory_bytes() const override { return program_.memory_bytes(); }

 private:
  cudaStream_t stream() const { return workspace_->stream.get(); }
  std::size_t arena_bytes() const {
    return static_cast<std::size_t>(program_.program().arena_bytes);
  }

  void check_tiles() {
    for (const int layer : program_.check_tiles(workspace_->arena.data(), stream())) {
      layers_[static_cast<std::size_t>(layer)].kernel = "loops";
      spdlog::warn(
          "cuda: layer {} of {} is computed by plain loops: this GPU's tensor cores gave other "
          "sums in a check of this layer",
          layer, layers_.size());
    }
  }

  // Two slots take turns: while the GPU computes one batch, the host fills the next one.
  template <class T, class Enqueue>
  void run(const T* images, std::int64_t n, float* logits, const Enqueue& enqueue) {
    const cuda::Program& program = program_.program();
    workspace_->arena.reserve(arena_bytes());
    try {
      std::int64_t batch = 0;
      for (std::int64_t begin = 0; begin < n; begin += program.capacity, ++batch) {
        const std::int64_t count = std::min(program.capacity, n - begin);
        Workspace::Slot& slot = workspace_->slots[batch % 2];
        workspace_->finish(slot);
        const unsigned char* input =
            upload(slot, images + begin * program.input.size(), count * program.input.size());
        const float* result = enqueue(workspace_->arena.data(), input, count);
        download(slot, result, logits + begin * program.num_classes, count * program.num_classes);
      }
      workspace_->finish(workspace_->slots[batch % 2]);
      workspace_->finish(workspace_->slots[(batch + 1) % 2]);
    } catch (...) {
      workspace_->abandon();
      throw;
    }
  }

  template <class T>
  const unsigned char* upload(Workspace::Slot& slot, const T* images, std::int64_t count) const {
    const std::size_t size_bytes = static_cast<std::size_t>(count) * sizeof(T);
    slot.upload.reserve(size_bytes);
    slot.input.reserve(size_bytes);
    std::memcpy(slot.upload.data(), images, size_bytes);
    SQ_CUDA_CHECK(cudaMemcpyAsync(slot.input.data(), slot.upload.data(), size_bytes,
                                  cudaMemcpyHostToDevice, stream()));
    return slot.input.data();
  }

  void download(Workspace::Slot& slot, const float* result, float* logits,
                std::int64_t count) const {
    const std::size_t size_bytes = static_cast<std::size_t>(count) * sizeof(float);
    slot.download.reserve(size_bytes);
    SQ_CUDA_CHECK(cudaMemcpyAsync(slot.download.data(), result, size_bytes, cudaMemcpyDeviceToHost,
                                  stream()));
    slot.done.record(stream());
    slot.logits = logits;
    slot.logits_bytes = size_bytes;
  }

  std::shared_ptr<Workspace> workspace_;
  cuda::DeviceProgram program_;
  std::vector<IntegerLayerFacts> layers_;
};

cudaDeviceProp properties_of(int device) {
  cudaDeviceProp properties{};
  SQ_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  return properties;
}

cudaDeviceProp current_properties() {
  int device = 0;
  SQ_CUDA_CHECK(cudaGetDevice(&device));
  return properties_of(device);
}

// Why the engine cannot run there; empty: it can.
std::string unsupported(const cudaDeviceProp& properties) {
  constexpr int kOldestMajor = 8;  // 8-bit tensor cores, asynchronous copies
  if (properties.major >= kOldestMajor) {
    return "";
  }
  return std::string(properties.name) + " has compute capability " +
         std::to_string(properties.major) + "." + std::to_string(properties.minor) +
         ", 8.0 is the oldest that is supported";
}

// "GPU-" and the bytes in hexadecimal, in groups of 4, 2, 2, 2 and 6.
std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    std::array<char, 4> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
    text += i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    text += hex.data();
  }
  return text;
}

void require_gpu() {
  std::string why_not;
  if (!cuda_usable(&why_not)) {
    throw std::invalid_argument("no GPU to evaluate on: " + why_not);
  }
}

class CurrentDevice final : public CudaDevice {
 public:
  CurrentDevice() : workspace_(std::make_shared<Workspace>()), name_(current_properties().name) {}

  std::string name() const override { return name_; }

  std::unique_ptr<CudaEngine> make_engine(const Model& model, const QuantizedWeights& weights,
                                          const ActivationSettings& activations,
                                          const CudaEngineOptions& options) override {
    cuda::ProgramOptions program;
    program.max_images = options.max_images;
    program.tensor_cores = options.tensor_cores;
    program.arena_bytes = std::min(program.arena_bytes, arena_budget());
    return std::make_unique<CudaIntegerEngine>(
        cuda::make_program(model, weights, activations, program), workspace_);
  }

 private:
  // A quarter of what is free, the arena included: the rest is for weights and for others.
  std::int64_t arena_budget() const {
    std::size_t free = 0;
    std::size_t total = 0;
    SQ_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return static_cast<std::int64_t>((free + workspace_->arena.size()) / 4);
  }

  std::shared_ptr<Workspace> workspace_;
  std::string name_;
};

}  // namespace

bool cuda_usable(std::string* why_not) {
  if (!quant::cuda_available(why_not)) {
    return false;
  }
  std::string reason;
  try {
    reason = unsupported(current_properties());
  } catch (const quant::CudaError& error) {
    reason = error.what();
  }
  if (!reason.empty() && why_not != nullptr) {
    *why_not = reason;
  }
  return reason.empty();
}

CudaFacts cuda_facts(int device) {
  require_gpu();
  int version = 0;
  SQ_CUDA_CHECK(cudaDriverGetVersion(&version));
  const cudaDeviceProp properties = properties_of(device);
  return {properties.name, uuid_text(properties.uuid),
          std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10)};
}

std::shared_ptr<CudaDevice> open_cuda_device() {
  require_gpu();
  return std::make_shared<CurrentDevice>();
}

}  // namespace squant::eval
