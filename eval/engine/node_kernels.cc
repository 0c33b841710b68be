#include "eval/engine/node_kernels.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

template <typename T>
[[gnu::always_inline]] inline void keep_larger(const T* __restrict x, std::int64_t count,
                                               T* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) {
    y[i] = x[i] > y[i] ? x[i] : y[i];
  }
}
SQ_TARGET_CLONES void larger(const float* x, std::int64_t count, float* y) {
  keep_larger(x, count, y);
}
SQ_TARGET_CLONES void larger(const std::uint8_t* x, std::int64_t count, std::uint8_t* y) {
  keep_larger(x, count, y);
}
SQ_TARGET_CLONES void larger(const std::int8_t* x, std::int64_t count, std::int8_t* y) {
  keep_larger(x, count, y);
}

SQ_TARGET_CLONES void add(const float* __restrict x, std::int64_t count, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) {
    y[i] = y[i] + x[i];
  }
}
SQ_TARGET_CLONES void divide(float divisor, std::int64_t count, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) {
    y[i] = y[i] / divisor;
  }
}

// The taps of a window that lie inside the image, and how many lie inside image and padding.
struct Taps {
  std::int64_t y0, y1, x0, x1;
  std::int64_t padded_count;
  std::int64_t count() const { return (y1 - y0) * (x1 - x0); }
};
Taps window_taps(const Window& window, const Shape& input, std::int64_t row, std::int64_t column) {
  const std::int64_t y = row * window.stride_h - window.padding.top;
  const std::int64_t x = column * window.stride_w - window.padding.left;
  const std::int64_t y_end = std::min(y + window.kernel_h, input.height + window.padding.bottom);
  const std::int64_t x_end = std::min(x + window.kernel_w, input.width + window.padding.right);
  return {std::max(y, std::int64_t{0}), std::min(y_end, input.height), std::max(x, std::int64_t{0}),
          std::min(x_end, input.width), (y_end - y) * (x_end - x)};
}

// Calls tap(pointer to the channels of one input position) for each tap inside the image, in
// row-major order.
template <typename T, typename Tap>
void for_each_tap(const Taps& taps, const Shape& input, const T* in, const Tap& tap) {
  for (std::int64_t y = taps.y0; y < taps.y1; ++y) {
    for (std::int64_t x = taps.x0; x < taps.x1; ++x) {
      tap(in + (y * input.width + x) * input.channels);
    }
  }
}

template <typename T>
void max_pool_any(const Node& node, const Shape& input, const T* in, T* out) {
  const std::int64_t channels = input.channels;
  for (std::int64_t row = 0; row < node.shape.height; ++row) {
    for (std::int64_t column = 0; column < node.shape.width; ++column, out += channels) {
      bool first = true;
      for_each_tap(window_taps(node.window, input, row, column), input, in, [&](const T* x) {
        if (first) {
          std::copy_n(x, channels, out);
          first = false;
        } else {
          larger(x, channels, out);
        }
      });
      if (first) {
        std::fill_n(out, channels,
                    std::numeric_limits<T>::lowest());  // a window of nothing but padding
      }
    }
  }
}

template <typename T>
void shuffle_any(const T* in, const Shape& shape, std::int64_t groups, T* out) {
  const std::int64_t group_channels = shape.channels / groups;
  for (std::int64_t p = 0; p < shape.height * shape.width; ++p, in += shape.channels) {
    for (std::int64_t c = 0; c < group_channels; ++c) {
      for (std::int64_t g = 0; g < groups; ++g) {
        *out++ = in[g * group_channels + c];
      }
    }
  }
}

}  // namespace

void max_pool(const Node& node, const Shape& input, const float* in, float* out) {
  max_pool_any(node, input, in, out);
}
void max_pool(const Node& node, const Shape& input, const std::uint8_t* in, std::uint8_t* out) {
  max_pool_any(node, input, in, out);
}
void max_pool(const Node& node, const Shape& input, const std::int8_t* in, std::int8_t* out) {
  max_pool_any(node, input, in, out);
}

void avg_pool(const Node& node, const Shape& input, const float* in, float* out) {
  const std::int64_t channels = input.channels;
  for (std::int64_t row = 0; row < node.shape.height; ++row) {
    for (std::int64_t column = 0; column < node.shape.width; ++column, out += channels) {
      const Taps taps = window_taps(node.window, input, row, column);
      std::fill_n(out, channels, 0.0F);
      for_each_tap(taps, input, in, [&](const float* x) { add(x, channels, out); });
      divide(static_cast<float>(node.window.count_include_pad ? taps.padded_count : taps.count()),
             channels, out);
    }
  }
}

void global_avg_pool(const Shape& input, const float* in, float* out) {
  const std::int64_t positions = input.height * input.width;
  std::fill_n(out, input.channels, 0.0F);
  for (std::int64_t p = 0; p < positions; ++p) {
    add(in + p * input.channels, input.channels, out);
  }
  divide(static_cast<float>(positions), input.channels, out);
}

void copy_rows(const void* in, std::int64_t positions, std::int64_t row_bytes, void* out,
               std::int64_t out_row_bytes) {
  const auto* from = static_cast<const std::byte*>(in);
  auto* to = static_cast<std::byte*>(out);
  for (std::int64_t p = 0; p < positions; ++p, from += row_bytes, to += out_row_bytes) {
    std::memcpy(to, from, static_cast<std::size_t>(row_bytes));
  }
}

void shuffle_channels(const float* in, const Shape& shape, std::int64_t groups, float* out) {
  shuffle_any(in, shape, groups, out);
}
void shuffle_channels(const std::uint8_t* in, const Shape& shape, std::int64_t groups,
                      std::uint8_t* out) {
  shuffle_any(in, shape, groups, out);
}

void to_channels_last(const float* in, const Shape& shape, float* out) {
  const std::int64_t positions = shape.height * shape.width;
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      *out++ = in[c * positions + p];
    }
  }
}

}  // namespace squant::eval
