// What tiles of convolutions have in common: which windows of the images they multiply, and whose
// results they are. C++17, see tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/tile_product.h"

namespace squant::eval::cuda {

// Which tile a block computes.
struct TilePlace {
  std::uint32_t positions;  // tile along the output positions of the batch
  std::uint32_t outputs;    // tile along the output channels of the group
  std::uint32_t group;
};

// Tiles along the output positions of n images, and along the output channels of a group.
SQ_HOST_DEVICE std::uint32_t position_tiles(const WindowShape& shape, std::int64_t n) {
  const std::int64_t positions = n * shape.out_h * shape.out_w;
  return static_cast<std::uint32_t>((positions + kTilePositions - 1) / kTilePositions);
}
SQ_HOST_DEVICE std::uint32_t output_tiles(std::int32_t group_rows) {
  return static_cast<std::uint32_t>(group_rows / kTileOutputs);
}

// The windows whose bytes a thread gathers: their image and their corner. Beyond the last position
// every tap is outside the image.
struct GatheredWindows {
  std::int64_t image[kThreadRows];
  std::int32_t y[kThreadRows], x[kThreadRows];
};
SQ_TILE GatheredWindows gathered_windows(const WindowShape& shape, std::uint32_t tile, int thread,
                                         std::uint32_t num_positions) {
  GatheredWindows windows;
  SQ_UNROLL
  for (int i = 0; i < kThreadRows; ++i) {
    const std::uint32_t position =
        tile * kTilePositions + static_cast<std::uint32_t>(thread / kRowChunks + i * kRowsApart);
    const WindowPlace at = place_window(shape, position);
    windows.image[i] = static_cast<std::int64_t>(at.image) * image_elements(shape);
    windows.y[i] = position < num_positions ? at.y : -shape.kernel_h;
    windows.x[i] = at.x;
  }
  return windows;
}
SQ_HOST_DEVICE bool is_inside(const WindowShape& shape, std::int32_t y, std::int32_t x) {
  return y >= 0 && y < shape.in_h && x >= 0 && x < shape.in_w;
}

// Op: ConvOp or PixelConvOp. The code of one warp.
template <class Op, class Warp, bool kSigned, bool kInputSums>
class WindowTile {
 protected:
  using Product = TileProduct<Warp, kSigned, kInputSums>;

  // shared: kSharedBytes of the block, aligned to 16.
  SQ_TILE WindowTile(const Op& op, const Memory& memory, std::int64_t n, TilePlace tile, Warp& warp,
                     unsigned char* shared)
      : op_(op),
        memory_(memory),
        tile_(tile),
        warp_(warp),
        product_(warp, shared),
        num_positions_(static_cast<std::uint32_t>(n * op.shape.out_h * op.shape.out_w)) {
    warp_.each([&](int lane) {
      windows_[lane] =
          gathered_windows(op_.shape, tile_.positions, product_.thread_of(lane), num_positions_);
    });
  }

  // The output positions of the warp's rows: the first, and how many there are (it may be more than
  // the warp has rows).
  SQ_TILE std::uint32_t first_position() const {
    return tile_.positions * kTilePositions +
           static_cast<std::uint32_t>(warp_.index() * Product::kWarpRows);
  }
  SQ_TILE int num_rows() const {
    const std::uint32_t first = first_position();
    return first < num_positions_ ? static_cast<int>(num_positions_ - first) : 0;
  }
  // The output channel of a column, in its group; beyond the last one for columns that only fill
  // the tile.
  SQ_TILE std::int32_t output_of(int column) const {
    return static_cast<std::int32_t>(tile_.outputs) * kTileOutputs + column;
  }

  const Op& op_;
  const Memory& memory_;
  const TilePlace tile_;
  Warp& warp_;
  Product product_;
  const std::uint32_t num_positions_;
  typename Product::template PerLane<GatheredWindows> windows_;
};

}  // namespace squant::eval::cuda
