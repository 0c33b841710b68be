#include "eval/cuda/device_images.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace squant::eval::cuda {

DeviceImages::DeviceImages(const void* host, std::int64_t count, std::int64_t image_bytes,
                           std::int64_t max_bytes, std::shared_ptr<UploadLane> lane)
    : host_(static_cast<const unsigned char*>(host)),
      count_(count),
      image_bytes_(image_bytes),
      lane_(std::move(lane)) {
  const std::int64_t fitting = std::min(count, max_bytes / image_bytes);
  if (fitting < 1) return;
  try {
    kept_.reserve(bytes(fitting));
    num_kept_ = fitting;
  } catch (const quant::CudaError& error) {
    spdlog::warn("cuda: no memory to keep {} images, each job uploads them: {}", fitting,
                 error.what());
  }
}

void DeviceImages::bring(std::int64_t first, std::int64_t n, unsigned char* to,
                         cudaStream_t stream) {
  const std::int64_t end = first + n;
  const std::int64_t kept_end = std::clamp(num_kept_, first, end);
  if (kept_end > first) bring_kept(first, kept_end, to, stream);
  if (end > kept_end) {
    lane_->pass(host_ + bytes(kept_end), bytes(end - kept_end), to + bytes(kept_end - first),
                stream);
  }
}

void DeviceImages::bring_kept(std::int64_t first, std::int64_t end, unsigned char* to,
                              cudaStream_t stream) {
  if (end > num_uploaded_) {
    lane_->copy(host_ + bytes(num_uploaded_), bytes(end - num_uploaded_),
                kept_.data() + bytes(num_uploaded_));
    num_uploaded_ = end;
  }
  lane_->join(stream);
  SQ_CUDA_CHECK(cudaMemcpyAsync(to, kept_.data() + bytes(first), bytes(end - first),
                                cudaMemcpyDeviceToDevice, stream));
}

}  // namespace squant::eval::cuda
