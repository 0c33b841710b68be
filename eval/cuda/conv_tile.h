// A convolution on 8-bit tensor cores: the windows of a tile are gathered tap by tap, each tap's
// input channels in chunks of 16 bytes (an implicit matrix product). C++17, see tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/window_tile.h"

namespace squant::eval::cuda {

template <class Warp, bool kSigned, bool kInputSums>
class ConvTile : WindowTile<ConvOp, Warp, kSigned, kInputSums> {
  using Base = WindowTile<ConvOp, Warp, kSigned, kInputSums>;
  using Base::memory_, Base::op_, Base::product_, Base::tile_, Base::warp_, Base::windows_;

 public:
  // shared: kSharedBytes of the block, aligned to 16.
  SQ_TILE ConvTile(const ConvOp& op, const Memory& memory, std::int64_t n, TilePlace tile,
                   Warp& warp, unsigned char* shared)
      : Base(op, memory, n, tile, warp, shared),
        group_inputs_(op.shape.in_c / op.groups),
        copies_chunks_(op.shape.in_c % kChunkBytes == 0 && group_inputs_ % kChunkBytes == 0),
        copies_words_(op.shape.in_c % 4 == 0 && group_inputs_ % 4 == 0) {}

  SQ_TILE void run() {
    const unsigned char* const weights = table_at<unsigned char>(memory_, op_.weights) +
                                         (static_cast<std::int64_t>(tile_.group) * op_.group_rows +
                                          static_cast<std::int64_t>(tile_.outputs) * kTileOutputs) *
                                             op_.row_pitch;
    product_.run(
        op_.row_pitch / kTileDepth,
        [&](int lane, int step, unsigned char* to_windows, unsigned char* to_weights) {
          const int chunk = step * kRowChunks + product_.thread_of(lane) % kRowChunks;
          load_windows(lane, chunk, to_windows);
          product_.load_weights(lane, to_weights, weights, op_.row_pitch, chunk);
        },
        [](int) {});
    finish_tile();
  }

 private:
  SQ_TILE void load_windows(int lane, int chunk, unsigned char* to) {
    const WindowShape& shape = op_.shape;
    const int chunks_of_tap = op_.tap_pitch / kChunkBytes;
    const int tap = chunk / chunks_of_tap;
    const int channel = (chunk - tap * chunks_of_tap) * kChunkBytes;
    const int ky = tap / shape.kernel_w;
    const int kx = tap - ky * shape.kernel_w;
    const int bytes = ky < shape.kernel_h ? smaller(group_inputs_ - channel, kChunkBytes) : 0;
    const unsigned char* const tensor = tensor_at<unsigned char>(memory_, op_.input) +
                                        static_cast<std::int32_t>(tile_.group) * group_inputs_ +
                                        channel;
    const int first_row = product_.thread_of(lane) / kRowChunks;
    SQ_UNROLL
    for (int i = 0; i < kThreadRows; ++i) {
      const std::int32_t y = windows_[lane].y[i] + ky;
      const std::int32_t x = windows_[lane].x[i] + kx;
      const std::int64_t from =
          windows_[lane].image[i] + (static_cast<std::int64_t>(y) * shape.in_w + x) * shape.in_c;
      copy_chunk(lane, to + chunk_offset(first_row + i * kRowsApart, chunk % kRowChunks),
                 tensor + from, is_inside(shape, y, x) ? bytes : 0);
    }
  }

  // The first `bytes` bytes of a chunk; the others become 0.
  SQ_TILE void copy_chunk(int lane, unsigned char* to, const unsigned char* from, int bytes) {
    if (copies_chunks_ && bytes == kChunkBytes) {
      warp_.copy16(lane, to, from);
      return;
    }
    SQ_UNROLL
    for (int word = 0; word < kChunkBytes; word += 4) {
      if (copies_words_ && word < bytes) {
        warp_.copy4(lane, to + word, from + word);
      } else {
        *reinterpret_cast<std::uint32_t*>(to + word) = gather_word(from + word, bytes - word);
      }
    }
  }
  SQ_TILE static std::uint32_t gather_word(const unsigned char* from, int bytes) {
    std::uint32_t word = 0;
    SQ_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < bytes) word |= static_cast<std::uint32_t>(from[i]) << (8 * i);
    }
    return word;
  }

  SQ_TILE void finish_tile() {
    const std::uint32_t first = this->first_position();
    product_.template for_each_in_rows<std::int32_t>(
        this->num_rows(),
        [&](int m, int n, int lane, int i) { return product_.sum(m, n, lane, i); },
        [&](int m, int lane, int i) { return product_.input_sum(m, lane, i); },
        [&](int row, int column, std::int32_t acc, std::int32_t sum) {
          finish_element(first + static_cast<std::uint32_t>(row), column, acc, sum);
        });
  }

  SQ_TILE void finish_element(std::uint32_t position, int column, std::int32_t stored_acc,
                              std::int32_t stored_sum) {
    const std::int32_t group_outputs = op_.shape.out_c / op_.groups;
    const std::int32_t output = this->output_of(column);
    if (output >= group_outputs) return;
    const std::uint32_t channel = tile_.group * static_cast<std::uint32_t>(group_outputs) +
                                  static_cast<std::uint32_t>(output);
    std::int64_t acc = stored_acc;
    if (op_.constant >= 0) acc += table_at<std::int64_t>(memory_, op_.constant)[channel];
    // A tile with zero != 0 has no padding: every tap is inside the image.
    const std::int64_t sum = stored_sum + std::int64_t{op_.zero} * group_inputs_ *
                                              op_.shape.kernel_h * op_.shape.kernel_w;
    finish_sum(op_.out, kInputSums ? op_.weight_zero : -1, memory_, acc, sum, channel,
               position * static_cast<std::uint32_t>(op_.shape.out_c) + channel);
  }

  const std::int32_t group_inputs_;
  const bool copies_chunks_, copies_words_;
};

}  // namespace squant::eval::cuda
