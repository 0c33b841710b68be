// The first layer on pixels on 8-bit tensor cores: all windows of a tile are gathered at once,
// apart by input channel, and each channel's sums are brought into float32 before the next channel
// is multiplied (docs/numerics.md, "The first layer"). C++17, see tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/quad_epilogue.h"
#include "eval/cuda/window_tile.h"

namespace squant::eval::cuda {

struct FragmentValues {
  float r[4];
};

template <class Warp, bool kInputSums>
class PixelTile : WindowTile<PixelConvOp, Warp, false, kInputSums, 1> {
  using Base = WindowTile<PixelConvOp, Warp, false, kInputSums, 1>;
  using Base::memory_, Base::num_positions_, Base::op_, Base::product_, Base::tile_, Base::warp_;
  using typename Base::Product;
  template <class T>
  using PerLane = typename Product::template PerLane<T>;

 public:
  // tile.group is not used. shared: Shape::kSharedBytes of the block, aligned to 16.
  SQ_TILE PixelTile(const PixelConvOp& op, const Memory& memory, std::int64_t n, TilePlace tile,
                    Warp& warp, unsigned char* shared)
      : Base(op, memory, n, tile, warp, shared) {}

  SQ_TILE void run() {
    warp_.each([&](int lane) {
      load_weights(lane);
      // With the usual number of channels known, a tap's address is a constant away from the row's.
      op_.shape.in_c == 3 ? load_windows<3>(lane, 3) : load_windows<0>(lane, op_.shape.in_c);
    });
    warp_.commit();
    warp_.template wait<0>();
    warp_.sync();
    for (std::int32_t channel = 0; channel < op_.shape.in_c; ++channel) {
      product_.multiply(channel);
      fold(channel);
    }
    has_quads(op_.shape.out_c, op_.shape.out_c) ? finish_quads() : finish_elements();
  }

 private:
  SQ_TILE void load_weights(int lane) {
    const std::int64_t row =
        static_cast<std::int64_t>(tile_.outputs) * kWarpOutputs + product_.first_row_of(lane);
    const unsigned char* from = table_at<unsigned char>(memory_, op_.tile_weights) +
                                row * kTileDepth + product_.chunk_of(lane) * kChunkBytes;
    for (std::int32_t channel = 0; channel < op_.shape.in_c; ++channel) {
      product_.load_weights(lane, product_.weights_at(channel), from, kTileDepth);
      from += static_cast<std::int64_t>(op_.channel_rows) * kTileDepth;
    }
  }

  // A thread gathers one window. kChannels: of a pixel, 0 where it is known at run time alone.
  template <int kChannels>
  SQ_TILE void load_windows(int lane, std::int32_t channels) {
    const WindowShape& shape = op_.shape;
    const int row = product_.thread_of(lane);
    const auto window = gathered_windows<1>(
        shape, tile_.positions * kTilePositions + static_cast<std::uint32_t>(row), 0,
        num_positions_);
    // Padding may lie before the first pixel: such addresses are not read.
    const std::uint8_t* from = memory_.pixels + static_cast<std::int32_t>(window.first[0]);
    const std::uint32_t columns = window.inside[0] >> kMostTaps;
    for (std::int32_t ky = 0; ky < kPixelTaps; ++ky) {
      const bool inside = ky < shape.kernel_h && (window.inside[0] >> ky & 1) != 0;
      SQ_UNROLL
      for (std::int32_t channel = 0; channel < (kChannels > 0 ? kChannels : channels); ++channel) {
        put_lanes(product_.windows_at(channel) + chunk_offset(row, ky / 2) + ky % 2 * kPixelTaps,
                  gather<kChannels>(from + channel, channels, inside ? columns : 0));
      }
      from += static_cast<std::ptrdiff_t>(shape.in_w) * channels;
    }
  }

  // The taps of one channel in one row of the window, 0 for those that are not inside the image.
  template <int kChannels>
  SQ_TILE static Lanes<std::uint8_t, kPixelTaps> gather(const std::uint8_t* from,
                                                        std::int32_t channels,
                                                        std::uint32_t inside) {
    Lanes<std::uint8_t, kPixelTaps> taps{};
    SQ_UNROLL
    for (int tap = 0; tap < kPixelTaps; ++tap) {
      if ((inside >> tap & 1) != 0) {
        taps.value[tap] = from[tap * (kChannels > 0 ? kChannels : channels)];
      }
    }
    return taps;
  }

