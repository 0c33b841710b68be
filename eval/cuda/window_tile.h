// What tiles of convolutions have in common: which windows of the images they multiply, whose
// results they are, and how these leave. C++17, see tile_product.h.
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
template <int kOutputWarps>
SQ_HOST_DEVICE std::uint32_t output_tiles(std::int32_t padded_outputs) {
  return static_cast<std::uint32_t>(padded_outputs / TileShape<kOutputWarps>::kOutputs);
}

// The windows whose bytes a thread gathers: where their first tap lies in the tensor (an offset
// modulo 2^32: padding may lie before it), and which taps are inside the image: bit ky of the low
// half and bit kx of the high half. Beyond the last position no tap is.
template <int kRows>
struct GatheredWindows {
  std::uint32_t first[kRows];
  std::uint32_t inside[kRows];
};
SQ_HOST_DEVICE std::uint32_t tap_bits(std::int32_t ky, std::int32_t kx) {
  return (1U << ky) | (0x10000U << kx);
}
// Bits of the taps that lie in [0, size) when the first lies at `start`.
SQ_HOST_DEVICE std::uint32_t taps_inside(std::int32_t start, std::int32_t taps, std::int32_t size) {
  std::uint32_t bits = 0;
  for (std::int32_t tap = 0; tap < taps; ++tap) {
    if (start + tap >= 0 && start + tap < size) bits |= 1U << tap;
  }
  return bits;
}
template <int kRows>
SQ_TILE GatheredWindows<kRows> gathered_windows(const WindowShape& shape, std::uint32_t position,
                                                std::uint32_t apart, std::uint32_t num_positions) {
  GatheredWindows<kRows> windows;
  SQ_UNROLL
  for (int i = 0; i < kRows; ++i, position += apart) {
    const WindowPlace at = place_window(shape, position);
    windows.first[i] = at.image * static_cast<std::uint32_t>(image_elements(shape)) +
                       static_cast<std::uint32_t>(at.y * shape.in_w + at.x) *
                           static_cast<std::uint32_t>(shape.in_c);
    windows.inside[i] = position < num_positions
                            ? taps_inside(at.y, shape.kernel_h, shape.in_h) |
                                  taps_inside(at.x, shape.kernel_w, shape.in_w) << kMostTaps
                            : 0;
  }
  return windows;
}

// Op: ConvOp or PixelConvOp. The code of one warp.
template <class Op, class Warp, bool kSigned, bool kInputSums, int kOutputWarps>
class WindowTile {
 protected:
  using Product = TileProduct<Warp, kSigned, kInputSums, kOutputWarps>;

  // shared: Product::Shape::kSharedBytes of the block, aligned to 16.
  SQ_TILE WindowTile(const Op& op, const Memory& memory, std::int64_t n, TilePlace tile, Warp& warp,
                     unsigned char* shared)
      : op_(op),
        memory_(memory),
        tile_(tile),
        warp_(warp),
        product_(warp, shared),
        num_positions_(static_cast<std::uint32_t>(n * op.shape.out_h * op.shape.out_w)) {}

  // The output position of the warp's row.
  SQ_TILE std::uint32_t position_of(int row) const {
    return tile_.positions * kTilePositions +
           static_cast<std::uint32_t>(product_.first_position() + row);
  }
  // The output channel of a warp's column, in its group; beyond the last one for columns that only
  // fill the tile.
  SQ_TILE std::int32_t output_of(int column) const {
    return static_cast<std::int32_t>(tile_.outputs) * Product::Shape::kOutputs +
           product_.first_output() + column;
  }

  const Op& op_;
  const Memory& memory_;
  const TilePlace tile_;
  Warp& warp_;
  Product product_;
  const std::uint32_t num_positions_;
};

}  // namespace squant::eval::cuda
