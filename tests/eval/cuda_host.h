// The operations of a CUDA program, run on the host: element by element, or in tiles by host warps.
#pragma once

#include <algorithm>
#include <array>
#include <barrier>
#include <cstring>
#include <functional>
#include <thread>
#include <variant>
#include <vector>

#include "eval/cuda/conv_tile.h"
#include "eval/cuda/pixel_tile.h"
#include "eval/cuda/program.h"
#include "eval/engine/scratch.h"

namespace squant::eval::cuda {

// What the warps of one block share, beside its memory.
class HostBlock {
 public:
  explicit HostBlock(int num_warps) : barrier_(num_warps) {}
  void sync() { barrier_.arrive_and_wait(); }

 private:
  std::barrier<> barrier_;
};

// A warp of tile_product.h by one host thread. Written from the PTX ISA: ldmatrix.m8n8.x4.b16, and
// mma.m16n8k32 on 8-bit integers. Copies happen as late as the ISA allows, when they are waited
// for: a tile that reads too early sees what was there before.
class HostWarp {
 public:
  template <class T>
  using PerLane = std::array<T, 32>;

  HostWarp(HostBlock& block, int index) : block_(block), index_(index) {}

  int index() const { return index_; }
  template <class F>
  void each(const F& f) const {
    for (int lane = 0; lane < 32; ++lane) f(lane);
  }

  void copy16(int, unsigned char* to, const unsigned char* from, int bytes) {
    open_.push_back({to, from, 16, bytes == 0});
  }
  void copy4(int, unsigned char* to, const unsigned char* from) {
    open_.push_back({to, from, 4, false});
  }
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  template <int kPending>
  void wait() {
    while (groups_.size() > kPending) {
      for (const Copy& copy : groups_.front()) {
        // The hardware refuses other addresses.
        if (reinterpret_cast<std::uintptr_t>(copy.from) % copy.bytes != 0 ||
            reinterpret_cast<std::uintptr_t>(copy.to) % copy.bytes != 0) {
          misaligned_ = true;
        }
        copy.is_zero ? std::memset(copy.to, 0, copy.bytes)
                     : std::memcpy(copy.to, copy.from, copy.bytes);
      }
      groups_.erase(groups_.begin());
    }
  }
  void sync() { block_.sync(); }
  void converge() const {}
  bool misaligned() const { return misaligned_; }

  // Lanes 8 j to 8 j + 7 name the rows of matrix j; lane l gets the 32 bits of its row l / 4 that
  // start at the 16-bit column 2 (l % 4), in register j.
  void load_matrices(PerLane<FragmentA>& registers,
                     const PerLane<const unsigned char*>& rows) const {
    for (int lane = 0; lane < 32; ++lane) {
      for (int j = 0; j < 4; ++j) {
        const unsigned char* row = rows[static_cast<std::size_t>(8 * j + lane / 4)];
        std::memcpy(&registers[static_cast<std::size_t>(lane)].r[j], row + 4 * (lane % 4), 4);
      }
    }
  }

  template <bool kSigned>
  void multiply(PerLane<FragmentSums>& sums, const PerLane<FragmentA>& a,
                const PerLane<FragmentB>& b) const {
    int left[16][32];
    int right[8][32];  // [column][row]
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2;
      const int part = lane % 4;
      for (int i = 0; i < 16; ++i) {  // a0 ... a15
        const int row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
        const int column = part * 4 + (i & 3) + (i < 8 ? 0 : 16);
        left[row][column] = value_of<kSigned>(a[static_cast<std::size_t>(lane)].r[i / 4], i % 4);
      }
      for (int i = 0; i < 8; ++i) {  // b0 ... b7
        const int row = part * 4 + (i & 3) + (i < 4 ? 0 : 16);
        right[group][row] = value_of<true>(b[static_cast<std::size_t>(lane)].r[i / 4], i % 4);
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {  // c0 ... c3
        const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8;
        const int column = lane % 4 * 2 + (i & 1);
        int sum = 0;
        for (int k = 0; k < 32; ++k) sum += left[row][k] * right[column][k];
        sums[static_cast<std::size_t>(lane)].r[i] += sum;
      }
    }
  }

 private:
  struct Copy {
    unsigned char* to;
    const unsigned char* from;
    std::size_t bytes;
    bool is_zero;
  };
  template <bool kSigned>
  static int value_of(std::uint32_t word, int byte) {
    const auto bits = static_cast<std::uint8_t>(word >> (8 * byte));
    return kSigned ? static_cast<std::int8_t>(bits) : bits;
  }