  // The channel's integer sums, brought to what the channels before have added up to. They fit 32
  // bits, as those of all channels together do.
  SQ_TILE void fold(std::int32_t channel) {
    const float* const factors = table_at<float>(memory_, op_.factors) +
                                 static_cast<std::int64_t>(channel) * op_.shape.out_c;
    warp_.each([&](int lane) {
      product_.for_each_sum(lane, [&](int m, int n, int i, int column) {
        const std::int32_t output = smaller(this->output_of(column), op_.shape.out_c - 1);
        const std::int32_t acc =
            product_.sum(m, n, lane, i) + weight_zero(output) * product_.input_sum(m, lane, i);
        const float part = rounded_product(static_cast<float>(acc), factors[output]);
        float& y = values_[m][n][lane].r[i];
        y = channel == 0 ? part : rounded_sum(y, part);
      });
    });
    product_.clear_sums();
  }
  SQ_TILE std::int32_t weight_zero(std::int32_t output) const {
    return kInputSums
               ? static_cast<std::int32_t>(table_at<std::int64_t>(memory_, op_.weight_zero)[output])
               : 0;
  }

  SQ_TILE void finish_quads() {
    PerLane<QuadEpilogue> epilogue;
    warp_.each([&](int lane) {
      const std::int32_t output = this->output_of(Product::first_column(lane));
      if (output < op_.shape.out_c) {
        epilogue[lane] = QuadEpilogue(op_.out, memory_, static_cast<std::uint32_t>(output));
      }
    });
    const auto pitch = static_cast<std::uint32_t>(op_.shape.out_c);
    for_each_quads([&](int lane, int row, const Quads<float>& quads) {
      const std::int32_t output = this->output_of(Product::first_column(lane));
      const std::uint32_t position = this->position_of(row);
      if (output >= op_.shape.out_c || position >= num_positions_) return;
      float y[kQuadRows][4];
      WindowPlace at = place_window(op_.shape, position);
      SQ_UNROLL
      for (int j = 0; j < kQuadRows; ++j) {
        add_shift(quads.value[j], at, output, y[j]);
        advance(at, 2);
      }
      epilogue[lane].finish(op_.out, memory_, y,
                            {position * pitch + static_cast<std::uint32_t>(output), 2 * pitch,
                             static_cast<int>((num_positions_ - position + 1) / 2)});
    });
  }
  SQ_TILE void add_shift(const float (&value)[4], const WindowPlace& at, std::int32_t output,
                         float (&y)[4]) const {
    const auto shift = lanes_at<4>(pixel_shifts(op_, memory_, at) + output);
    SQ_UNROLL
    for (int c = 0; c < 4; ++c) y[c] = rounded_sum(value[c], shift.value[c]);
  }
  // To the output position that is `positions` further on, of which row and column alone matter.
  SQ_TILE void advance(WindowPlace& at, std::int32_t positions) const {
    at.column += positions;
    while (at.column >= op_.shape.out_w) {
      at.column -= op_.shape.out_w;
      at.row = at.row + 1 < op_.shape.out_h ? at.row + 1 : 0;
    }
  }

  SQ_TILE void finish_elements() {
    for_each_quads([&](int lane, int row, const Quads<float>& quads) {
      for (int j = 0; j < kQuadRows; ++j) {
        const std::uint32_t position = this->position_of(row + 2 * j);
        if (position >= num_positions_) return;
        const WindowPlace at = place_window(op_.shape, position);
        for (int c = 0; c < 4; ++c) {
          const std::int32_t output = this->output_of(Product::first_column(lane) + c);
          if (output >= op_.shape.out_c) continue;
          finish_pixel_sum(op_, memory_, quads.value[j][c], at, static_cast<std::uint32_t>(output),
                           position * static_cast<std::uint32_t>(op_.shape.out_c) +
                               static_cast<std::uint32_t>(output));
        }
      }
    });
  }

  template <class F>
  SQ_TILE void for_each_quads(const F& f) {
    product_.template for_each_quads<float>(
        [&](int m, int n, int lane, int i) { return values_[m][n][lane].r[i]; },
        [](int, int, int) { return 0.0F; }, f);
  }

  PerLane<FragmentValues> values_[Product::kHeight][Product::kWidth];
};

}  // namespace squant::eval::cuda
