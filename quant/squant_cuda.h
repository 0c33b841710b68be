// SQuant on a GPU: all tensors of a network in one kernel launch, the same codes to the bit as
// squant_cpu.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>

#include "quant/cuda_output.h"
#include "quant/squant.h"

namespace squant::quant {

// Whether this machine has a usable GPU; `why_not` (may be null) says what the CUDA runtime said.
bool cuda_available(std::string* why_not = nullptr);

// Whether SquantCuda is for tensors of this shape: channels of at most kMaxRow weights, as for
// squant_cpu, and at most 2^28 weights (long channels need 5 bytes of working memory a weight).
bool squant_cuda_takes(const WeightShape& shape);

// A network's launch, prepared once for the current device. The tensors' weights, codes, scale and
// zero_point are device memory, which must outlive the work. What is written where `codes` points
// is `output`, whatever its type. Not thread-safe.
class SquantCuda {
 public:
  // Throws std::invalid_argument as squant_cpu does before it writes, and for
  // packed codes of more than 4 bits or misaligned float32; CudaError when the device refuses
  // memory.
  SquantCuda(std::span<const SquantTensor> tensors, const SquantOptions& options,
             CudaOutput output = CudaOutput::kCodes);
  ~SquantCuda();
  SquantCuda(SquantCuda&&) noexcept;
  SquantCuda& operator=(SquantCuda&&) noexcept;

  // One launch on `stream`, not waited for. Throws CudaError when it is refused.
  void enqueue(cudaStream_t stream);
  // Waits for `stream`; throws std::invalid_argument naming the first tensor and channel that had a
  // NaN or infinite weight, or whose scale or zero point overflows float32 (its codes were not
  // written), CudaError when the work failed.
  void finish(cudaStream_t stream);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace squant::quant
