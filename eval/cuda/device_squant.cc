#include "eval/cuda/device_squant.h"

#include <cstdint>

#include "eval/cuda/device_time.h"
#include "quant/squant_cuda.h"

namespace squant::eval::cuda {
namespace {

std::size_t weights_bytes(const quant::SquantTensor& tensor) {
  return static_cast<std::size_t>(tensor.shape.size()) * sizeof(float);
}
std::size_t codes_bytes(const quant::SquantTensor& tensor) {
  return static_cast<std::size_t>(tensor.shape.size());
}
std::size_t channels_bytes(const quant::SquantTensor& tensor) {
  return static_cast<std::size_t>(tensor.shape.out) * sizeof(float);
}

// Hands out pieces of one memory; without one, adds up what they need.
class Pieces {
 public:
  explicit Pieces(unsigned char* memory) : memory_(memory) {}
  template <class T>
  T* take(std::size_t size_bytes) {
    unsigned char* const piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(piece);
  }
  std::size_t used() const { return used_; }

 private:
  static constexpr std::size_t kAlignment = 256;
  unsigned char* const memory_;
  std::size_t used_ = 0;
};

std::vector<quant::SquantTensor> placed(std::span<const quant::SquantTensor> tensors,
                                        Pieces& pieces) {
  std::vector<quant::SquantTensor> result(tensors.begin(), tensors.end());
  for (quant::SquantTensor& tensor : result) {
    tensor.weights = pieces.take<float>(weights_bytes(tensor));
    tensor.codes = pieces.take<std::int8_t>(codes_bytes(tensor));
    tensor.scale = pieces.take<float>(channels_bytes(tensor));
    tensor.zero_point = pieces.take<float>(channels_bytes(tensor));
  }
  return result;
}

}  // namespace

DeviceSquant::DeviceSquant(std::span<const quant::SquantTensor> tensors, cudaStream_t stream)
    : host_(tensors), stream_(stream) {
  Pieces sizes(nullptr);
  placed(tensors, sizes);
  memory_.reserve(sizes.used());
  Pieces pieces(memory_.data());
  device_ = placed(tensors, pieces);
  for (std::size_t i = 0; i < host_.size(); ++i) {
    // Written through SquantTensor, which only reads its weights.
    SQ_CUDA_CHECK(cudaMemcpyAsync(const_cast<float*>(device_[i].weights), host_[i].weights,
                                  weights_bytes(host_[i]), cudaMemcpyHostToDevice, stream_));
  }
  SQ_CUDA_CHECK(cudaStreamSynchronize(stream_));
}

CudaSquantTimes DeviceSquant::run(const quant::SquantOptions& options, int repeats) {
  CudaSquantTimes times;
  times.all_ms = measure_ms(device_, options, repeats);
  if (repeats > 0) {
    for (const quant::SquantTensor& tensor : device_) {
      times.tensor_ms.push_back(measure_ms({&tensor, 1}, options, repeats));
    }
  }
  return times;
}

double DeviceSquant::measure_ms(std::span<const quant::SquantTensor> tensors,
                                const quant::SquantOptions& options, int repeats) {
  quant::SquantCuda squant(tensors, options);
  const double elapsed_ms = median_ms(repeats, stream_, [&] { squant.enqueue(stream_); });
  squant.finish(stream_);
  return elapsed_ms;
}

void DeviceSquant::read_codes() {
  const auto read = [&](void* to, const void* from, std::size_t size_bytes) {
    SQ_CUDA_CHECK(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToHost, stream_));
  };
  for (std::size_t i = 0; i < host_.size(); ++i) {
    read(host_[i].codes, device_[i].codes, codes_bytes(host_[i]));
    read(host_[i].scale, device_[i].scale, channels_bytes(host_[i]));
    read(host_[i].zero_point, device_[i].zero_point, channels_bytes(host_[i]));
  }
  SQ_CUDA_CHECK(cudaStreamSynchronize(stream_));
}

}  // namespace squant::eval::cuda
