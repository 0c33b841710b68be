// The matrix product of a tile on 8-bit tensor cores: one block of four warps multiplies the
// windows of kTilePositions output positions, gathered from an image, with the weights of
// kTileOutputs output channels.
//
// The code of one warp, over a Warp policy: device_warp.cuh runs it on a GPU,
// tests/eval/cuda_host.h by one host thread a warp, 32 lanes after each other. So addresses, edges,
// layouts of fragments and the order of copies and barriers are tested where there is no GPU. A
// policy gives:
//   PerLane<T>                a T for each lane, [lane]
//   index()                   the warp's number in its block
//   each(f)                   f(lane) for each lane
//   copy16/copy4(lane, to, from)   starts a copy from global to shared memory
//   commit(), wait<N>()       closes a group of copies; waits for all but the last N groups
//   sync()                    barrier of the block, orders shared memory
//   converge()                brings lanes that branched apart back together
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

// Where a chunk of 16 bytes lies in a tile's rows in shared memory. The chunks of a row are
// permuted so that eight rows' chunks of one column lie in all banks.
SQ_TILE int chunk_offset(int row, int chunk) {
  return row * kTileDepth + (chunk ^ ((row >> 1) & 3)) * kChunkBytes;
}

// Which bytes of a step a thread copies: one chunk of rows that are kRowsApart from each other.
inline constexpr int kBlockThreads = kWarps * kWarpLanes;
inline constexpr int kRowChunks = kTileDepth / kChunkBytes;
inline constexpr int kRowsApart = kBlockThreads / kRowChunks;
inline constexpr int kThreadRows = kTilePositions / kRowsApart;

// Sums in registers, and what brings bytes to them and takes values from them.
template <class Warp, bool kSigned, bool kInputSums>
class TileProduct {
 public:
  template <class T>
  using PerLane = typename Warp::template PerLane<T>;
  static constexpr int kWarpRows = kTilePositions / kWarps;
  static constexpr int kHeight = kWarpRows / 16;  // fragments of a warp
  static constexpr int kWidth = kTileOutputs / 8;

  // shared: kSharedBytes of the block, aligned to 16.
  SQ_TILE TileProduct(Warp& warp, unsigned char* shared) : warp_(warp), shared_(shared) {
    clear_sums();
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

  // load(lane, step, windows, weights) starts the copies of one thread's part of a step's bytes to
  // shared memory; after(step) follows the step's multiplication.
  template <class Load, class After>
  SQ_TILE void run(int steps, const Load& load, const After& after) {
    SQ_UNROLL
    for (int step = 0; step < kStages - 1; ++step) {
      if (step < steps) load_step(load, step);
      warp_.commit();
    }
    for (int step = 0; step < steps; ++step) {
      warp_.template wait<kStages - 2>();
      warp_.sync();  // this step's bytes are there, and nobody reads those of the step before
      if (step + kStages - 1 < steps) load_step(load, step + kStages - 1);
      warp_.commit();
      multiply(step % kStages);
      after(step);
    }
  }

  // A thread's rows of weights: `chunk` of [kTileOutputs, row_pitch] bytes at `from`.
  SQ_TILE void load_weights(int lane, unsigned char* to, const unsigned char* from,
                            std::int32_t row_pitch, int chunk) {
    SQ_UNROLL
    for (int i = 0; i < kTileOutputs / kRowsApart; ++i) {
      const int row = thread_of(lane) / kRowChunks + i * kRowsApart;
      warp_.copy16(lane, to + chunk_offset(row, chunk % kRowChunks),
                   from + static_cast<std::int64_t>(row) * row_pitch + chunk * kChunkBytes);
    }
  }
  SQ_TILE int thread_of(int lane) const { return warp_.index() * kWarpLanes + lane; }

  // Calls f(m, n, i, row, column) for each sum of a lane: sum(m, n, lane, i) is of that row of the
  // warp and that column of the tile.
  template <class F>
  SQ_TILE void for_each_sum(int lane, const F& f) const {
    SQ_UNROLL
    for (int m = 0; m < kHeight; ++m) {
      SQ_UNROLL
      for (int n = 0; n < kWidth; ++n) {
        SQ_UNROLL
        for (int i = 0; i < 4; ++i) {
          f(m, n, i, 16 * m + (lane >> 2) + 8 * (i / 2), 8 * n + 2 * (lane & 3) + i % 2);
        }
      }
    }
  }
  SQ_TILE std::int32_t sum(int m, int n, int lane, int i) const { return sums_[m][n][lane].r[i]; }
  // Of the stored bytes of the row's window.
  SQ_TILE std::int32_t input_sum(int m, int lane, int i) const {
    return kInputSums ? input_sums_[m][lane].r[i] : 0;
  }

  // Brings values of 4 bytes from their lanes into rows: calls f(row, column, value(m, n, lane, i),
  // row_value(m, lane, i)) for the warp's first `rows` rows, neighbouring lanes with neighbouring
  // columns.
  template <class T, class Value, class RowValue, class F>
  SQ_TILE void for_each_in_rows(int rows, const Value& value, const RowValue& row_value,
                                const F& f) {
    warp_.sync();  // nobody reads the last step's bytes any more
    T* const values = reinterpret_cast<T*>(shared_) + warp_.index() * kWarpValues;
    T* const row_values = values + kWarpRows * kValuePitch;
    warp_.each([&](int lane) {
      for_each_sum(lane, [&](int m, int n, int i, int row, int column) {
        values[row * kValuePitch + column] = value(m, n, lane, i);
        // The same in every column: the first one's is taken.
        if (column == 0) row_values[row] = row_value(m, lane, i);
      });
    });
    warp_.sync();
    warp_.each([&](int lane) {
      for (int row = 0; row < rows && row < kWarpRows; ++row) {
        for (int column = lane; column < kTileOutputs; column += kWarpLanes) {
          f(row, column, values[row * kValuePitch + column], row_values[row]);
        }
      }
    });
  }

 private:
  // Rows in shared memory, apart by what spreads them over the banks.
  static constexpr int kValuePitch = kTileOutputs + 4;
  static constexpr int kWarpValues = kWarpRows * (kValuePitch + 1);
  static_assert(kWarps * kWarpValues * 4 <= kSharedBytes);

  template <class Load>
  SQ_TILE void load_step(const Load& load, int step) {
    unsigned char* const windows = shared_ + step % kStages * kStageBytes;
    warp_.each([&](int lane) { load(lane, step, windows, windows + kInputBytes); });
  }

  SQ_TILE void multiply(int stage) {
    const unsigned char* const input = shared_ + stage * kStageBytes;
    const unsigned char* const weights = input + kInputBytes;
    warp_.converge();  // lanes copy by different branches, and multiply together
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

  Warp& warp_;
  unsigned char* const shared_;
  PerLane<FragmentSums> sums_[kHeight][kWidth];
  PerLane<FragmentSums> input_sums_[kHeight];
};

}  // namespace squant::eval::cuda
