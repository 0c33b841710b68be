// Memory and work queues of the current GPU, freed with their owner. Errors are quant::CudaError.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "quant/cuda_check.h"

namespace squant::eval::cuda {

// Memory that only grows; growing loses what was in it, and waits for work that may use it.
template <cudaError_t (*kAllocate)(void**, std::size_t), cudaError_t (*kFree)(void*)>
class GrowingBuffer {
 public:
  void reserve(std::size_t size_bytes) {
    if (size_bytes <= size_) return;
    memory_.reset();
    size_ = 0;
    void* memory = nullptr;
    SQ_CUDA_CHECK(kAllocate(&memory, size_bytes));
    memory_.reset(static_cast<unsigned char*>(memory));
    size_ = size_bytes;
  }
  unsigned char* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { kFree(memory); }
  };
  std::unique_ptr<unsigned char, Free> memory_;
  std::size_t size_ = 0;
};

using DeviceBuffer = GrowingBuffer<cudaMalloc, cudaFree>;
// Host memory that a GPU reads and writes while the host does something else.
using PinnedBuffer = GrowingBuffer<cudaMallocHost, cudaFreeHost>;

class Stream {
 public:
  Stream() { SQ_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream that the host, sleeping, or another stream can wait for. Before the first
// record() there is nothing to wait for; a wait is for what was recorded last when it began.
class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming | cudaEventBlockingSync) {
    SQ_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags));
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { SQ_CUDA_CHECK(cudaEventRecord(event_, stream)); }
  void wait() { SQ_CUDA_CHECK(cudaEventSynchronize(event_)); }
  // What is enqueued on `stream` from now on runs after this point.
  void hold(cudaStream_t stream) { SQ_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace squant::eval::cuda
