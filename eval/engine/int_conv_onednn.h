// oneDNN convolutions of one image, through its C interface, loaded at run time.
//
// Loaded, not linked: LibTorch carries another version of oneDNN, and both libraries export a few
// C++ symbols of the same names. Linked side by side, the later one calls the earlier one's code,
// and its matrix products fail. Opened with RTLD_LOCAL and RTLD_DEEPBIND, each keeps to its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "eval/engine/scratch.h"

namespace squant::eval::onednn {

// Whether the library could be loaded. Built without it, or under AddressSanitizer (which forbids
// RTLD_DEEPBIND): no.
bool is_available();
// Whether 8-bit products are added in 32 bits without saturation: a CPU with VNNI that oneDNN may
// use.
bool has_exact_int8();

enum class Type : std::uint8_t { kUint8, kInt8, kInt32, kFloat32 };

// One image, channels last.
struct ConvShape {
  std::int64_t groups = 1;
  std::int64_t in_channels = 0, in_height = 0, in_width = 0;
  std::int64_t out_channels = 0, out_height = 0, out_width = 0;
  std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  std::int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  bool operator==(const ConvShape&) const = default;
};

// Weights in the layout that a primitive asked for.
class PackedWeights;

// One compiled convolution. Immutable: threads may share it, each with its own Scratch.
class Convolution {
 public:
  // weights: [groups, O / groups, I / groups, kh, kw], int8 for 8-bit inputs, else float32; copied.
  // `like` may name a convolution with the same weights: packed weights are shared where both want
  // the same layout. Null where the library has no direct implementation.
  static std::unique_ptr<Convolution> create(const ConvShape& shape, Type source, Type destination,
                                             const void* weights, const Convolution* like);
  ~Convolution();

  // source: [H, W, I]; destination: [OH, OW, O], written. Runs on the calling thread alone.
  void run(const void* source, void* destination, Scratch& scratch) const;
  const std::shared_ptr<PackedWeights>& weights() const { return weights_; }

 private:
  struct Impl;
  Convolution();
  std::unique_ptr<Impl> impl_;
  std::shared_ptr<PackedWeights> weights_;
};

std::int64_t size_bytes(const PackedWeights& weights);

}  // namespace squant::eval::onednn
