// A program in a GPU's memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "eval/cuda/cuda_device.h"
#include "eval/cuda/device_memory.h"
#include "eval/cuda/program.h"

namespace squant::eval::cuda {

class DeviceProgram {
 public:
  // Uploads the constants, waiting for `stream`.
  DeviceProgram(Program program, cudaStream_t stream);

  const Program& program() const { return program_; }
  std::int64_t memory_bytes() const { return static_cast<std::int64_t>(constants_.size()); }

  // Enqueues the network over n images, 1 to capacity. arena: program().arena_bytes of device
  // memory. Of `pixels` ([n, H, W, C]) and `input` ([n, C, H, W]), device memory, one is null.
  // Returns where the logits will be, float [n, num_classes].
  const float* enqueue(unsigned char* arena, const std::uint8_t* pixels, const float* input,
                       std::int64_t n, cudaStream_t stream) const;

  // Enqueues the operations as enqueue() does, on pixels, and waits: each one alone, several times
  // in a row (CudaEngine::time_operations).
  std::vector<CudaOperationTime> time_operations(unsigned char* arena, const std::uint8_t* pixels,
                                                 std::int64_t n, int repeats,
                                                 cudaStream_t stream) const;

  // Runs each layer that has tiles in tiles and element by element, on its smallest, its largest
  // and on mixed bytes. Where a byte of the results differs, elements compute the layer from now
  // on. Returns the numbers of these layers; waits for `stream`.
  std::vector<int> check_tiles(unsigned char* arena, cudaStream_t stream);

 private:
  Memory memory(unsigned char* arena) const { return {constants_.data(), arena, nullptr, nullptr}; }
  Program program_;
  DeviceBuffer constants_;
};

}  // namespace squant::eval::cuda
