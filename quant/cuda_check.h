// CUDA errors as exceptions: expression, place and the runtime's own text.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace squant::quant {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void check_cuda(cudaError_t status, const char* expression, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgotten, or the next launch would be blamed for it
  throw CudaError(std::string(file) + ":" + std::to_string(line) + ": " + expression + ": " +
                  cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

}  // namespace squant::quant

#define SQ_CUDA_CHECK(expression) \
  ::squant::quant::check_cuda((expression), #expression, __FILE__, __LINE__)
