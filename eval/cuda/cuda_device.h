// The GPU as the evaluator sees it. No CUDA header is needed; in a build without CUDA there is
// none (no_cuda_device.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/cuda/operation_facts.h"
#include "eval/engine/engine.h"
#include "eval/engine/integer_engine.h"

namespace squant::eval {

// Whether this build and this machine have a GPU to evaluate on; `why_not` (may be null) says what
// is missing.
bool cuda_usable(std::string* why_not = nullptr);

// A GPU for provenance, by CUDA's number in this process. Throws std::invalid_argument where there
// is none.
struct CudaFacts {
  std::string name;     // "NVIDIA H100 80GB HBM3"
  std::string uuid;     // "GPU-" and 36 characters, as nvidia-smi prints it
  std::string driver;   // newest CUDA version that the driver supports, "13.0"
  std::string runtime;  // CUDA version of this build's runtime
  int num_processors = 0;
  int clock_mhz = 0, memory_clock_mhz = 0;  // the highest that the GPU may choose
};
CudaFacts cuda_facts(int device = 0);

// Images of the host that engines of one device read, uploaded once for all of them.
class CudaImages {
 public:
  virtual ~CudaImages() = default;
  // How many stay on the GPU: the first ones. The others are uploaded each time.
  virtual std::int64_t num_kept() const = 0;
};

// How long an operation of a network took on a GPU.
struct CudaOperationTime {
  cuda::OperationFacts facts;
  int layer = -1;      // in layer order; -1: no layer
  double time_us = 0;  // of a batch
};
struct CudaNetworkTimes {
  std::int64_t images = 0;  // of the batch
  std::vector<CudaOperationTime> operations;
  double network_us = 0;  // all of them, started as the engine starts them
};

// The integer engine on a GPU: the CPU's logits to the bit, for every batch size.
class CudaEngine : public Engine {
 public:
  // Images [first, first + n) of what the engine's device holds, as run_pixels. Throws
  // std::invalid_argument where they are not all there or of another size than the network's input.
  virtual void run_images(CudaImages& images, std::int64_t first, std::int64_t n,
                          float* logits) = 0;
  std::string name() const override { return "integer"; }
  bool exact() const override { return true; }
  // In layer order: "mma" (8-bit tensor cores), "depthwise", "loops", "float64".
  virtual std::vector<IntegerLayerFacts> layer_facts() const = 0;
  // Of device memory that is the engine's alone: its weights.
  virtual std::int64_t memory_bytes() const = 0;
  // Images of a batch on the device, at most: CudaEngineOptions::max_images, or fewer.
  virtual std::int64_t max_batch() const = 0;
  // Runs a batch of the first of n images, as run_pixels, operation by operation, each one several
  // times in a row: CUDA events, the median of the repeats after a warm-up. The inputs are the
  // network's own, and lie where the operation before left them.
  virtual CudaNetworkTimes time_operations(const std::uint8_t* pixels, std::int64_t n,
                                           int repeats) = 0;
};

// How long SQuant took on a GPU, from weights in its memory to codes in its memory: CUDA events,
// the median of the repeats after a warm-up.
struct CudaSquantTimes {
  double all_ms = 0;              // all tensors, in one launch
  std::vector<double> tensor_ms;  // each on its own
};

struct CudaEngineOptions {
  std::int64_t max_images = 256;  // of a batch on the device; fewer where memory is short
  bool tensor_cores = true;
  // Whether batches are replayed as CUDA graphs; SQUANT_CUDA_GRAPHS=0 in the environment says no
  // for all engines of a process.
  bool graphs = true;
};

// One GPU with the memory that its engines share. It and its engines belong to one thread, which
// runs one engine at a time. Errors of the device are quant::CudaError.
class CudaDevice {
 public:
  virtual ~CudaDevice() = default;
  virtual std::string name() const = 0;  // as CudaFacts::name
  // Memory that nobody on this GPU has taken.
  virtual std::int64_t free_bytes() const = 0;
  // Throws std::invalid_argument as IntegerEngine does. Keeps nothing of `model` and `weights`; the
  // engine keeps the device alive.
  virtual std::unique_ptr<CudaEngine> make_engine(const Model& model,
                                                  const QuantizedWeights& weights,
                                                  const ActivationSettings& activations,
                                                  const CudaEngineOptions& options = {}) = 0;
  // pixels: [count, image_bytes], memory that outlives the result and does not change. On the GPU
  // stays what max_bytes and a quarter of its free memory hold; an image is uploaded when an engine
  // first reads it.
  virtual std::unique_ptr<CudaImages> hold_images(const std::uint8_t* pixels, std::int64_t count,
                                                  std::int64_t image_bytes,
                                                  std::int64_t max_bytes) = 0;
  // Whether squant() takes a tensor of this shape.
  virtual bool takes_squant(const quant::WeightShape& shape) const = 0;
  // SQuant of tensors in host memory, all in one launch: codes, scales and zero points of
  // squant_cpu, to the bit. Measures where repeats > 0. Throws std::invalid_argument, naming the
  // tensor, for a NaN or infinite weight; does not refuse scales that overflow float32.
  virtual CudaSquantTimes squant(std::span<const quant::SquantTensor> tensors,
                                 const quant::SquantOptions& options, int repeats) = 0;
  // How long the GPU takes to copy so many bytes within its memory, for comparison: CUDA events,
  // the median of the repeats after a warm-up. kMemory: from one buffer after the other, so that
  // the caches do not have the bytes. kCaches: the same bytes again and again.
  enum class CopyFrom : std::uint8_t { kMemory, kCaches };
  virtual double copy_ms(std::int64_t size_bytes, int repeats, CopyFrom from) = 0;
};

// The process's current GPU. Throws std::invalid_argument with the reason where there is none.
std::shared_ptr<CudaDevice> open_cuda_device();

}  // namespace squant::eval
