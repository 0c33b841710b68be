// Which corrections run and how values are rounded: the two choices that host and CUDA code share
// (C++17).
#pragma once

#include <cstdint>

namespace squant::quant {

// Which corrections follow rounding to nearest (paper, Table 4): E element, K kernel, C output
// channel.
enum class Mode : std::uint8_t { kE, kEK, kEC, kEKC };

// kCurrent rounds half to even; kPaper is the release that produced the paper's figures: clamp,
// then half up.
enum class Rounding : std::uint8_t { kCurrent, kPaper };

}  // namespace squant::quant
