// A convolution on 8-bit tensor cores: one block of four warps computes kTilePositions output
// positions times kTileOutputs output channels of one group, as a matrix product whose rows are
// windows of the input (an implicit matrix: they are gathered, never stored).
//
// The code of one warp, over a Warp policy: device_warp.cuh runs it on a GPU, the tests'
// host_warp.h by one host thread a warp, 32 lanes after each other. So addresses, edges, layouts of
// fragments and the order of copies and barriers are tested where there is no GPU. A policy gives:
//   PerLane<T>                a T for each lane, [lane]
//   index()                   the warp's number in its block
//   each(f)                   f(lane) for each lane
//   copy16/copy4(lane, to, from)   starts a copy from global to shared memory
//   commit(), wait<N>()       closes a group of copies; waits for all but the last N groups
//   sync()                    barrier of the block, orders shared memory
//   load_matrices(registers, rows)   ldmatrix.x4: four 8 x 16 byte matrices
//   multiply<kSigned>(sums, a, b)    mma.m16n8k32: sums += a (u8 or s8) * b (s8)
// The fragment layouts that lanes rely on are those of the PTX ISA, "Matrix Fragments for
// mma.m16n8k32" with 8-bit integers; with group = lane / 4 and part = lane % 4:
//   a: register r, byte i   row group + 8 (r % 2), column 4 part + i + 16 (r / 2)
//   b: register r, byte i   row 4 part + i + 16 r, column group
//   sums: register r        row group + 8 (r / 2), column 2 part + r % 2
// ldmatrix gives each lane four bytes of each matrix: row lane / 4, bytes from 4 (lane % 4). C++17.
#pragma once

#include <cstdint>

#include "eval/cuda/conv_tile_shape.h"
#include "eval/cuda/elements.h"

// A tile's code is compiled for the device alone, or, without nvcc, for the host.
#if defined(__CUDACC__)
#define SQ_TILE __device__ __forceinline__
#define SQ_UNROLL _Pragma("unroll")
#else
#define SQ_TILE inline
#define SQ_UNROLL
#endif

namespace squant::eval::cuda {

struct FragmentA {
  std::uint32_t r[4];
};
struct FragmentB {
  std::uint32_t r[2];
};
struct FragmentSums {
  std::int32_t r[4];
};

// Which tile a block computes.
struct TilePlace {
  std::uint32_t positions;  // tile along the output positions of the batch
  std::uint32_t outputs;    // tile along the output channels of the group
  std::uint32_t group;
};

// Tiles of a convolution over n images: along positions, along outputs; one set for each group.
SQ_HOST_DEVICE std::uint32_t position_tiles(const ConvOp& op, std::int64_t n) {
  const std::int64_t positions = n * op.shape.out_h * op.shape.out_w;
  return static_cast<std::uint32_t>((positions + kTilePositions - 1) / kTilePositions);
}
SQ_HOST_DEVICE std::uint32_t output_tiles(const ConvOp& op) {
  return static_cast<std::uint32_t>(op.group_rows / kTileOutputs);
}

// Where a chunk of 16 bytes lies in a tile's rows in shared memory. The chunks of a row are
// permuted so that eight rows' chunks of one column lie in all banks.
SQ_TILE int chunk_offset(int row, int chunk) {
  return row * kTileDepth + (chunk ^ ((row >> 1) & 3)) * kChunkBytes;
}

template <class Warp, bool kSigned, bool kInputSums>
class ConvTile {
 public:
  // shared: kSharedBytes of the block, aligned to 16.
  SQ_TILE ConvTile(const ConvOp& op, const Memory& memory, std::int64_t n, TilePlace tile,
                   Warp& warp, unsigned char* shared)
      : op_(op),
        memory_(memory),
        tile_(tile),
        warp_(warp),
        shared_(shared),
        num_positions_(static_cast<std::uint32_t>(n * op.shape.out_h * op.shape.out_w)),
        group_inputs_(op.shape.in_c / op.groups),
        copies_chunks_(op.shape.in_c % kChunkBytes == 0 && group_inputs_ % kChunkBytes == 0),
        copies_words_(op.shape.in_c % 4 == 0 && group_inputs_ % 4 == 0) {}

  SQ_TILE void run() {
    find_rows();
    clear_sums();
    const int steps = op_.row_pitch / kTileDepth;
    SQ_UNROLL
    for (int stage = 0; stage < kStages - 1; ++stage) {
      if (stage < steps) load(stage, stage);
      warp_.commit();
    }
    for (int step = 0; step < steps; ++step) {
      warp_.template wait<kStages - 2>();
      warp_.sync();  // this step's bytes are there, and nobody reads those of the step before
      const int next = step + kStages - 1;
      if (next < steps) load(next, next % kStages);
      warp_.commit();
      multiply(step % kStages);
    }
    finish_tile();
  }

