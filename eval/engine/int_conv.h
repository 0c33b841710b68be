// Exact integer convolutions of one image, on the CPU.
//
// With integer weights W = code + zero_point and integer inputs X = stored + format.zero, every
// output is the integer
//   acc = sum over the taps inside the image of W * X          (padding adds nothing)
// and every kernel here returns v = float(acc), rounded once, half to even: the same bits from each
// of them. Which one computes a layer is a matter of speed; docs/numerics.md says when each is
// exact.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/engine/scratch.h"
#include "eval/graph/graph.h"
#include "quant/activation.h"

namespace squant::eval {

// How the integers X of an activation are kept: one byte each, X = stored + zero.
struct CodeFormat {
  bool is_signed = false;  // int8, else uint8
  std::int32_t lo = 0;     // smallest and largest stored byte
  std::int32_t hi = 255;
  std::int32_t zero = 0;   // 0 wherever X itself fits a byte
  std::int32_t shift = 0;  // stored = code + shift
};
// Throws std::invalid_argument for a zero point that calibration cannot give.
CodeFormat code_format(const quant::ActivationAffine& affine);

struct IntConvProblem {
  std::string name;  // of the layer, for messages
  Shape input, output;
  Window window;
  std::int64_t groups = 1;
  CodeFormat format;  // of the input
  std::span<const std::int8_t>
      codes;  // [O, I / groups, kh, kw]; must live as long as the call that reads it
  std::span<const float> zero_point;  // [O], integers
};

// What adds up the products. The first one in this order that is exact for a layer computes it.
enum class SumKernel : std::uint8_t {
  kInt8,     // oneDNN, 8-bit products into 32-bit sums, on CPUs with VNNI instructions
  kFloat32,  // float32 units on integers below 2^24: oneDNN, LibTorch where that is missing; own
             // loops for depthwise
  kFloat64,  // own loops over float64 products: exact whenever the sums are below 2^53
};
const char* sum_kernel_name(SumKernel kernel);  // "int8", "float32", "float64"

// Consecutive output rows that are computed in one go: few enough for their sums to stay in the
// core's cache.
struct Strip {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// One prepared layer. Immutable, so that threads share it, each with its own Scratch.
class IntConv {
 public:
  virtual ~IntConv() = default;
  // input: the whole image's codes [H, W, C] as `format` says. values: [strip.count, OW, O],
  // written. `strip` is one of strips().
  virtual void run(const void* input, const Strip& strip, Scratch& scratch,
                   float* values) const = 0;
  virtual SumKernel kernel() const = 0;
  virtual std::int64_t memory_bytes() const = 0;

  const std::vector<Strip>& strips() const { return strips_; }
  // No sum and no partial sum, in any order, is larger in magnitude.
  double bound() const { return bound_; }

 protected:
  std::vector<Strip> strips_;
  double bound_ = 0;

 private:
  friend std::unique_ptr<IntConv> make_int_conv(const IntConvProblem&, std::optional<SumKernel>);
};

// Prepares a layer with the fastest exact kernel, or with `kernel`. Throws std::invalid_argument
// naming the layer when `kernel` cannot compute it exactly, or, for no kernel given, when its sums
// exceed what float64 holds.
std::unique_ptr<IntConv> make_int_conv(const IntConvProblem& problem,
                                       std::optional<SumKernel> kernel = std::nullopt);

// The first layer on float input: its input is not quantized. In double, over the taps inside the
// image in the order kh, kw, channel; exact (so that the order does not matter) for inputs that are
// multiples of 2^-24, as the noise of calibration_noise is. W comes from problem.codes and
// problem.zero_point; problem.format is not used.
class FloatInputConv {
 public:
  explicit FloatInputConv(const IntConvProblem& problem);
  ~FloatInputConv();
  // input: [H, W, C]. values: [OH, OW, O] = float(acc), written.
  void run(const float* input, Scratch& scratch, float* values) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The first layer on uint8 pixels, one input channel at a time: values [rows, OW, C, O] with
// v_c = float(sum over the taps of channel c inside the image of W * pixel).
class PixelConv {
 public:
  // One group. problem.format is not used: pixels are 0 to 255.
  explicit PixelConv(const IntConvProblem& problem, std::optional<SumKernel> kernel = std::nullopt);
  ~PixelConv();
  // Splits an image [H, W, C] for the calls of run() that follow with the same Scratch.
  void load(const std::uint8_t* pixels, Scratch& scratch) const;
  void run(const Strip& strip, Scratch& scratch, float* values) const;
  const std::vector<Strip>& strips() const;
  SumKernel kernel() const;
  double bound() const;
  std::int64_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace squant::eval
