#include "eval/export/quantizer_cuda.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "quant/cuda_check.h"
#include "quant/squant_cuda.h"

namespace squant::eval {
namespace {

// Device memory that grows with the largest tensor that asked for it.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* reserve(std::int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (bytes <= bytes_) return data_;
    SQ_CUDA_CHECK(cudaFree(data_));
    data_ = nullptr;
    bytes_ = 0;
    SQ_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&data_), bytes));
    bytes_ = bytes;
    return data_;
  }

 private:
  T* data_ = nullptr;
  std::size_t bytes_ = 0;
};

template <class T>
void copy(T* to, const T* from, std::int64_t count, cudaMemcpyKind kind) {
  SQ_CUDA_CHECK(cudaMemcpy(to, from, static_cast<std::size_t>(count) * sizeof(T), kind));
}

class CudaQuantizer final : public Quantizer {
 public:
  explicit CudaQuantizer(const quant::SquantOptions& options) : options_(options) {}

  void quantize(const quant::SquantTensor& tensor) override {
    const quant::WeightShape& shape = tensor.shape;
    float* const weights = weights_.reserve(shape.size());
    quant::SquantTensor on_device = tensor;
    on_device.weights = weights;
    on_device.codes = codes_.reserve(shape.size());
    on_device.scale = scale_.reserve(shape.out);
    on_device.zero_point = zero_point_.reserve(shape.out);
    copy(weights, tensor.weights, shape.size(), cudaMemcpyHostToDevice);
    quant::SquantCuda launch({&on_device, 1}, options_);
    launch.enqueue(nullptr);
    launch.finish(nullptr);
    copy(tensor.codes, on_device.codes, shape.size(), cudaMemcpyDeviceToHost);
    copy(tensor.scale, on_device.scale, shape.out, cudaMemcpyDeviceToHost);
    copy(tensor.zero_point, on_device.zero_point, shape.out, cudaMemcpyDeviceToHost);
  }

 private:
  quant::SquantOptions options_;
  DeviceBuffer<float> weights_, scale_, zero_point_;
  DeviceBuffer<std::int8_t> codes_;
};

}  // namespace

std::unique_ptr<Quantizer> make_cuda_quantizer(const quant::SquantOptions& options) {
  std::string why_not;
  if (!quant::cuda_available(&why_not)) {
    throw std::invalid_argument("--device cuda: this machine has no usable GPU (" + why_not +
                                "); --device cpu gives the same codes");
  }
  return std::make_unique<CudaQuantizer>(options);
}

}  // namespace squant::eval
