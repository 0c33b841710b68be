// What a GPU does for one network: a list of operations, each over all images of a batch. Plain
// data that kernels get by value and that the host can execute, too (C++17, no torch).
//
// Tensors are channels last, [image, row, column, channel]: float32 values, or the stored bytes of
// codes. Offsets are bytes from the start of Memory::arena (tensors) or Memory::constants (tables);
// -1: there is none. An operation's elements are independent of each other.
#pragma once

#include <cstdint>

#include "eval/engine/epilogue_scalar.h"

namespace squant::eval::cuda {

// Where offsets point to: host memory, or a device's.
struct Memory {
  const unsigned char* constants = nullptr;
  unsigned char* arena = nullptr;
  const std::uint8_t* pixels = nullptr;  // [n, H, W, C]; null where the network runs on `input`
  const float* input = nullptr;          // [n, C, H, W]; null where it runs on pixels
};

// Codes of one affine, written beside or instead of float32 values.
struct CodeOutput {
  std::int64_t tensor = -1;
  Quantizer quantizer;
};

// The epilogue (docs/numerics.md, "After the sum") and where its results go.
struct Outputs {
  std::int64_t multiplier = -1, addend = -1;  // float [O]; -1: no affine step
  Clamp before_add;
  std::int64_t residual = -1;  // float tensor
  Clamp after_add;             // with a residual only
  std::int64_t values = -1;    // float tensor
  std::int64_t codes = -1;     // CodeOutput [num_codes]
  std::int32_t num_codes = 0;
};

// A window that moves over an image: of a convolution or a pool.
struct WindowShape {
  std::int32_t in_h = 1, in_w = 1, in_c = 1;
  std::int32_t out_h = 1, out_w = 1, out_c = 1;
  std::int32_t kernel_h = 1, kernel_w = 1;
  std::int32_t stride_h = 1, stride_w = 1;
  std::int32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};

// acc[o] = sum over the taps inside the image of W * X, with W = w + weight_zero[o] and
// X = stored + zero.
struct ConvOp {
  WindowShape shape;
  std::int32_t groups = 1;
  std::int64_t input = -1;                 // codes
  bool is_signed = false;                  // int8, else uint8
  std::int32_t lowest = 0, highest = 255;  // stored bytes
  std::int32_t zero = 0;
  // int8 [groups, group_rows, row_pitch]: a row is one output channel, tap by tap (row-major),
  // tap_pitch input channels each; what is beyond outputs, taps and channels is 0.
  std::int64_t weights = -1;
  std::int32_t group_rows = 0, row_pitch = 0, tap_pitch = 0;
  std::int64_t weight_zero = -1;  // int64 [O]
  bool wide_sums = false;         // 32 bits do not hold the sums

  bool tensor_cores = false;   // computed in tiles (conv_tile.h), not element by element
  std::int64_t constant = -1;  // int64 [O]: zero * sum of w, for tiles with zero != 0
  bool narrow = false;         // no acc[o] needs more than 32 bits
  Outputs out;
};

// One input channel an output channel.
struct DepthwiseOp {
  WindowShape shape;
  std::int64_t input = -1;
  bool is_signed = false;
  std::int32_t zero = 0;
  std::int64_t weights = -1;      // int8 [kh, kw, C]
  std::int64_t weight_zero = -1;  // int64 [C]
  Outputs out;
};

// The first layer on pixels (docs/numerics.md, "The first layer"): one input channel at a time.
struct PixelConvOp {
  WindowShape shape;
  std::int64_t weights = -1;       // int8 [C, kh, kw, O]
  std::int64_t weight_zero = -1;   // int64 [O]
  std::int64_t factors = -1;       // float [C, O]
  std::int64_t shifts = -1;        // float [kinds of rows, OW, O]
  std::int64_t shift_of_row = -1;  // int32 [OH]

  bool tensor_cores = false;  // computed in tiles (pixel_tile.h)
  // int8 [C, channel_rows, 8, 8]: an output channel's taps [ky, kx]; the rest is 0.
  std::int64_t tile_weights = -1;
  std::int32_t channel_rows = 0;
  Outputs out;  // no affine step
};

// The first layer on float32 values, summed in double over the taps in the order row, column,
// channel.
struct FloatConvOp {
  WindowShape shape;
  std::int32_t groups = 1;
  std::int64_t input = -1;
  std::int64_t weights = -1;  // double [kh, kw, I / groups, O]
  Outputs out;
};

// The epilogue alone: batch norm, ReLU, addition, and quantizing.
struct ElementwiseOp {
  std::int32_t channels = 1;
  std::int64_t elements = 0;  // of an image
  std::int64_t input = -1;
  Outputs out;
};

enum class PoolKind : std::uint8_t { kMaxFloat, kMaxUint8, kMaxInt8, kAverage };
struct PoolOp {
  PoolKind kind = PoolKind::kMaxFloat;
  WindowShape shape;
  bool count_include_pad = true;
  std::int64_t input = -1, output = -1;
};

struct GlobalAverageOp {
  std::int32_t positions = 1, channels = 1;
  std::int64_t input = -1, output = -1;
};

// Rows of words to another place: one input of a concatenation.
struct CopyOp {
  std::int32_t word_bytes = 1;   // 1, 4 or 16
  std::int64_t rows = 0;         // of an image
  std::int32_t row_words = 0;    // of the input
  std::int32_t pitch_words = 0;  // from one row of the output to the next
  std::int64_t input = -1, output = -1;
};

// Channels as [groups, C / groups], transposed.
struct ShuffleOp {
  std::int32_t element_bytes = 1;  // 1 or 4
  std::int32_t channels = 1, groups = 1;
  std::int64_t positions = 1;  // of an image
  std::int64_t input = -1, output = -1;
};

// Pixels to the network's float32 input.
struct NormalizeOp {
  std::int32_t channels = 1;
  std::int64_t elements = 0;  // of an image
  std::int64_t table = -1;    // float [C, 256]
  std::int64_t output = -1;
};

// [C, H, W] of the caller to [H, W, C].
struct ChannelsLastOp {
  std::int32_t channels = 1;
  std::int64_t positions = 1;
  std::int64_t output = -1;
};

}  // namespace squant::eval::cuda
