// The two passes of eval/images/resample.h, portable and with AVX2. Both give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "eval/images/resample.h"

namespace squant::eval {

inline constexpr int kWeightBits =
    22;  // fractional bits of a weight: 8-bit values leave two bits of headroom

// One row: `count` output pixels of `channels` interleaved channels.
void resample_row_portable(const AxisWeights& columns, int channels, const std::uint8_t* row,
                           std::uint8_t* out);
// One output row of `width` bytes: the sum over `count` rows that lie `stride` bytes apart.
void resample_column_portable(const std::int32_t* weights, int count, const std::uint8_t* rows,
                              std::size_t stride, std::size_t width, std::uint8_t* out);

// False on machines without AVX2: the functions below must not be called there.
bool have_resample_avx2();
// Weights rearranged for resample_row_avx2.
void pair_weights_avx2(const AxisWeights& columns, std::vector<std::int16_t>& pairs);
// Three channels. May write 1 byte behind the last output pixel and read kRowSlack bytes behind the
// last input pixel.
void resample_row_avx2(const AxisWeights& columns, const std::int16_t* pairs,
                       const std::uint8_t* row, std::uint8_t* out);
// `width` is rounded up to 32 bytes: that much is read of each row and written. Reads one row more
// if `count` is odd, with the weight behind the last one, which is zero.
void resample_column_avx2(const std::int32_t* weights, int count, const std::uint8_t* rows,
                          std::size_t stride, std::size_t width, std::uint8_t* out);

}  // namespace squant::eval
