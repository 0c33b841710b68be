// What SquantCuda writes for a channel. C++17, host and device.
#pragma once

#include <cstdint>

namespace squant::quant {

enum class CudaOutput : std::uint8_t {
  kCodes,        // int8 [O, I, K], as squant_cpu
  kPackedCodes,  // for at most 4 bits, two codes a byte: [O, (I * K + 1) / 2] bytes. Element 2i of
                 // a channel is the low half of the channel's byte i, element 2i + 1 the high half,
                 // each in two's complement of 4 bits; the high half behind an odd channel is 0.
  kWeights,      // float32 [O, I, K]: (code + zero_point) / scale, as dequantize
};

}  // namespace squant::quant
