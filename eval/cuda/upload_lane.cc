#include "eval/cuda/upload_lane.h"

#include <algorithm>
#include <cstring>

namespace squant::eval::cuda {
namespace {

// Large enough for full bandwidth, small enough that filling one hides behind copying the other.
constexpr std::size_t kPieceBytes = std::size_t{8} << 20;

}  // namespace

void UploadLane::copy(const unsigned char* from, std::size_t size_bytes, unsigned char* to) {
  for (std::size_t begin = 0; begin < size_bytes; begin += kPieceBytes) {
    copy_piece(from + begin, std::min(kPieceBytes, size_bytes - begin), to + begin);
  }
}

void UploadLane::copy_piece(const unsigned char* from, std::size_t size_bytes, unsigned char* to) {
  Staging& staging = staging_[next_staging_];
  next_staging_ = 1 - next_staging_;
  staging.copied.wait();
  staging.memory.reserve(size_bytes);
  std::memcpy(staging.memory.data(), from, size_bytes);
  SQ_CUDA_CHECK(cudaMemcpyAsync(to, staging.memory.data(), size_bytes, cudaMemcpyHostToDevice,
                                stream_.get()));
  staging.copied.record(stream_.get());
}

void UploadLane::join(cudaStream_t stream) {
  joined_.record(stream_.get());
  joined_.hold(stream);
}

void UploadLane::pass(const unsigned char* from, std::size_t size_bytes, unsigned char* to,
                      cudaStream_t stream) {
  Transit& transit = transit_[next_transit_];
  next_transit_ = 1 - next_transit_;
  transit.memory.reserve(size_bytes);
  transit.consumed.hold(stream_.get());
  copy(from, size_bytes, transit.memory.data());
  join(stream);
  SQ_CUDA_CHECK(
      cudaMemcpyAsync(to, transit.memory.data(), size_bytes, cudaMemcpyDeviceToDevice, stream));
  transit.consumed.record(stream);
}

}  // namespace squant::eval::cuda
