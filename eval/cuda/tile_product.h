// The matrix product of a tile on 8-bit tensor cores: one block multiplies the windows of
// kTilePositions output positions, gathered from an image, with the weights of 64 or 128 output
// channels; each of its warps has kWarpPositions of the ones and kWarpOutputs of the others.
//
// The code of one warp, over a Warp policy: device_warp.cuh runs it on a GPU,
// tests/eval/cuda_host.h by one host thread a warp, 32 lanes after each other. So addresses, edges,
// layouts of fragments and the order of copies and barriers are tested where there is no GPU. A
// policy gives:
//   PerLane<T>                a T for each lane, [lane]
//   index()                   the warp's number in its block
//   each(f)                   f(lane) for each lane
//   copy16(lane, to, from, bytes)  starts a copy from global to shared memory: of 16 bytes the
//                                  first `bytes`, all or none, the others become 0
//   copy4(lane, to, from)     starts a copy of 4 bytes
//   commit(), wait<N>()       closes a group of copies; waits for all but the last N groups
//   sync()                    barrier of the block, orders shared memory
//   converge()                brings the warp's lanes together, orders what they wrote to shared
//                             memory
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

inline constexpr int kRowChunks = kTileDepth / kChunkBytes;

// Where a chunk of 16 bytes lies in a tile's rows in shared memory. The chunks of a row are
// permuted so that eight rows' chunks of one column lie in all banks.
SQ_TILE int chunk_offset(int row, int chunk) {
  return row * kTileDepth + (chunk ^ ((row >> 1) & 3)) * kChunkBytes;
}

// Values of 4 bytes of one lane, on their way from the sums to memory: four neighbouring columns of
// kQuadRows rows that are two apart.
inline constexpr int kQuadRows = 4;
template <class T>
struct Quads {
  T value[kQuadRows][4];
  T row_value[kQuadRows];
};

// Sums in registers, and what brings bytes to them and takes values from them.
template <class Warp, bool kSigned, bool kInputSums, int kOutputWarps>
class TileProduct {
 public:
  using Shape = TileShape<kOutputWarps>;
  template <class T>
  using PerLane = typename Warp::template PerLane<T>;
  static constexpr int kHeight = kWarpPositions / 16;  // fragments of a warp
  static constexpr int kWidth = kWarpOutputs / 8;
  // Which bytes of a step a thread copies: one chunk of rows that are kRowsApart from each other.
  static constexpr int kRowsApart = Shape::kThreads / kRowChunks;
  static constexpr int kWindowRows = kTilePositions / kRowsApart;
  static constexpr int kWeightRows = Shape::kOutputs / kRowsApart;

  // shared: Shape::kSharedBytes of the block, aligned to 16.
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

  // load(lane, windows, weights) starts the copies of one thread's part of the next step's bytes to
  // shared memory.
  template <class Load>
  SQ_TILE void run(int steps, const Load& load) {
    SQ_UNROLL
    for (int step = 0; step < Shape::kStages - 1; ++step) {
      if (step < steps) load_step(load, step);
      warp_.commit();
    }
    int stage = 0;
    int next_stage = Shape::kStages - 1;
    for (int step = 0; step < steps; ++step) {
      warp_.template wait<Shape::kStages - 2>();
      warp_.sync();  // this step's bytes are there, and nobody reads those of the step before
      if (step + Shape::kStages - 1 < steps) load_step(load, next_stage);
      warp_.commit();
      multiply(stage);
      stage = stage + 1 < Shape::kStages ? stage + 1 : 0;
      next_stage = next_stage + 1 < Shape::kStages ? next_stage + 1 : 0;
    }
  }

