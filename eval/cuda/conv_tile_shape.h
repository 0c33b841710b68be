// How a convolution is cut into tiles for the tensor cores: what the layout of weights, the kernels
// and their launch agree on. C++17.
#pragma once

#include <cstdint>

namespace squant::eval::cuda {

inline constexpr int kTilePositions = 128;  // output positions of a block
inline constexpr int kWarpPositions = 32;   // of a warp
inline constexpr int kPositionWarps = kTilePositions / kWarpPositions;
inline constexpr int kWarpOutputs = 64;  // output channels of a warp; weights are padded to them
inline constexpr int kTileDepth = 64;    // bytes of a row that a step multiplies
inline constexpr int kChunkBytes = 16;   // of a row, copied at once: input channels of one tap
inline constexpr int kWarpLanes = 32;
inline constexpr int kMostTaps = 16;  // of a window, in one direction

// A block has kPositionWarps times kOutputWarps warps, and as many times kWarpOutputs output
// channels.
template <int kOutputWarps>
struct TileShape {
  static constexpr int kWarps = kPositionWarps * kOutputWarps;
  static constexpr int kThreads = kWarps * kWarpLanes;
  static constexpr int kOutputs = kOutputWarps * kWarpOutputs;
  // Steps whose bytes are in shared memory at a time: as many as 48 KB hold.
  static constexpr int kStages = kOutputWarps == 1 ? 4 : 3;
  static constexpr int kInputBytes = kTilePositions * kTileDepth;
  static constexpr int kStageBytes = kInputBytes + kOutputs * kTileDepth;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static_assert(kSharedBytes <= 48 * 1024);
};

// A channel's window in a row of kTileDepth bytes: 8 taps for each of 8 rows.
inline constexpr int kPixelTaps = 8;
static_assert(kPixelTaps * kPixelTaps == kTileDepth);
inline constexpr int kMostPixelChannels = TileShape<1>::kStages;

// Wide blocks gather each window half as often, where they have no column to waste.
inline constexpr int output_warps(std::int32_t padded_outputs) {
  return padded_outputs % (2 * kWarpOutputs) == 0 ? 2 : 1;
}

}  // namespace squant::eval::cuda
