// A strip of the input as floating point, with its padding written out.
#pragma once

#include <cstdint>

#include "eval/engine/int_conv.h"

namespace squant::eval {

struct PaddedStrip {
  std::int64_t first_row = 0;  // of the input; negative in the padding
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t size() const { return height * width * channels; }
};
PaddedStrip padded_strip(const IntConvProblem& problem, const Strip& strip);

// out: [height, width, channels] of X, written; 0 in the padding. input: the image's codes.
void pad_strip(const IntConvProblem& problem, const PaddedStrip& strip, const void* input,
               float* out);
void pad_strip(const IntConvProblem& problem, const PaddedStrip& strip, const void* input,
               double* out);
// The same for float input, which is its own value.
void pad_strip_float(const IntConvProblem& problem, const PaddedStrip& strip, const float* input,
                     double* out);

}  // namespace squant::eval
