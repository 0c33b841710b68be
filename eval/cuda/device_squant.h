// SQuant of tensors in host memory on the current GPU.
#pragma once

#include <cuda_runtime_api.h>

#include <span>
#include <vector>

#include "eval/cuda/cuda_device.h"
#include "eval/cuda/device_memory.h"
#include "quant/squant.h"

namespace squant::eval::cuda {

// The tensors' weights on the GPU, with room for their codes. Errors are quant::CudaError.
class DeviceSquant {
 public:
  // Uploads the weights, waiting for `stream`. `tensors` and what they refer to outlive this
  // object.
  DeviceSquant(std::span<const quant::SquantTensor> tensors, cudaStream_t stream);

  // Quantizes all tensors; where repeats > 0, several times, each tensor on its own as well. Throws
  // std::invalid_argument, naming the tensor, for a NaN or infinite weight.
  CudaSquantTimes run(const quant::SquantOptions& options, int repeats);
  // What run() wrote, into the host's tensors.
  void read_codes();

 private:
  double measure_ms(std::span<const quant::SquantTensor> tensors,
                    const quant::SquantOptions& options, int repeats);

  const std::span<const quant::SquantTensor> host_;
  const cudaStream_t stream_;
  DeviceBuffer memory_;
  std::vector<quant::SquantTensor> device_;  // host_, with addresses in memory_
};

}  // namespace squant::eval::cuda
