#include "eval/cuda/cuda_device.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "eval/cuda/device_copy.h"
#include "eval/cuda/device_images.h"
#include "eval/cuda/device_memory.h"
#include "eval/cuda/device_program.h"
#include "eval/cuda/device_squant.h"
#include "eval/cuda/device_time.h"
#include "eval/cuda/launch.h"
#include "eval/cuda/replay.h"
#include "quant/squant_cuda.h"

namespace squant::eval {
namespace {

// What all engines of a GPU take turns with.
struct Workspace {
  cuda::Stream stream;
  cuda::DeviceBuffer arena;
  cuda::DeviceBuffer input;  // of the batch that is computed
  cuda::DeviceBuffer logits;
  cuda::PinnedBuffer results;
  std::shared_ptr<cuda::UploadLane> lane = std::make_shared<cuda::UploadLane>();
  bool graphs = graphs_wanted();

  // After an error: nothing in flight may use memory that is given back.
  void abandon() {
    lane->drain();
    cudaStreamSynchronize(stream.get());
  }

 private:
  static bool graphs_wanted() {
    const char* const wish = std::getenv("SQUANT_CUDA_GRAPHS");
    return wish == nullptr || std::string(wish) != "0";
  }
};

class CudaIntegerEngine final : public CudaEngine {
 public:
  CudaIntegerEngine(cuda::Program program, bool graphs, std::shared_ptr<Workspace> workspace)
      : workspace_(std::move(workspace)),
        graphs_(graphs),
        program_(std::move(program), workspace_->stream.get()),
        layers_(program_.program().layers) {
    workspace_->arena.reserve(arena_bytes());
    check_tiles();
  }

  void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) override {
    cuda::DeviceImages images(pixels, n, input_size(), 0, workspace_->lane);
    run(images, 0, n, logits, true);
  }
  void run_input(const float* input, std::int64_t n, float* logits) override {
    cuda::DeviceImages images(input, n, 4 * input_size(), 0, workspace_->lane);
    run(images, 0, n, logits, false);
  }
  void run_images(CudaImages& images, std::int64_t first, std::int64_t n, float* logits) override {
    auto& held = dynamic_cast<cuda::DeviceImages&>(images);
    if (held.image_bytes() != input_size() || first < 0 || n < 0 || first + n > held.count()) {
      throw std::invalid_argument(
          "CudaEngine: images [" + std::to_string(first) + ", " + std::to_string(first + n) +
          ") of " + std::to_string(input_size()) + " bytes asked of " +
          std::to_string(held.count()) + " of " + std::to_string(held.image_bytes()) + " bytes");
    }
    run(held, first, n, logits, true);
  }
  std::vector<IntegerLayerFacts> layer_facts() const override { return layers_; }
  std::int64_t memory_bytes() const override { return program_.memory_bytes(); }
  std::int64_t max_batch() const override { return program_.program().capacity; }

  CudaNetworkTimes time_operations(const std::uint8_t* pixels, std::int64_t n,
                                   int repeats) override {
    CudaNetworkTimes times;
    times.images = std::min(n, max_batch());
    cuda::DeviceImages images(pixels, times.images, input_size(), 0, workspace_->lane);
    reserve(input_size(), 0);
    try {
      images.bring(0, times.images, workspace_->input.data(), stream());
      const auto start = [&] { start_network(times.images, true); };
      start();  // the second one is recorded, which takes the host a while
      // First, so that clocks have risen when the operations follow.
      times.network_us = 1e3 * cuda::median_ms(repeats, stream(), start);
      times.operations = program_.time_operations(
          workspace_->arena.data(), workspace_->input.data(), times.images, repeats, stream());
    } catch (...) {
      workspace_->abandon();
      throw;
    }
    return times;
  }

 private:
  cudaStream_t stream() const { return workspace_->stream.get(); }
  std::int64_t input_size() const { return program_.program().input.size(); }
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

  // The host waits for the results alone, and for what has to leave pinned memory.
  void run(cuda::DeviceImages& images, std::int64_t first, std::int64_t n, float* logits,
           bool on_pixels) {
    if (n < 1) return;
    const auto size_bytes =
        static_cast<std::size_t>(n * program_.program().num_classes) * sizeof(float);
    reserve(images.image_bytes(), size_bytes);
    try {
      enqueue_batches(images, first, n, on_pixels);
      SQ_CUDA_CHECK(cudaMemcpyAsync(workspace_->results.data(), workspace_->logits.data(),
                                    size_bytes, cudaMemcpyDeviceToHost, stream()));
      SQ_CUDA_CHECK(cudaStreamSynchronize(stream()));
    } catch (...) {
      workspace_->abandon();
      throw;
    }
    std::memcpy(logits, workspace_->results.data(), size_bytes);
  }

  // All memory of a run, before anything is enqueued or recorded.
  void reserve(std::int64_t image_bytes, std::size_t results_bytes) {
    workspace_->arena.reserve(arena_bytes());
    workspace_->input.reserve(static_cast<std::size_t>(program_.program().capacity * image_bytes));
    workspace_->logits.reserve(results_bytes);
    workspace_->results.reserve(results_bytes);
  }