  // Adds the products of the bytes that lie in a stage.
  SQ_TILE void multiply(int stage) {
    const unsigned char* const input = windows_at(stage);
    const unsigned char* const weights = weights_at(stage);
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

  SQ_TILE unsigned char* windows_at(int stage) const {
    return shared_ + stage * Shape::kStageBytes;
  }
  SQ_TILE unsigned char* weights_at(int stage) const {
    return windows_at(stage) + Shape::kInputBytes;
  }

  SQ_TILE int thread_of(int lane) const { return warp_.index() * kWarpLanes + lane; }
  SQ_TILE int first_row_of(int lane) const { return thread_of(lane) / kRowChunks; }
  SQ_TILE int chunk_of(int lane) const { return thread_of(lane) % kRowChunks; }

  // A thread's chunk of weights: `from` is that of its first row, rows are row_pitch bytes apart.
  SQ_TILE void load_weights(int lane, unsigned char* to, const unsigned char* from,
                            std::int32_t row_pitch) {
    SQ_UNROLL
    for (int i = 0; i < kWeightRows; ++i) {
      warp_.copy16(lane, to + chunk_offset(first_row_of(lane) + i * kRowsApart, chunk_of(lane)),
                   from + static_cast<std::int64_t>(i * kRowsApart) * row_pitch, kChunkBytes);
    }
  }

  // The warp's place in the tile.
  SQ_TILE int first_position() const { return warp_.index() % kPositionWarps * kWarpPositions; }
  SQ_TILE int first_output() const { return warp_.index() / kPositionWarps * kWarpOutputs; }

  // Calls f(m, n, i, column) for each sum of a lane: sum(m, n, lane, i) is of that column of the
  // warp.
  template <class F>
  SQ_TILE void for_each_sum(int lane, const F& f) const {
    SQ_UNROLL
    for (int n = 0; n < kWidth; ++n) {
      SQ_UNROLL
      for (int m = 0; m < kHeight; ++m) {
        SQ_UNROLL
        for (int i = 0; i < 4; ++i) f(m, n, i, 8 * n + 2 * (lane & 3) + i % 2);
      }
    }
  }
  SQ_TILE std::int32_t sum(int m, int n, int lane, int i) const { return sums_[m][n][lane].r[i]; }
  // Of the stored bytes of the row's window.
  SQ_TILE std::int32_t input_sum(int m, int lane, int i) const {
    return kInputSums ? input_sums_[m][lane].r[i] : 0;
  }

  // Brings values of 4 bytes from their lanes into rows. value(m, n, lane, i), row_value(m, lane,
  // i): of that sum. Calls f(lane, row, quads) for the warp's rows: `row` is the first of the
  // quads, whose columns begin at first_column(lane).
  template <class T, class Value, class RowValue, class F>
  SQ_TILE void for_each_quads(const Value& value, const RowValue& row_value, const F& f) {
    warp_.sync();  // nobody reads the last step's bytes any more
    T* const values = reinterpret_cast<T*>(shared_) + warp_.index() * kWarpValues;
    T* const row_values = values + 16 * kValuePitch;
    SQ_UNROLL
    for (int m = 0; m < kHeight; ++m) {
      warp_.converge();  // the rows before have been read
      warp_.each([&](int lane) { put(lane, m, values, row_values, value, row_value); });
      warp_.converge();
      SQ_UNROLL
      for (int half = 0; half < 2; ++half) {
        warp_.each([&](int lane) {
          const int row = 2 * kQuadRows * half + (lane >> 4);
          f(lane, 16 * m + row, quads_at(lane, row, values, row_values));
        });
      }
    }
  }
  SQ_TILE static int first_column(int lane) { return 4 * (lane & 15); }

 private:
  // Rows in shared memory, apart by what spreads their pairs over the banks.
  static constexpr int kValuePitch = kWarpOutputs + 8;
  static constexpr int kWarpValues = 16 * (kValuePitch + 1);
  static_assert(Shape::kWarps * kWarpValues * 4 <= Shape::kSharedBytes);

  template <class T, class Value, class RowValue>
  SQ_TILE static void put(int lane, int m, T* values, T* row_values, const Value& value,
                          const RowValue& row_value) {
    SQ_UNROLL
    for (int i = 0; i < 4; i += 2) {
      const int row = (lane >> 2) + 4 * i;
      SQ_UNROLL
      for (int n = 0; n < kWidth; ++n) {
        put_lanes(values + row * kValuePitch + 8 * n + 2 * (lane & 3),
                  Lanes<T, 2>{{value(m, n, lane, i), value(m, n, lane, i + 1)}});
      }
      // The same in every column: the first one's is taken.
      if ((lane & 3) == 0) row_values[row] = row_value(m, lane, i);
    }
  }

  template <class T>
  SQ_TILE static Quads<T> quads_at(int lane, int row, const T* values, const T* row_values) {
    Quads<T> quads;
    SQ_UNROLL
    for (int j = 0; j < kQuadRows; ++j) {
      const auto four = lanes_at<4>(values + (row + 2 * j) * kValuePitch + first_column(lane));
      SQ_UNROLL
      for (int c = 0; c < 4; ++c) quads.value[j][c] = four.value[c];
      quads.row_value[j] = row_values[row + 2 * j];
    }
    return quads;
  }

  template <class Load>
  SQ_TILE void load_step(const Load& load, int stage) {
    warp_.each([&](int lane) { load(lane, windows_at(stage), weights_at(stage)); });
  }

  // Rows 16 m to 16 m + 15 of the warp's windows, 32 bytes of each.
  SQ_TILE void load_input(PerLane<FragmentA>& a, const unsigned char* input, int m, int half) {
    PerLane<const unsigned char*> rows;
    warp_.each([&](int lane) {
      const int row = first_position() + m * 16 + (lane & 15);
      rows[lane] = input + chunk_offset(row, 2 * half + (lane >> 4));
    });
    warp_.load_matrices(a, rows);
  }

  // Weights of 16 output channels, 32 bytes of each, as two fragments.
  SQ_TILE void load_weight_pair(PerLane<FragmentB> (&b)[2], const unsigned char* weights, int pair,
                                int half) {
    PerLane<const unsigned char*> rows;
    warp_.each([&](int lane) {
      const int row = first_output() + pair * 16 + (lane >> 4) * 8 + (lane & 7);
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