 private:
  static constexpr int kThreads = kWarps * kWarpLanes;
  static constexpr int kChunks = kTileDepth / kChunkBytes;  // of a row
  static constexpr int kRowsApart = kThreads / kChunks;     // between two rows of one thread
  static constexpr int kInputRows = kTilePositions / kRowsApart;
  static constexpr int kWeightRows = kTileOutputs / kRowsApart;
  static constexpr int kHeight = kTilePositions / kWarps / 16;  // fragments of a warp
  static constexpr int kWidth = kTileOutputs / 8;
  template <class T>
  using PerLane = typename Warp::template PerLane<T>;

  // The windows whose bytes a thread gathers: the image's group of channels, and the window's
  // corner.
  struct GatheredRows {
    std::int64_t image[kInputRows];
    std::int32_t y[kInputRows], x[kInputRows];
  };

  SQ_TILE int thread_of(int lane) const { return warp_.index() * kWarpLanes + lane; }

  SQ_TILE void find_rows() {
    warp_.each([&](int lane) {
      SQ_UNROLL
      for (int i = 0; i < kInputRows; ++i) {
        const std::uint32_t position =
            tile_.positions * kTilePositions +
            static_cast<std::uint32_t>(thread_of(lane) / kChunks + i * kRowsApart);
        const WindowPlace at = place_window(op_.shape, position);
        rows_[lane].image[i] = static_cast<std::int64_t>(at.image) * image_elements(op_.shape) +
                               static_cast<std::int32_t>(tile_.group) * group_inputs_;
        // Beyond the last position every tap is outside the image.
        rows_[lane].y[i] = position < num_positions_ ? at.y : -op_.shape.kernel_h;
        rows_[lane].x[i] = at.x;
      }
    });
  }

  SQ_TILE void clear_sums() {
    warp_.each([&](int lane) {
      SQ_UNROLL
      for (int m = 0; m < kHeight; ++m) {
        input_sums_[m][lane] = FragmentSums{};
        SQ_UNROLL
        for (int n = 0; n < kWidth; ++n) sums_[m][n][lane] = FragmentSums{};
      }
    });
  }

  // Starts the copies of a step's bytes: of windows and of weights.
  SQ_TILE void load(int step, int stage) {
    unsigned char* const input = shared_ + stage * kStageBytes;
    unsigned char* const weights = input + kInputBytes;
    warp_.each([&](int lane) {
      const int column = thread_of(lane) % kChunks;
      const int first_row = thread_of(lane) / kChunks;
      const int chunk = step * kChunks + column;
      load_windows(lane, chunk, column, first_row, input);
      load_weights(lane, chunk, column, first_row, weights);
    });
  }

  SQ_TILE void load_windows(int lane, int chunk, int column, int first_row, unsigned char* to) {
    const WindowShape& shape = op_.shape;
    const int chunks_of_tap = op_.tap_pitch / kChunkBytes;
    const int tap = chunk / chunks_of_tap;
    const int channel = (chunk - tap * chunks_of_tap) * kChunkBytes;
    const int ky = tap / shape.kernel_w;
    const int kx = tap - ky * shape.kernel_w;
    const int bytes = ky < shape.kernel_h ? smaller(group_inputs_ - channel, kChunkBytes) : 0;
    const unsigned char* const tensor = tensor_at<unsigned char>(memory_, op_.input);
    SQ_UNROLL
    for (int i = 0; i < kInputRows; ++i) {
      const std::int32_t y = rows_[lane].y[i] + ky;
      const std::int32_t x = rows_[lane].x[i] + kx;
      const bool inside = y >= 0 && y < shape.in_h && x >= 0 && x < shape.in_w;
      const std::int64_t from = rows_[lane].image[i] +
                                (static_cast<std::int64_t>(y) * shape.in_w + x) * shape.in_c +
                                channel;
      copy_chunk(lane, to + chunk_offset(first_row + i * kRowsApart, column), tensor + from,
                 inside ? bytes : 0);
    }
  }

