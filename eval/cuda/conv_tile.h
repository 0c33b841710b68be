// A convolution on 8-bit tensor cores: the windows of a tile are gathered tap by tap, each tap's
// input channels in chunks of 16 bytes (an implicit matrix product). C++17, see tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/quad_epilogue.h"
#include "eval/cuda/window_tile.h"

namespace squant::eval::cuda {

// Whether every chunk of the input is 16 bytes of one tap, every result one of four neighbours, and
// no result above 32 bits.
SQ_HOST_DEVICE bool is_regular(const ConvOp& op) {
  const std::int32_t inputs = op.shape.in_c / op.groups;
  return op.shape.in_c % kChunkBytes == 0 && inputs % kChunkBytes == 0 && op.narrow &&
         has_quads(op.shape.out_c, op.shape.out_c / op.groups);
}

// kRegular: for operations that are regular alone, and with less code.
template <class Warp, bool kSigned, bool kInputSums, bool kRegular, int kOutputWarps>
class ConvTile : WindowTile<ConvOp, Warp, kSigned, kInputSums, kOutputWarps> {
  using Base = WindowTile<ConvOp, Warp, kSigned, kInputSums, kOutputWarps>;
  using Base::memory_, Base::num_positions_, Base::op_, Base::product_, Base::tile_, Base::warp_;
  using typename Base::Product;
  template <class T>
  using PerLane = typename Product::template PerLane<T>;

 public:
  // shared: Shape::kSharedBytes of the block, aligned to 16.
  SQ_TILE ConvTile(const ConvOp& op, const Memory& memory, std::int64_t n, TilePlace tile,
                   Warp& warp, unsigned char* shared)
      : Base(op, memory, n, tile, warp, shared),
        group_inputs_(op.shape.in_c / op.groups),
        group_outputs_(op.shape.out_c / op.groups),
        copies_chunks_(kRegular ||
                       (op.shape.in_c % kChunkBytes == 0 && group_inputs_ % kChunkBytes == 0)),
        copies_words_(op.shape.in_c % 4 == 0 && group_inputs_ % 4 == 0) {
    warp_.each([&](int lane) {
      windows_[lane] = gathered_windows<Product::kWindowRows>(
          op_.shape,
          tile_.positions * kTilePositions +
              static_cast<std::uint32_t>(product_.first_row_of(lane)),
          Product::kRowsApart, num_positions_);
      source_[lane] = first_source(lane);
      skip_taps(source_[lane]);
    });
  }

  SQ_TILE void run() {
    const unsigned char* const input = tensor_at<unsigned char>(memory_, op_.input);
    product_.run(op_.row_pitch / kTileDepth,
                 [&](int lane, unsigned char* to_windows, unsigned char* to_weights) {
                   load_windows(lane, input, to_windows);
                   product_.load_weights(lane, to_weights, source_[lane].weights, op_.row_pitch);
                   source_[lane].channel += kTileDepth;
                   source_[lane].offset += kTileDepth;
                   source_[lane].weights += kTileDepth;
                   skip_taps(source_[lane]);
                 });
    if (kRegular) {
      finish_quads<std::int32_t>();
    } else if (has_quads(op_.shape.out_c, group_outputs_)) {
      finish_quads<std::int64_t>();
    } else {
      finish_elements();
    }
  }

 private:
  // The chunk of all of its windows that a thread copies next.
  struct Source {
    std::int32_t ky, kx, channel;  // the chunk's tap, and its first channel in the group
    std::uint32_t offset;          // from a window's first tap
    const unsigned char* weights;
  };

  SQ_TILE Source first_source(int lane) {
    const std::int32_t channel = product_.chunk_of(lane) * kChunkBytes;
    const std::int64_t row = static_cast<std::int64_t>(tile_.group) * op_.group_rows +
                             tile_.outputs * Product::Shape::kOutputs + product_.first_row_of(lane);
    return {0, 0, channel,
            tile_.group * static_cast<std::uint32_t>(group_inputs_) +
                static_cast<std::uint32_t>(channel),
            table_at<unsigned char>(memory_, op_.weights) + row * op_.row_pitch + channel};
  }
  // Brings a channel beyond the tap's last one to the next taps.
  SQ_TILE void skip_taps(Source& source) const {
    const WindowShape& shape = op_.shape;
    while (source.channel >= op_.tap_pitch) {
      source.channel -= op_.tap_pitch;
      source.offset += static_cast<std::uint32_t>(shape.in_c - op_.tap_pitch);
      if (++source.kx == shape.kernel_w) {
        source.kx = 0;
        ++source.ky;
        source.offset += static_cast<std::uint32_t>((shape.in_w - shape.kernel_w) * shape.in_c);
      }
    }
  }

  SQ_TILE void load_windows(int lane, const unsigned char* input, unsigned char* to) {
    const Source& source = source_[lane];
    const std::int32_t bytes =
        source.ky < op_.shape.kernel_h ? smaller(group_inputs_ - source.channel, kChunkBytes) : 0;
    const std::uint32_t tap = tap_bits(source.ky & (kMostTaps - 1), source.kx);
    SQ_UNROLL
    for (int i = 0; i < Product::kWindowRows; ++i) {
      const bool inside = bytes > 0 && (windows_[lane].inside[i] & tap) == tap;
      const std::uint32_t from = inside ? windows_[lane].first[i] + source.offset : 0;
      copy_chunk(lane,
                 to + chunk_offset(product_.first_row_of(lane) + i * Product::kRowsApart,
                                   product_.chunk_of(lane)),
                 input + from, inside ? bytes : 0);
    }
  }

