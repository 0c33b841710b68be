#include "eval/cuda/device_copy.h"

#include <algorithm>

#include "eval/cuda/device_memory.h"
#include "eval/cuda/device_time.h"

namespace squant::eval::cuda {
namespace {

// A GPU's caches have less than a quarter of it.
constexpr std::size_t kPastCachesBytes = std::size_t{256} << 20;
constexpr std::size_t kAlignment = 256;
constexpr double kWarmUpMs = 50;
constexpr int kMostWarmUps = 1000;
constexpr int kAtOnce = 10;

// Two pieces of memory, copied part by part in turn.
class Copies {
 public:
  Copies(std::size_t size_bytes, bool past_caches, cudaStream_t stream)
      : size_(size_bytes),
        pitch_((size_bytes + kAlignment - 1) / kAlignment * kAlignment),
        num_parts_(past_caches ? std::max<std::size_t>(kPastCachesBytes / pitch_, 1) + 1 : 1) {
    from_.reserve(pitch_ * num_parts_);
    to_.reserve(from_.size());
    SQ_CUDA_CHECK(cudaMemsetAsync(from_.data(), 0, from_.size(), stream));
  }
  void enqueue_next(cudaStream_t stream) {
    const std::size_t at = next_++ % num_parts_ * pitch_;
    SQ_CUDA_CHECK(cudaMemcpyAsync(to_.data() + at, from_.data() + at, size_,
                                  cudaMemcpyDeviceToDevice, stream));
  }

 private:
  const std::size_t size_;
  const std::size_t pitch_;
  const std::size_t num_parts_;
  std::size_t next_ = 0;
  DeviceBuffer from_, to_;
};

}  // namespace

double copy_ms(std::size_t size_bytes, int repeats, bool past_caches, cudaStream_t stream) {
  Copies copies(std::max<std::size_t>(size_bytes, 1), past_caches, stream);
  const auto enqueue = [&] { copies.enqueue_next(stream); };
  double spent_ms = 0;
  for (int i = 0; i < kMostWarmUps && spent_ms < kWarmUpMs; ++i) {
    spent_ms += kAtOnce * median_ms(kAtOnce, stream, enqueue);
  }
  return median_ms(std::max(1, repeats), stream, enqueue);
}

}  // namespace squant::eval::cuda