  SQ_TILE void load_weights(int lane, int chunk, int column, int first_row, unsigned char* to) {
    const unsigned char* const rows = table_at<unsigned char>(memory_, op_.weights) +
                                      (static_cast<std::int64_t>(tile_.group) * op_.group_rows +
                                       static_cast<std::int64_t>(tile_.outputs) * kTileOutputs) *
                                          op_.row_pitch;
    SQ_UNROLL
    for (int i = 0; i < kWeightRows; ++i) {
      const int row = first_row + i * kRowsApart;
      warp_.copy16(lane, to + chunk_offset(row, column),
                   rows + static_cast<std::int64_t>(row) * op_.row_pitch + chunk * kChunkBytes);
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

  SQ_TILE void multiply(int stage) {
    const unsigned char* const input = shared_ + stage * kStageBytes;
    const unsigned char* const weights = input + kInputBytes;
    SQ_UNROLL
    for (int half = 0; half < kTileDepth / 32; ++half) {
      PerLane<FragmentA> a[kHeight];
      SQ_UNROLL
      for (int m = 0; m < kHeight; ++m) load_input(a[m], input, m, half);
      if (kInputSums) add_inputs(a);
      SQ_UNROLL
      for (int pair = 0; pair < kWidth / 2; ++pair) {
        PerLane<FragmentB> b[2];
        load_weight_pair(b, weights, pair, half);
        SQ_UNROLL
        for (int m = 0; m < kHeight; ++m) {
          warp_.template multiply<kSigned>(sums_[m][2 * pair], a[m], b[0]);
          warp_.template multiply<kSigned>(sums_[m][2 * pair + 1], a[m], b[1]);
        }
      }
    }
  }

  // Rows 16 m to 16 m + 15 of the warp's windows, 32 bytes of each.
  SQ_TILE void load_input(PerLane<FragmentA>& a, const unsigned char* input, int m, int half) {
    PerLane<const unsigned char*> rows;
    warp_.each([&](int lane) {
      const int row = (warp_.index() * kHeight + m) * 16 + (lane & 15);
      rows[lane] = input + chunk_offset(row, 2 * half + (lane >> 4));
    });
    warp_.load_matrices(a, rows);
  }

  // Weights of 16 output channels, 32 bytes of each, as two fragments.
  SQ_TILE void load_weight_pair(PerLane<FragmentB> (&b)[2], const unsigned char* weights, int pair,
                                int half) {
    PerLane<const unsigned char*> rows;
    warp_.each([&](int lane) {
      const int row = pair * 16 + (lane >> 4) * 8 + (lane & 7);
      rows[lane] = weights + chunk_offset(row, 2 * half + ((lane >> 3) & 1));
    });
    PerLane<FragmentA> both;
    warp_.load_matrices(both, rows);
    warp_.each([&](int lane) {
      b[0][lane] = {{both[lane].r[0], both[lane].r[1]}};
      b[1][lane] = {{both[lane].r[2], both[lane].r[3]}};
    });
  }

  // Times weights of 1: the sum of each window's stored bytes, in every column.
  SQ_TILE void add_inputs(const PerLane<FragmentA> (&a)[kHeight]) {
    PerLane<FragmentB> ones;
    warp_.each([&](int lane) { ones[lane] = {{0x01010101U, 0x01010101U}}; });
    SQ_UNROLL
    for (int m = 0; m < kHeight; ++m) {
      warp_.template multiply<kSigned>(input_sums_[m], a[m], ones);
    }
  }

  SQ_TILE void finish_tile() {
    warp_.each([&](int lane) {
      SQ_UNROLL
      for (int m = 0; m < kHeight; ++m) {
        SQ_UNROLL
        for (int half = 0; half < 2; ++half) {
          const std::uint32_t position =
              tile_.positions * kTilePositions +
              static_cast<std::uint32_t>((warp_.index() * kHeight + m) * 16 + 8 * half +
                                         (lane >> 2));
          if (position < num_positions_) finish_row(lane, m, half, position);
        }
      }
    });
  }

  SQ_TILE void finish_row(int lane, int m, int half, std::uint32_t position) {
    const std::int32_t group_outputs = op_.shape.out_c / op_.groups;
    // A tile with zero != 0 has no padding: every tap is inside the image.
    const std::int64_t sum =
        std::int64_t{input_sums_[m][lane].r[2 * half]} +
        std::int64_t{op_.zero} * group_inputs_ * op_.shape.kernel_h * op_.shape.kernel_w;
    SQ_UNROLL
    for (int n = 0; n < kWidth; ++n) {
      SQ_UNROLL
      for (int i = 0; i < 2; ++i) {
        const std::int32_t output =
            static_cast<std::int32_t>(tile_.outputs) * kTileOutputs + n * 8 + 2 * (lane & 3) + i;
        if (output >= group_outputs) continue;
        const auto channel = tile_.group * static_cast<std::uint32_t>(group_outputs) +
                             static_cast<std::uint32_t>(output);
        std::int64_t acc = sums_[m][n][lane].r[2 * half + i];
        if (op_.constant >= 0) acc += table_at<std::int64_t>(memory_, op_.constant)[channel];
        finish_sum(op_.out, kInputSums ? op_.weight_zero : -1, memory_, acc, sum, channel,
                   position * static_cast<std::uint32_t>(op_.shape.out_c) + channel);
      }
    }
  }

  const ConvOp& op_;
  const Memory& memory_;
  const TilePlace tile_;
  Warp& warp_;
  unsigned char* const shared_;
  const std::uint32_t num_positions_;
  const std::int32_t group_inputs_;
  const bool copies_chunks_, copies_words_;
  PerLane<GatheredRows> rows_;
  PerLane<FragmentSums> sums_[kHeight][kWidth];
  PerLane<FragmentSums> input_sums_[kHeight];
};

}  // namespace squant::eval::cuda
