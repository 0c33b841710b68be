// The GPU as the evaluator sees it. No CUDA header is needed; in a build without CUDA there is
// none (no_cuda_device.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/engine/engine.h"
#include "eval/engine/integer_engine.h"

namespace squant::eval {

// Whether this build and this machine have a GPU to evaluate on; `why_not` (may be null) says what
// is missing.
bool cuda_usable(std::string* why_not = nullptr);

// A GPU for provenance, by CUDA's number in this process. Throws std::invalid_argument where there
// is none.
struct CudaFacts {
  std::string name;    // "NVIDIA H100 80GB HBM3"
  std::string uuid;    // "GPU-" and 36 characters, as nvidia-smi prints it
  std::string driver;  // newest CUDA version that the driver supports, "13.0"
};
CudaFacts cuda_facts(int device = 0);

// The integer engine on a GPU: the CPU's logits to the bit, for every batch size.
class CudaEngine : public Engine {
 public:
  std::string name() const override { return "integer"; }
  bool exact() const override { return true; }
  // In layer order: "mma" (8-bit tensor cores), "depthwise", "loops", "float64".
  virtual std::vector<IntegerLayerFacts> layer_facts() const = 0;
  // Of device memory that is the engine's alone: its weights.
  virtual std::int64_t memory_bytes() const = 0;
};

struct CudaEngineOptions {
  std::int64_t max_images = 256;  // of a batch on the device; fewer where memory is short
  bool tensor_cores = true;
};

// One GPU with the memory that its engines share. It and its engines belong to one thread, which
// runs one engine at a time. Errors of the device are quant::CudaError.
class CudaDevice {
 public:
  virtual ~CudaDevice() = default;
  virtual std::string name() const = 0;  // as CudaFacts::name
  // Throws std::invalid_argument as IntegerEngine does. Keeps nothing of `model` and `weights`; the
  // engine keeps the device alive.
  virtual std::unique_ptr<CudaEngine> make_engine(const Model& model,
                                                  const QuantizedWeights& weights,
                                                  const ActivationSettings& activations,
                                                  const CudaEngineOptions& options = {}) = 0;
};

// The process's current GPU. Throws std::invalid_argument with the reason where there is none.
std::shared_ptr<CudaDevice> open_cuda_device();

}  // namespace squant::eval