  // The first `bytes` bytes of a chunk; the others become 0.
  SQ_TILE void copy_chunk(int lane, unsigned char* to, const unsigned char* from, int bytes) {
    if (kRegular || copies_chunks_) {
      warp_.copy16(lane, to, from, bytes);
    } else {
      copy_words(lane, to, from, bytes);
    }
  }
  SQ_TILE void copy_words(int lane, unsigned char* to, const unsigned char* from, int bytes) {
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

  // What is added to a channel's sum of products: constant + weight_zero * (sum of the window's
  // stored bytes + zeros).
  template <class Sum>
  struct Correction {
    Sum constant[4], weight_zero[4];
  };
  template <class Sum>
  SQ_TILE Correction<Sum> correction(std::uint32_t channel) const {
    Correction<Sum> result{};
    SQ_UNROLL
    for (int c = 0; c < 4; ++c) {
      if (op_.constant >= 0) {
        result.constant[c] =
            static_cast<Sum>(table_at<std::int64_t>(memory_, op_.constant)[channel + c]);
      }
      if (kInputSums) {
        result.weight_zero[c] =
            static_cast<Sum>(table_at<std::int64_t>(memory_, op_.weight_zero)[channel + c]);
      }
    }
    return result;
  }
  // A tile with zero != 0 has no padding: every tap is inside the image.
  SQ_TILE std::int64_t zeros() const {
    return std::int64_t{op_.zero} * group_inputs_ * op_.shape.kernel_h * op_.shape.kernel_w;
  }
  SQ_TILE std::uint32_t channel_of(int column) const {
    return tile_.group * static_cast<std::uint32_t>(group_outputs_) +
           static_cast<std::uint32_t>(this->output_of(column));
  }

  // Modulo 2^32 where the result fits 32 bits, whatever its parts are.
  SQ_TILE static std::int32_t added(std::int32_t acc, std::int32_t constant, std::int32_t zero,
                                    std::int32_t sum) {
    return static_cast<std::int32_t>(
        static_cast<std::uint32_t>(acc) + static_cast<std::uint32_t>(constant) +
        static_cast<std::uint32_t>(zero) * static_cast<std::uint32_t>(sum));
  }
  SQ_TILE static std::int64_t added(std::int64_t acc, std::int64_t constant, std::int64_t zero,
                                    std::int64_t sum) {
    return acc + constant + zero * sum;
  }

  template <class Sum>
  SQ_TILE void finish_quads() {
    struct Columns {
      bool present;
      std::uint32_t channel;
      Correction<Sum> correction;
      QuadEpilogue epilogue;
    };
    PerLane<Columns> columns;
    warp_.each([&](int lane) {
      const int column = Product::first_column(lane);
      Columns& of = columns[lane];
      of.present = this->output_of(column) < group_outputs_;
      if (!of.present) return;
      of.channel = channel_of(column);
      of.correction = correction<Sum>(of.channel);
      of.epilogue = QuadEpilogue(op_.out, memory_, of.channel);
    });
    const Sum zeros_sum = static_cast<Sum>(zeros());
    const auto pitch = static_cast<std::uint32_t>(op_.shape.out_c);
    for_each_quads([&](int lane, int row, const Quads<std::int32_t>& quads) {
      const Columns& of = columns[lane];
      const std::uint32_t position = this->position_of(row);
      if (!of.present || position >= num_positions_) return;
      float y[kQuadRows][4];
      SQ_UNROLL
      for (int j = 0; j < kQuadRows; ++j) {
        const Sum sum = static_cast<Sum>(quads.row_value[j]) + zeros_sum;
        SQ_UNROLL
        for (int c = 0; c < 4; ++c) {
          y[j][c] = static_cast<float>(added(static_cast<Sum>(quads.value[j][c]),
                                             of.correction.constant[c],
                                             of.correction.weight_zero[c], sum));
        }
      }
      of.epilogue.finish(op_.out, memory_, y,
                         {position * pitch + of.channel, 2 * pitch,
                          static_cast<int>((num_positions_ - position + 1) / 2)});
    });
  }

  SQ_TILE void finish_elements() {
    for_each_quads([&](int lane, int row, const Quads<std::int32_t>& quads) {
      for (int j = 0; j < kQuadRows; ++j) {
        const std::uint32_t position = this->position_of(row + 2 * j);
        if (position >= num_positions_) return;
        for (int c = 0; c < 4; ++c) {
          finish_element(position, Product::first_column(lane) + c, quads.value[j][c],
                         quads.row_value[j]);
        }
      }
    });
  }
  SQ_TILE void finish_element(std::uint32_t position, int column, std::int32_t acc,
                              std::int32_t sum) {
    if (this->output_of(column) >= group_outputs_) return;
    const std::uint32_t channel = channel_of(column);
    const std::int64_t constant =
        op_.constant >= 0 ? table_at<std::int64_t>(memory_, op_.constant)[channel] : 0;
    finish_sum(op_.out, kInputSums ? op_.weight_zero : -1, memory_, acc + constant, sum + zeros(),
               channel, position * static_cast<std::uint32_t>(op_.shape.out_c) + channel);
  }

  template <class F>
  SQ_TILE void for_each_quads(const F& f) {
    product_.template for_each_quads<std::int32_t>(
        [&](int m, int n, int lane, int i) { return product_.sum(m, n, lane, i); },
        [&](int m, int lane, int i) { return product_.input_sum(m, lane, i); }, f);
  }

  const std::int32_t group_inputs_, group_outputs_;
  const bool copies_chunks_, copies_words_;
  PerLane<GatheredWindows<Product::kWindowRows>> windows_;
  PerLane<Source> source_;
};

}  // namespace squant::eval::cuda
