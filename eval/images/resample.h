// Scales a picture and crops its middle, equal to the bit to Pillow's Image.resize(BILINEAR) and
// torchvision's Resize(int(size / 0.875)) and CenterCrop(size).
//
// The method: a triangle filter, widened by the scale where the picture shrinks; along each axis
// the weights of an output pixel are normalized in double and rounded to 22 fractional bits; a
// horizontal pass gives uint8 rows, a vertical pass over those gives the result, each rounding half
// up. Sums are exact integers, so any order and any instruction set give the same bits. Only what
// the crop needs is computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace squant::eval {

// Output pixel i of one axis is the sum over j < count[i] of weights[i][j] * input[first[i] + j],
// in fixed point.
struct AxisWeights {
  std::vector<std::int32_t> first;    // of each output pixel, in input pixels from `begin`
  std::vector<std::int32_t> count;    // of each output pixel: how many input pixels have a weight
  std::vector<std::int32_t> weights;  // [outputs, taps], zeros behind the last weight
  int taps = 0;                       // a multiple of 4, at least each count
  std::int64_t begin = 0, end = 0;    // the input pixels that have a weight for any output pixel
};

// Weights for output pixels [first, first + count) of an axis scaled from `from` to `to` pixels.
AxisWeights axis_weights(std::int64_t from, std::int64_t to, std::int64_t first,
                         std::int64_t count);

// How far a row of input must stay readable behind its last pixel, in bytes; what is there does not
// matter.
inline constexpr std::size_t kRowSlack = 64;

// One picture at a time: begin(), push_row() for each input row of [first_row(), end_row()),
// finish(). Keeps its memory between pictures. Not thread-safe.
class CropResampler {
 public:
  // A picture of width x height pixels of 1 or 3 interleaved channels; the result is size x size.
  void begin(std::int64_t width, std::int64_t height, int channels, std::int64_t size);

  // The part of the picture that the crop depends on.
  std::int64_t first_row() const { return rows_.begin; }
  std::int64_t end_row() const { return rows_.end; }
  std::int64_t first_column() const { return columns_.begin; }
  std::int64_t end_column() const { return columns_.end; }

  // `row` begins at pixel first_column(), with kRowSlack readable bytes behind pixel end_column()
  // - 1.
  void push_row(const std::uint8_t* row);

  // Writes [size, size, 3]; a grey picture's value goes to all three channels.
  void finish(std::uint8_t* out);

  // For tests: computes without vector instructions.
  void use_portable_kernels() { portable_ = true; }

 private:
  std::int64_t size_ = 0;
  int channels_ = 0;
  bool portable_ = false;
  AxisWeights columns_, rows_;
  std::vector<std::int16_t> column_pairs_;  // columns_.weights as the vector kernel wants them
  std::vector<std::uint8_t> between_;       // [input rows, stride_] after the horizontal pass
  std::size_t stride_ = 0;
  std::int64_t pushed_ = 0;
};

}  // namespace squant::eval
