// How long work takes on the GPU, by CUDA events. Errors are quant::CudaError.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "eval/cuda/device_memory.h"

namespace squant::eval::cuda {

// The GPU's time between two points of a stream.
class Stopwatch {
 public:
  void start(cudaStream_t stream) { begin_.record(stream); }
  // Waits for what was enqueued since start().
  double stop_ms(cudaStream_t stream) {
    end_.record(stream);
    end_.wait();
    float elapsed_ms = 0;
    SQ_CUDA_CHECK(cudaEventElapsedTime(&elapsed_ms, begin_.get(), end_.get()));
    return static_cast<double>(elapsed_ms);
  }

 private:
  Event begin_{cudaEventBlockingSync};
  Event end_{cudaEventBlockingSync};
};

// Median of the GPU's times of what enqueue() enqueues on `stream`, after a warm-up; 0 for no
// repeats: then it is only enqueued.
template <class Enqueue>
double median_ms(int repeats, cudaStream_t stream, const Enqueue& enqueue) {
  enqueue();
  if (repeats < 1) return 0;
  std::vector<double> times_ms;
  Stopwatch watch;
  for (int i = 0; i < repeats; ++i) {
    watch.start(stream);
    enqueue();
    times_ms.push_back(watch.stop_ms(stream));
  }
  const auto middle = times_ms.begin() + static_cast<std::ptrdiff_t>(times_ms.size() / 2);
  std::nth_element(times_ms.begin(), middle, times_ms.end());
  return *middle;
}

}  // namespace squant::eval::cuda
