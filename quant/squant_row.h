// One output channel, written to be read: what every faster path must reproduce to the bit.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/numerics.h"

namespace squant::quant {

// Buffers that squant_row reuses from call to call.
struct RowScratch {
  std::vector<float> rounded;
  std::vector<float> error;
  std::vector<std::uint64_t> keys;
  std::vector<std::uint32_t> named;  // where stage K ran: the elements that stage C may still flip
  std::vector<std::uint8_t> named_up;  // and in which direction
};

// Rounds one channel of `in` weight kernels of `kernel` elements each; codes [in, kernel] are
// written.
void squant_row(const float* weights, std::int64_t in, std::int64_t kernel, Affine affine,
                CodeRange range, Mode mode, Rounding rounding, RowScratch& scratch,
                std::int8_t* codes);

}  // namespace squant::quant
