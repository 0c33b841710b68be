// SQuant: float weights to integer codes, without data.
//
// Source: Guo et al., "SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian
// Approximation", ICLR 2022 (arXiv 2202.07471). The rounding rules, to the last bit, and the
// notation: quant/ALGORITHM.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "quant/mode.h"

namespace squant::quant {

// "squant-e", "squant-k", "squant-c", "squant": the names of the paper's scripts. "current",
// "paper".
const char* mode_name(Mode mode);
const char* rounding_name(Rounding rounding);
// Throw std::invalid_argument that lists the known names.
Mode parse_mode(const std::string& name);
Rounding parse_rounding(const std::string& name);

inline constexpr int kMinBits = 2;
inline constexpr int kMaxBits = 8;
// Weights of one output channel: their errors are summed exactly in 64 bits.
inline constexpr std::int64_t kMaxRow = std::int64_t{1} << 24;

// An OIHW weight seen as [O, I, K], row-major.
struct WeightShape {
  std::int64_t out = 0;     // O: output channels
  std::int64_t in = 1;      // I: input channels of one group
  std::int64_t kernel = 1;  // K: H * W elements of one weight kernel; 1 for a linear layer

  std::int64_t row() const { return in * kernel; }  // elements of one output channel
  std::int64_t size() const { return out * row(); }
};

// The shape of a state-dict tensor of rank >= 2: [O, I, spatial...]. Throws std::invalid_argument,
// naming `tensor`, for a lower rank, a dimension below 1 or a size that overflows.
WeightShape weight_shape(std::span<const std::int64_t> dimensions, const std::string& tensor);

struct SquantOptions {
  int bits = 4;  // 2..8
  Mode mode = Mode::kEKC;
  Rounding rounding = Rounding::kCurrent;
  int num_threads = 0;  // 0: as many as OpenMP would take. The result does not depend on it.
};

// One weight tensor to quantize; all memory is the caller's (host).
struct SquantTensor {
  std::string name;  // for error messages
  WeightShape shape;
  const float* weights = nullptr;  // [O, I, K], finite
  std::int8_t* codes = nullptr;    // [O, I, K], written: each in [-2^(bits-1), 2^(bits-1) - 1]
  float* scale = nullptr;          // [O], written: codes per unit of weight, > 0
  float* zero_point = nullptr;  // [O], written: a weight is restored as (code + zero_point) / scale
};

// Quantizes every tensor in one call; channels of all tensors share the threads. Thread-safe.
// Throws std::invalid_argument, naming the tensor, before writing anything for bits outside [2, 8],
// an empty shape, a channel of more than kMaxRow weights or a null pointer; and for a NaN or
// infinite weight (naming its index, of several the lowest) or a channel whose scale or zero point
// overflows float32, after which the outputs are unspecified.
void squant_cpu(std::span<const SquantTensor> tensors, const SquantOptions& options);

// What the corrections did to one tensor. Errors are code - x in units of one code step (x
// unclamped).
struct SquantErrors {
  double squared = 0;      // sum of squared errors over all elements
  double max_kernel = 0;   // largest |sum of errors| of a weight kernel
  double max_channel = 0;  // largest |sum of errors| of an output channel
};
// Measures finished codes against their weights. Same preconditions as squant_cpu.
SquantErrors squant_errors(const SquantTensor& tensor, const SquantOptions& options);

// (code + zero_point) / scale, per output channel, into `weights` [O, I, K]. num_threads 1: by the
// calling thread alone.
void dequantize(const SquantTensor& tensor, float* weights, int num_threads = 0);

}  // namespace squant::quant
