// A GPU made of the host: the part of the CUDA runtime that this project calls, for test programs
// that link it instead of cudart (host_gpu.cc) and kernels run by the host (host_gpu_kernels.cc).
// So streams, events, uploads and graphs are tested where there is no GPU.
//
// Streams are queues. Nothing in them runs before the host waits for something, or before a drawn
// number says so; then queues take turns at random, within what events allow. Code that relies on
// an order which the API does not promise gets another one soon. New memory is filled with garbage.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace squant::host_gpu {

// What a test sets and reads. Reset for each test by reset().
struct State {
  std::size_t memory_bytes = std::size_t{16} << 30;  // of the GPU
  std::size_t largest_allocation = SIZE_MAX;
  bool refuses_graphs = false;

  std::size_t allocated_bytes = 0;
  std::int64_t uploaded_bytes = 0;
  std::int64_t num_waits = 0;     // of the host
  std::int64_t num_launches = 0;  // by the host: kernels, each on its own
  std::int64_t num_recorded = 0;  // kernels in graphs
  std::int64_t num_replays = 0;
};
State& state();

// Memory stays allocated, everything else is as new; the order is drawn from `seed`, and seed % 8
// is how lazy the GPU is: at 0, something is done at nearly every call, at 7 hardly before a wait.
void reset(unsigned seed);

// A kernel: enqueued on `stream`, or recorded.
cudaError_t launch(cudaStream_t stream, std::function<void()> kernel);

}  // namespace squant::host_gpu