  HostBlock& block_;
  int index_;
  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
  bool misaligned_ = false;
};

// Calls tile(warp, place, shared memory) for every tile, the warps of a block in threads. Returns
// whether all copies were aligned.
template <int kOutputWarps, class Tile>
bool run_blocks(std::uint32_t positions, std::uint32_t outputs, std::uint32_t groups,
                const Tile& tile) {
  using Shape = TileShape<kOutputWarps>;
  HostBlock block(Shape::kWarps);
  AlignedBuffer shared(Shape::kSharedBytes);
  std::array<bool, Shape::kWarps> aligned{};
  const auto work = [&](int index) {
    HostWarp warp(block, index);
    TilePlace place{};
    for (place.group = 0; place.group < groups; ++place.group) {
      for (place.outputs = 0; place.outputs < outputs; ++place.outputs) {
        for (place.positions = 0; place.positions < positions; ++place.positions) {
          block.sync();  // the block before is done with the shared memory
          tile(warp, place, reinterpret_cast<unsigned char*>(shared.data()));
        }
      }
    }
    aligned[static_cast<std::size_t>(index)] = !warp.misaligned();
  };
  std::vector<std::thread> threads;
  for (int index = 0; index < Shape::kWarps; ++index) threads.emplace_back(work, index);
  for (std::thread& thread : threads) thread.join();
  return std::all_of(aligned.begin(), aligned.end(), [](bool is_aligned) { return is_aligned; });
}

template <bool kSigned, bool kInputSums, bool kRegular, int kOutputWarps>
bool run_tiles_as(const ConvOp& op, const Memory& memory, std::int64_t n) {
  return run_blocks<kOutputWarps>(
      position_tiles(op.shape, n), output_tiles<kOutputWarps>(op.group_rows),
      static_cast<std::uint32_t>(op.groups),
      [&](HostWarp& warp, const TilePlace& place, unsigned char* shared) {
        ConvTile<HostWarp, kSigned, kInputSums, kRegular, kOutputWarps>(op, memory, n, place, warp,
                                                                        shared)
            .run();
      });
}

template <bool kRegular, int kOutputWarps>
bool run_tiles_of(const ConvOp& op, const Memory& memory, std::int64_t n) {
  const bool sums = op.weight_zero >= 0;
  if (op.is_signed) {
    return sums ? run_tiles_as<true, true, kRegular, kOutputWarps>(op, memory, n)
                : run_tiles_as<true, false, kRegular, kOutputWarps>(op, memory, n);
  }
  return sums ? run_tiles_as<false, true, kRegular, kOutputWarps>(op, memory, n)
              : run_tiles_as<false, false, kRegular, kOutputWarps>(op, memory, n);
}

inline bool run_tiles(const ConvOp& op, const Memory& memory, std::int64_t n) {
  if (!is_regular(op)) return run_tiles_of<false, 1>(op, memory, n);
  return output_warps(op.group_rows) == 2 ? run_tiles_of<true, 2>(op, memory, n)
                                          : run_tiles_of<true, 1>(op, memory, n);
}

template <bool kInputSums>
bool run_tiles_as(const PixelConvOp& op, const Memory& memory, std::int64_t n) {
  return run_blocks<1>(position_tiles(op.shape, n), output_tiles<1>(op.channel_rows), 1,
                       [&](HostWarp& warp, const TilePlace& place, unsigned char* shared) {
                         PixelTile<HostWarp, kInputSums>(op, memory, n, place, warp, shared).run();
                       });
}

inline bool run_tiles(const PixelConvOp& op, const Memory& memory, std::int64_t n) {
  return op.weight_zero >= 0 ? run_tiles_as<true>(op, memory, n)
                             : run_tiles_as<false>(op, memory, n);
}

// in_fours: as a GPU does, where the operation comes in fours.
template <class Op>
void run_elements(const Op& op, const Memory& memory, std::int64_t n, bool in_fours = true) {
  const std::int64_t count = n * num_elements(op);
  if constexpr (kComesInFours<Op>) {
    if (in_fours && can_take_four(op)) {
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count / 4; ++i) {
        compute<4>(op, memory, static_cast<std::uint32_t>(i));
      }
      return;
    }
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) compute(op, memory, static_cast<std::uint32_t>(i));
}

// A program with its memory on the host. Tiles are used where the program says so.
class HostProgram {
 public:
  explicit HostProgram(Program program, bool in_fours = true)
      : program_(std::move(program)),
        in_fours_(in_fours),
        arena_(static_cast<std::size_t>(program_.arena_bytes)) {
    constants_.resize(program_.constants.size());
    std::memcpy(constants_.data(), program_.constants.data(), program_.constants.size());
    // What no operation wrote is not a number, and no code that could pass for one.
    std::memset(arena_.data(), 0xFF, arena_.size());
  }

  // One of `pixels` and `input` is null.
  std::vector<float> run(const std::uint8_t* pixels, const float* input, std::int64_t n) {
    std::vector<float> logits;
    for (std::int64_t begin = 0; begin < n; begin += program_.capacity) {
      const std::int64_t count = std::min(program_.capacity, n - begin);
      const Memory memory{reinterpret_cast<const unsigned char*>(constants_.data()),
                          reinterpret_cast<unsigned char*>(arena_.data()),
                          pixels == nullptr ? nullptr : pixels + begin * program_.input.size(),
                          input == nullptr ? nullptr : input + begin * program_.input.size()};
      for (const ProgramStep& step : program_.steps) {
        if (pixels != nullptr ? step.on_pixels : step.on_input) {
          std::visit([&](const auto& op) { run_one(op, memory, count); }, step.operation);
        }
      }
      const auto* from = tensor_at<float>(memory, program_.logits);
      logits.insert(logits.end(), from, from + count * program_.num_classes);
    }
    return logits;
  }

 private:
  template <class Op>
  void run_one(const Op& op, const Memory& memory, std::int64_t n) const {
    if constexpr (requires { op.tensor_cores; }) {
      if (op.tensor_cores) {
        run_tiles(op, memory, n);
        return;
      }
    }
    run_elements(op, memory, n, in_fours_);
  }

  Program program_;
  const bool in_fours_;
  AlignedBuffer arena_, constants_;
};

}  // namespace squant::eval::cuda
