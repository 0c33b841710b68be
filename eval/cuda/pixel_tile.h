// The first layer on pixels on 8-bit tensor cores: the taps of one input channel after the other
// are gathered, and each channel's sums are brought into float32 before the next channel follows
// (docs/numerics.md, "The first layer"). C++17, see tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/window_tile.h"

namespace squant::eval::cuda {

struct FragmentValues {
  float r[4];
};

template <class Warp, bool kInputSums>
class PixelTile : WindowTile<PixelConvOp, Warp, false, kInputSums> {
  using Base = WindowTile<PixelConvOp, Warp, false, kInputSums>;
  using Base::memory_, Base::op_, Base::product_, Base::tile_, Base::warp_, Base::windows_;
  using typename Base::Product;

 public:
  // tile.group is not used. shared: kSharedBytes of the block, aligned to 16.
  SQ_TILE PixelTile(const PixelConvOp& op, const Memory& memory, std::int64_t n, TilePlace tile,
                    Warp& warp, unsigned char* shared)
      : Base(op, memory, n, tile, warp, shared), channel_steps_(op.row_pitch / kTileDepth) {}

  SQ_TILE void run() {
    product_.run(
        op_.shape.in_c * channel_steps_,
        [&](int lane, int step, unsigned char* to_windows, unsigned char* to_weights) {
          load(lane, step / channel_steps_, step % channel_steps_, to_windows, to_weights);
        },
        [&](int step) {
          if ((step + 1) % channel_steps_ == 0) fold(step / channel_steps_);
        });
    finish_tile();
  }

 private:
  SQ_TILE void load(int lane, std::int32_t channel, int step, unsigned char* to_windows,
                    unsigned char* to_weights) {
    const int chunk = step * kRowChunks + product_.thread_of(lane) % kRowChunks;
    load_windows(lane, channel, chunk, to_windows);
    const unsigned char* const weights = table_at<unsigned char>(memory_, op_.tile_weights) +
                                         (static_cast<std::int64_t>(channel) * op_.channel_rows +
                                          static_cast<std::int64_t>(tile_.outputs) * kTileOutputs) *
                                             op_.row_pitch;
    product_.load_weights(lane, to_weights, weights, op_.row_pitch, chunk);
  }

  // A chunk is 16 taps.
  SQ_TILE void load_windows(int lane, std::int32_t channel, int chunk, unsigned char* to) {
    const int first_row = product_.thread_of(lane) / kRowChunks;
    SQ_UNROLL
    for (int word = 0; word < kChunkBytes; word += 4) {
      std::uint32_t words[kThreadRows] = {};
      SQ_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int tap = chunk * kChunkBytes + word + i;
        const int ky = tap / op_.shape.kernel_w;
        gather(lane, channel, ky, tap - ky * op_.shape.kernel_w, 8 * i, words);
      }
      SQ_UNROLL
      for (int row = 0; row < kThreadRows; ++row) {
        *reinterpret_cast<std::uint32_t*>(
            to + chunk_offset(first_row + row * kRowsApart, chunk % kRowChunks) + word) =
            words[row];
      }
    }
  }

  // One tap of each of the thread's windows, into bit `shift` of their words.
  SQ_TILE void gather(int lane, std::int32_t channel, int ky, int kx, int shift,
                      std::uint32_t (&words)[kThreadRows]) {
    const WindowShape& shape = op_.shape;
    SQ_UNROLL
    for (int row = 0; row < kThreadRows; ++row) {
      const std::int32_t y = windows_[lane].y[row] + ky;
      const std::int32_t x = windows_[lane].x[row] + kx;
      if (ky < shape.kernel_h && is_inside(shape, y, x)) {
        const std::int64_t from = windows_[lane].image[row] +
                                  (static_cast<std::int64_t>(y) * shape.in_w + x) * shape.in_c +
                                  channel;
        words[row] |= static_cast<std::uint32_t>(memory_.pixels[from]) << shift;
      }
    }
  }

  // The channel's integer sums, brought to what the channels before have added up to.
  SQ_TILE void fold(std::int32_t channel) {
    const float* const factors = table_at<float>(memory_, op_.factors) +
                                 static_cast<std::int64_t>(channel) * op_.shape.out_c;
    warp_.each([&](int lane) {
      product_.for_each_sum(lane, [&](int m, int n, int i, int, int column) {
        const std::int32_t output = this->output_of(column);
        if (output >= op_.shape.out_c) return;
        const std::int64_t acc =
            product_.sum(m, n, lane, i) + weight_zero(output) * product_.input_sum(m, lane, i);
        const float part = rounded_product(static_cast<float>(acc), factors[output]);
        float& y = values_[m][n][lane].r[i];
        y = channel == 0 ? part : rounded_sum(y, part);
      });
    });
    product_.clear_sums();
  }

  SQ_TILE std::int64_t weight_zero(std::int32_t output) const {
    return kInputSums ? table_at<std::int64_t>(memory_, op_.weight_zero)[output] : 0;
  }

  SQ_TILE void finish_tile() {
    const std::uint32_t first = this->first_position();
    product_.template for_each_in_rows<float>(
        this->num_rows(), [&](int m, int n, int lane, int i) { return values_[m][n][lane].r[i]; },
        [](int, int, int) { return 0.0F; },
        [&](int row, int column, float y, float) {
          const std::int32_t output = this->output_of(column);
          if (output >= op_.shape.out_c) return;
          const std::uint32_t position = first + static_cast<std::uint32_t>(row);
          finish_pixel_sum(op_, memory_, y, place_window(op_.shape, position),
                           static_cast<std::uint32_t>(output),
                           position * static_cast<std::uint32_t>(op_.shape.out_c) +
                               static_cast<std::uint32_t>(output));
        });
  }

  const std::int32_t channel_steps_;
  typename Product::template PerLane<FragmentValues> values_[Product::kHeight][Product::kWidth];
};

}  // namespace squant::eval::cuda