  void enqueue_batches(cuda::DeviceImages& images, std::int64_t first, std::int64_t n,
                       bool on_pixels) {
    const cuda::Program& program = program_.program();
    const std::int64_t logits_bytes =
        program.num_classes * static_cast<std::int64_t>(sizeof(float));
    for (std::int64_t begin = 0; begin < n; begin += program.capacity) {
      const std::int64_t count = std::min(program.capacity, n - begin);
      images.bring(first + begin, count, workspace_->input.data(), stream());
      start_network(count, on_pixels);
      SQ_CUDA_CHECK(cudaMemcpyAsync(workspace_->logits.data() + begin * logits_bytes,
                                    workspace_->arena.data() + program.logits,
                                    static_cast<std::size_t>(count * logits_bytes),
                                    cudaMemcpyDeviceToDevice, stream()));
    }
  }

  void start_network(std::int64_t count, bool on_pixels) {
    const auto enqueue = [&] { enqueue_network(count, on_pixels); };
    if (!graphs_ || !workspace_->graphs) {
      enqueue();
      return;
    }
    const std::string why_not = replay_.start(
        {count, on_pixels, workspace_->arena.data(), workspace_->input.data()}, stream(), enqueue);
    if (!why_not.empty()) {
      workspace_->graphs = false;
      spdlog::warn("cuda: no CUDA graphs, every kernel is launched on its own: {}", why_not);
    }
  }

  void enqueue_network(std::int64_t count, bool on_pixels) const {
    const unsigned char* const input = workspace_->input.data();
    program_.enqueue(workspace_->arena.data(), on_pixels ? input : nullptr,
                     on_pixels ? nullptr : reinterpret_cast<const float*>(input), count, stream());
  }

  std::shared_ptr<Workspace> workspace_;
  const bool graphs_;
  cuda::DeviceProgram program_;
  cuda::Replay replay_;
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

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  SQ_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, device));
  return value;
}

void require_gpu() {
  std::string why_not;
  if (!cuda_usable(&why_not)) {
    throw std::invalid_argument("no GPU to evaluate on: " + why_not);
  }
}

class CurrentDevice final : public CudaDevice {
 public:
  CurrentDevice() : workspace_(std::make_shared<Workspace>()), name_(current_properties().name) {
    SQ_CUDA_CHECK(cuda::check_code());
  }

  std::string name() const override { return name_; }
  std::int64_t free_bytes() const override {
    std::size_t free = 0;
    std::size_t total = 0;
    SQ_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return static_cast<std::int64_t>(free);
  }

  std::unique_ptr<CudaEngine> make_engine(const Model& model, const QuantizedWeights& weights,
                                          const ActivationSettings& activations,
                                          const CudaEngineOptions& options) override {
    cuda::ProgramOptions program;
    program.max_images = options.max_images;
    program.tensor_cores = options.tensor_cores;
    program.arena_bytes = std::min(program.arena_bytes, arena_budget());
    return std::make_unique<CudaIntegerEngine>(
        cuda::make_program(model, weights, activations, program), options.graphs, workspace_);
  }

  std::unique_ptr<CudaImages> hold_images(const std::uint8_t* pixels, std::int64_t count,
                                          std::int64_t image_bytes,
                                          std::int64_t max_bytes) override {
    return std::make_unique<cuda::DeviceImages>(
        pixels, count, image_bytes, std::min(max_bytes, free_bytes() / 4), workspace_->lane);
  }

  bool takes_squant(const quant::WeightShape& shape) const override {
    return quant::squant_cuda_takes(shape);
  }
  CudaSquantTimes squant(std::span<const quant::SquantTensor> tensors,
                         const quant::SquantOptions& options, int repeats) override {
    cuda::DeviceSquant work(tensors, workspace_->stream.get());
    CudaSquantTimes times = work.run(options, repeats);
    work.read_codes();
    return times;
  }
  double copy_ms(std::int64_t size_bytes, int repeats, CopyFrom from) override {
    return cuda::copy_ms(static_cast<std::size_t>(size_bytes), repeats, from == CopyFrom::kMemory,
                         workspace_->stream.get());
  }

 private:
  // The arena included, the rest is for weights, images and others.
  std::int64_t arena_budget() const {
    return (free_bytes() + static_cast<std::int64_t>(workspace_->arena.size())) / 4;
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
  int driver = 0;
  int runtime = 0;
  SQ_CUDA_CHECK(cudaDriverGetVersion(&driver));
  SQ_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  const cudaDeviceProp properties = properties_of(device);
  return {properties.name,
          uuid_text(properties.uuid),
          version_text(driver),
          version_text(runtime),
          properties.multiProcessorCount,
          attribute(cudaDevAttrClockRate, device) / 1000,
          attribute(cudaDevAttrMemoryClockRate, device) / 1000};
}

std::shared_ptr<CudaDevice> open_cuda_device() {
  require_gpu();
  return std::make_shared<CurrentDevice>();
}

}  // namespace squant::eval
