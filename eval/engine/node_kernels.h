// The nodes between layers, on one image, channels last: pools, concatenation, channel shuffle.
//
// Values are float32, or stored bytes where the operation only moves or compares: quantizing keeps
// the order of values, so that the largest value's code is the largest code.
#pragma once

#include <cstdint>

#include "eval/graph/graph.h"

namespace squant::eval {

// in: [H, W, C] of the shape `input`; out: [OH, OW, C] of node.shape, written. Padding never wins.
void max_pool(const Node& node, const Shape& input, const float* in, float* out);
void max_pool(const Node& node, const Shape& input, const std::uint8_t* in, std::uint8_t* out);
void max_pool(const Node& node, const Shape& input, const std::int8_t* in, std::int8_t* out);

// The sum over the window's taps inside the image, from 0 in row-major order, each addition
// rounded, then one division by the number of taps: inside the image, or, with count_include_pad,
// inside image and padding.
void avg_pool(const Node& node, const Shape& input, const float* in, float* out);
// The same over the whole image.
void global_avg_pool(const Shape& input, const float* in, float* out);

// Copies each position's `row_bytes` to a row of `out_row_bytes` at out.
void copy_rows(const void* in, std::int64_t positions, std::int64_t row_bytes, void* out,
               std::int64_t out_row_bytes);

// Channels as [groups, C / groups], transposed.
void shuffle_channels(const float* in, const Shape& shape, std::int64_t groups, float* out);
void shuffle_channels(const std::uint8_t* in, const Shape& shape, std::int64_t groups,
                      std::uint8_t* out);

// [C, H, W] to [H, W, C].
void to_channels_last(const float* in, const Shape& shape, float* out);

}  // namespace squant::eval
