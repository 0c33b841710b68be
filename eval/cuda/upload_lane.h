// How host memory gets to a GPU while the GPU computes: on a stream of its own, through two pinned
// buffers that take turns. The host fills one while the other is copied.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "eval/cuda/device_memory.h"

namespace squant::eval::cuda {

// Not thread-safe. Errors are quant::CudaError; after one, drain() before memory is given back.
class UploadLane {
 public:
  // Starts copying host memory, which is read before this returns, to device memory `to`.
  void copy(const unsigned char* from, std::size_t size_bytes, unsigned char* to);
  // What is enqueued on `stream` from now on sees all copies so far.
  void join(cudaStream_t stream);
  // copy() and join() by way of one of two device buffers that take turns: `to` is written in the
  // order of `stream`, so that work enqueued there before may still read it.
  void pass(const unsigned char* from, std::size_t size_bytes, unsigned char* to,
            cudaStream_t stream);
  // Waits for all copies so far. For clean-up: reports nothing.
  void drain() noexcept { cudaStreamSynchronize(stream_.get()); }

 private:
  struct Staging {
    PinnedBuffer memory;
    Event copied;  // on stream_: the memory may be filled again
  };
  struct Transit {
    DeviceBuffer memory;
    Event consumed;  // on the reader's stream: the memory may be written again
  };
  void copy_piece(const unsigned char* from, std::size_t size_bytes, unsigned char* to);

  Stream stream_;
  Event joined_;
  Staging staging_[2];
  Transit transit_[2];
  int next_staging_ = 0;
  int next_transit_ = 0;
};

}  // namespace squant::eval::cuda
