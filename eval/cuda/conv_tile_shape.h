// How a convolution is cut into tiles for the tensor cores: what the layout of weights, the kernel
// and its launch agree on. C++17.
#pragma once

namespace squant::eval::cuda {

inline constexpr int kTilePositions = 128;  // output positions of a block
inline constexpr int kTileOutputs = 64;     // output channels of a block
inline constexpr int kTileDepth = 64;       // bytes of a row that a step multiplies
inline constexpr int kChunkBytes = 16;      // of a row, copied at once: input channels of one tap
inline constexpr int kStages = 3;           // steps whose bytes are in shared memory at a time
inline constexpr int kWarps = 4;            // of a block, each with 32 positions
inline constexpr int kWarpLanes = 32;

inline constexpr int kInputBytes = kTilePositions * kTileDepth;
inline constexpr int kStageBytes = kInputBytes + kTileOutputs * kTileDepth;
inline constexpr int kSharedBytes = kStages * kStageBytes;

}  // namespace squant::eval::cuda
