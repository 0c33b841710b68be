// The launcher of SQuant's CUDA kernel. Plain data and C++17.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "quant/squant_team.h"

namespace squant::quant {

// What one thread block does: up to kRowsPerBlock consecutive short rows, a warp each, or one long
// row by all threads. All that it needs is here, and what it needs first in the first 32 bytes, so
// that weights are asked for after one look-up. Memory is the device's.
struct alignas(32) BlockWork {
  const float* weights;  // of the first row, as output, scale and zero_point
  std::int32_t in;
  std::int32_t kernel;
  std::int32_t num_rows;
  std::int32_t spill_slot;  // where a long row works that does not fit shared memory; -1: it fits
  std::int32_t tensor;
  bool is_long;
  void* output;  // as SquantLaunch::options says
  float* scale;
  float* zero_point;
  std::int32_t first_row;
};

inline constexpr int kThreadsPerBlock = 128;
inline constexpr int kRowsPerBlock = kThreadsPerBlock / 32;
// Elements that a warp's share of shared memory holds.
inline constexpr std::int32_t kShortRow = 1152;
inline constexpr std::int64_t kBytesPerElement = sizeof(float) + sizeof(std::int8_t);
// TeamScratch::keys of a block; a warp has its share of them.
inline constexpr std::int32_t kKeysPerBlock = 256;

// A row's elements and what aligns the arrays behind them.
SQ_HOST_DEVICE std::int64_t padded_row(std::int64_t elements) { return (elements + 15) / 16 * 16; }

struct SquantLaunch {
  const BlockWork* work;  // device, [num_blocks]
  std::int32_t num_blocks;
  std::int32_t
      shared_elements;   // that a block's shared memory holds, at least kRowsPerBlock * kShortRow
  unsigned char* spill;  // device: kBytesPerElement * spill_elements a slot, for padded rows above
                         // shared_elements
  std::int64_t spill_elements;  // the longest such row, padded
  unsigned long long* broken;   // device: the lowest (tensor << 32 | row) whose weights were
                                // refused, else all ones
  TeamOptions options;
};

// Enqueues one launch on `stream`, not waited for. Returns what the launch said.
cudaError_t launch_squant(const SquantLaunch& launch, cudaStream_t stream);

// Shared memory a block of this device may have for it, in elements of a row.
cudaError_t max_shared_elements(int device, std::int32_t* elements);

}  // namespace squant::quant
