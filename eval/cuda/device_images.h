// Images of host memory as the engines of a GPU read them: uploaded once and kept there, as far as
// memory reaches.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "eval/cuda/cuda_device.h"
#include "eval/cuda/device_memory.h"
#include "eval/cuda/upload_lane.h"

namespace squant::eval::cuda {

class DeviceImages final : public CudaImages {
 public:
  // host: [count, image_bytes], outlives this object and does not change. The first images, as many
  // as max_bytes hold, are kept once they were uploaded; none where the GPU refuses the memory.
  DeviceImages(const void* host, std::int64_t count, std::int64_t image_bytes,
               std::int64_t max_bytes, std::shared_ptr<UploadLane> lane);

  std::int64_t num_kept() const override { return num_kept_; }
  std::int64_t count() const { return count_; }
  std::int64_t image_bytes() const { return image_bytes_; }

  // Images [first, first + n) into device memory `to`, in the order of `stream`; not waited for.
  void bring(std::int64_t first, std::int64_t n, unsigned char* to, cudaStream_t stream);

 private:
  void bring_kept(std::int64_t first, std::int64_t end, unsigned char* to, cudaStream_t stream);
  std::size_t bytes(std::int64_t images) const {
    return static_cast<std::size_t>(images * image_bytes_);
  }

  const unsigned char* const host_;
  const std::int64_t count_;
  const std::int64_t image_bytes_;
  const std::shared_ptr<UploadLane> lane_;
  DeviceBuffer kept_;
  std::int64_t num_kept_ = 0;
  std::int64_t num_uploaded_ = 0;  // of the kept ones: the first
};

}  // namespace squant::eval::cuda
