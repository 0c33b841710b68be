// Every operation, one element at a time: what plain CUDA kernels run with a thread an element, and
// what host tests run in a loop. Each is the definition that faster kernels are compared with.
//
// num_elements(op): of one image. compute(op, memory, index): element `index` of the batch, below
// n * num_elements(op) < 2^31. compute<4>(op, memory, index), where can_take_four(op): the elements
// 4 index to 4 index + 3, four neighbouring channels. C++17, host and device.
#pragma once

#include <cfloat>
#include <cstdint>
#include <utility>

#include "eval/cuda/operations.h"

namespace squant::eval::cuda {

template <class T>
SQ_HOST_DEVICE const T* table_at(const Memory& memory, std::int64_t offset) {
  return reinterpret_cast<const T*>(memory.constants + offset);
}
template <class T>
SQ_HOST_DEVICE T* tensor_at(const Memory& memory, std::int64_t offset) {
  return reinterpret_cast<T*>(memory.arena + offset);
}

SQ_HOST_DEVICE std::int32_t smaller(std::int32_t a, std::int32_t b) { return a < b ? a : b; }

// Neighbouring values in memory, read and written at once.
template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth) Lanes {
  T value[kWidth];
};
template <int kWidth, class T>
SQ_HOST_DEVICE Lanes<T, kWidth> lanes_at(const T* from) {
  return *reinterpret_cast<const Lanes<T, kWidth>*>(from);
}
template <class T, int kWidth>
SQ_HOST_DEVICE void put_lanes(T* to, const Lanes<T, kWidth>& lanes) {
  *reinterpret_cast<Lanes<T, kWidth>*>(to) = lanes;
}

// The epilogue of the values of neighbouring channels; `channel` and `element`, its index in the
// output tensors, are the first one's.
template <int kWidth>
SQ_HOST_DEVICE void finish_lanes(const Outputs& out, const Memory& memory, Lanes<float, kWidth> y,
                                 std::uint32_t channel, std::uint32_t element) {
  if (out.multiplier >= 0) {
    const auto multiplier = lanes_at<kWidth>(table_at<float>(memory, out.multiplier) + channel);
    const auto addend = lanes_at<kWidth>(table_at<float>(memory, out.addend) + channel);
    for (int i = 0; i < kWidth; ++i) {
      y.value[i] = rounded_sum(rounded_product(y.value[i], multiplier.value[i]), addend.value[i]);
    }
  }
  for (float& value : y.value) value = clamp_value(value, out.before_add.lo, out.before_add.hi);
  if (out.residual >= 0) {
    const auto residual = lanes_at<kWidth>(tensor_at<float>(memory, out.residual) + element);
    for (int i = 0; i < kWidth; ++i) {
      y.value[i] = clamp_value(rounded_sum(y.value[i], residual.value[i]), out.after_add.lo,
                               out.after_add.hi);
    }
  }
  if (out.values >= 0) put_lanes(tensor_at<float>(memory, out.values) + element, y);
  const CodeOutput* codes = table_at<CodeOutput>(memory, out.codes);
  for (std::int32_t i = 0; i < out.num_codes; ++i) {
    Lanes<std::uint8_t, kWidth> code{};
    for (int j = 0; j < kWidth; ++j) code.value[j] = quantize_value(y.value[j], codes[i].quantizer);
    put_lanes(tensor_at<std::uint8_t>(memory, codes[i].tensor) + element, code);
  }
}
SQ_HOST_DEVICE void finish(const Outputs& out, const Memory& memory, float y, std::uint32_t channel,
                           std::uint32_t element) {
  finish_lanes<1>(out, memory, {{y}}, channel, element);
}

// A layer's integer result, rounded once: `acc` of the stored weights, `sum` of X.
SQ_HOST_DEVICE float sum_value(std::int64_t weight_zero, const Memory& memory, std::int64_t acc,
                               std::int64_t sum, std::uint32_t channel) {
  if (weight_zero >= 0) acc += table_at<std::int64_t>(memory, weight_zero)[channel] * sum;
  return static_cast<float>(acc);
}
SQ_HOST_DEVICE void finish_sum(const Outputs& out, std::int64_t weight_zero, const Memory& memory,
                               std::int64_t acc, std::int64_t sum, std::uint32_t channel,
                               std::uint32_t element) {
  finish(out, memory, sum_value(weight_zero, memory, acc, sum, channel), channel, element);
}

// Where an output position's window starts, padding included.
struct WindowPlace {
  std::uint32_t image;
  std::int32_t row, column;  // of the output
  std::int32_t y, x;         // of the input
};
SQ_HOST_DEVICE WindowPlace place_window(const WindowShape& shape, std::uint32_t position) {
  const std::uint32_t rows = position / static_cast<std::uint32_t>(shape.out_w);
  const std::uint32_t image = rows / static_cast<std::uint32_t>(shape.out_h);
  const auto column =
      static_cast<std::int32_t>(position - rows * static_cast<std::uint32_t>(shape.out_w));
  const auto row =
      static_cast<std::int32_t>(rows - image * static_cast<std::uint32_t>(shape.out_h));
  return {image, row, column, row * shape.stride_h - shape.pad_top,
          column * shape.stride_w - shape.pad_left};
}
SQ_HOST_DEVICE std::int64_t image_elements(const WindowShape& shape) {
  return static_cast<std::int64_t>(shape.in_h) * shape.in_w * shape.in_c;
}
SQ_HOST_DEVICE std::int64_t output_elements(const WindowShape& shape) {
  return static_cast<std::int64_t>(shape.out_h) * shape.out_w * shape.out_c;
}

// Calls tap(index of the tap, index of the input position) for each tap inside the image, in
// row-major order.
template <class Tap>
SQ_HOST_DEVICE void for_each_tap(const WindowShape& shape, const WindowPlace& at, const Tap& tap) {
  for (std::int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    const std::int32_t y = at.y + ky;
    if (y < 0 || y >= shape.in_h) continue;
    for (std::int32_t kx = 0; kx < shape.kernel_w; ++kx) {
      const std::int32_t x = at.x + kx;
      if (x < 0 || x >= shape.in_w) continue;
      tap(ky * shape.kernel_w + kx, y * shape.in_w + x);
    }
  }
}

// ---- Convolutions ----

SQ_HOST_DEVICE std::int64_t num_elements(const ConvOp& op) { return output_elements(op.shape); }

template <class Stored, class Sum>
SQ_HOST_DEVICE void compute_conv(const ConvOp& op, const Memory& memory, std::uint32_t index) {
  const auto outputs = static_cast<std::uint32_t>(op.shape.out_c);
  const std::uint32_t channel = index % outputs;
  const WindowPlace at = place_window(op.shape, index / outputs);
  const std::int32_t group_inputs = op.shape.in_c / op.groups;
  const std::uint32_t group_outputs = outputs / static_cast<std::uint32_t>(op.groups);
  const std::uint32_t group = channel / group_outputs;
  const Stored* image = tensor_at<Stored>(memory, op.input) +
                        static_cast<std::int64_t>(at.image) * image_elements(op.shape) +
                        static_cast<std::int32_t>(group) * group_inputs;
  const std::int8_t* row =
      table_at<std::int8_t>(memory, op.weights) +
      (static_cast<std::int64_t>(group) * op.group_rows + (channel - group * group_outputs)) *
          op.row_pitch;
  Sum acc = 0;
  Sum sum = 0;
  for_each_tap(op.shape, at, [&](std::int32_t tap, std::int32_t position) {
    const Stored* x = image + static_cast<std::int64_t>(position) * op.shape.in_c;
    const std::int8_t* w = row + tap * op.tap_pitch;
    for (std::int32_t i = 0; i < group_inputs; ++i) {
      const Sum value = static_cast<Sum>(x[i]) + op.zero;
      acc += static_cast<Sum>(w[i]) * value;
      sum += value;
    }
  });
  finish_sum(op.out, op.weight_zero, memory, acc, sum, channel, index);
}

SQ_HOST_DEVICE void compute(const ConvOp& op, const Memory& memory, std::uint32_t index) {
  if (op.wide_sums) {
    op.is_signed ? compute_conv<std::int8_t, std::int64_t>(op, memory, index)
                 : compute_conv<std::uint8_t, std::int64_t>(op, memory, index);
  } else {
    op.is_signed ? compute_conv<std::int8_t, std::int32_t>(op, memory, index)
                 : compute_conv<std::uint8_t, std::int32_t>(op, memory, index);
  }
}

SQ_HOST_DEVICE std::int64_t num_elements(const DepthwiseOp& op) {
  return output_elements(op.shape);
}

SQ_HOST_DEVICE bool can_take_four(const DepthwiseOp& op) { return op.shape.in_c % 4 == 0; }

template <class Stored, int kWidth>
SQ_HOST_DEVICE void compute_depthwise(const DepthwiseOp& op, const Memory& memory,
                                      std::uint32_t index) {
  const std::uint32_t channels = static_cast<std::uint32_t>(op.shape.in_c) / kWidth;
  const std::uint32_t channel = index % channels * kWidth;
  const WindowPlace at = place_window(op.shape, index / channels);
  const Stored* image = tensor_at<Stored>(memory, op.input) +
                        static_cast<std::int64_t>(at.image) * image_elements(op.shape) + channel;
  const std::int8_t* weights = table_at<std::int8_t>(memory, op.weights) + channel;
  Lanes<std::int32_t, kWidth> acc{};
  Lanes<std::int32_t, kWidth> sum{};
  for_each_tap(op.shape, at, [&](std::int32_t tap, std::int32_t position) {
    const auto x = lanes_at<kWidth>(image + static_cast<std::int64_t>(position) * op.shape.in_c);
    const auto w = lanes_at<kWidth>(weights + tap * op.shape.in_c);
    for (int i = 0; i < kWidth; ++i) {
      const std::int32_t value = x.value[i] + op.zero;
      acc.value[i] += w.value[i] * value;
      sum.value[i] += value;
    }
  });
  Lanes<float, kWidth> y{};
  for (int i = 0; i < kWidth; ++i) {
    y.value[i] = sum_value(op.weight_zero, memory, acc.value[i], sum.value[i],
                           channel + static_cast<std::uint32_t>(i));
  }
  finish_lanes<kWidth>(op.out, memory, y, channel, index * kWidth);
}
template <int kWidth = 1>
SQ_HOST_DEVICE void compute(const DepthwiseOp& op, const Memory& memory, std::uint32_t index) {
  op.is_signed ? compute_depthwise<std::int8_t, kWidth>(op, memory, index)
               : compute_depthwise<std::uint8_t, kWidth>(op, memory, index);
}

SQ_HOST_DEVICE std::int64_t num_elements(const PixelConvOp& op) {
  return output_elements(op.shape);
}

// What an output position adds to its channels.
SQ_HOST_DEVICE const float* pixel_shifts(const PixelConvOp& op, const Memory& memory,
                                         const WindowPlace& at) {
  const std::int32_t kind = table_at<std::int32_t>(memory, op.shift_of_row)[at.row];
  return table_at<float>(memory, op.shifts) +
         (static_cast<std::int64_t>(kind) * op.shape.out_w + at.column) * op.shape.out_c;
}

// `y`: the channels' sums, added up.
SQ_HOST_DEVICE void finish_pixel_sum(const PixelConvOp& op, const Memory& memory, float y,
                                     const WindowPlace& at, std::uint32_t channel,
                                     std::uint32_t element) {
  finish(op.out, memory, rounded_sum(y, pixel_shifts(op, memory, at)[channel]), channel, element);
}

SQ_HOST_DEVICE void compute(const PixelConvOp& op, const Memory& memory, std::uint32_t index) {
  const auto outputs = static_cast<std::uint32_t>(op.shape.out_c);
  const std::uint32_t o = index % outputs;
  const WindowPlace at = place_window(op.shape, index / outputs);
  const std::uint8_t* image =
      memory.pixels + static_cast<std::int64_t>(at.image) * image_elements(op.shape);
  const std::int64_t weight_zero =
      op.weight_zero < 0 ? 0 : table_at<std::int64_t>(memory, op.weight_zero)[o];
  const std::int32_t taps = op.shape.kernel_h * op.shape.kernel_w;
  float y = 0;
  for (std::int32_t c = 0; c < op.shape.in_c; ++c) {
    const std::int8_t* weights = table_at<std::int8_t>(memory, op.weights) +
                                 static_cast<std::int64_t>(c) * taps * op.shape.out_c + o;
    std::int32_t acc = 0;
    std::int32_t sum = 0;
    for_each_tap(op.shape, at, [&](std::int32_t tap, std::int32_t position) {
      const std::int32_t value = image[static_cast<std::int64_t>(position) * op.shape.in_c + c];
      acc += weights[tap * op.shape.out_c] * value;
      sum += value;
    });
    const auto v = static_cast<float>(acc + weight_zero * sum);
    const float part =
        rounded_product(v, table_at<float>(memory, op.factors)[c * op.shape.out_c + o]);
    y = c == 0 ? part : rounded_sum(y, part);
  }
  finish_pixel_sum(op, memory, y, at, o, index);
}

SQ_HOST_DEVICE std::int64_t num_elements(const FloatConvOp& op) {
  return output_elements(op.shape);
}

// Two operations, two roundings, as the CPU's loops: it matters for inputs that are not exact.
SQ_HOST_DEVICE double product_added(double acc, double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(acc, __dmul_rn(a, b));
#else
  return acc + a * b;
#endif
}

SQ_HOST_DEVICE void compute(const FloatConvOp& op, const Memory& memory, std::uint32_t index) {
  const auto outputs = static_cast<std::uint32_t>(op.shape.out_c);
  const std::uint32_t o = index % outputs;
  const WindowPlace at = place_window(op.shape, index / outputs);
  const std::int32_t inputs = op.shape.in_c / op.groups;
  const std::uint32_t group = o / (outputs / static_cast<std::uint32_t>(op.groups));
  const float* image = tensor_at<float>(memory, op.input) +
                       static_cast<std::int64_t>(at.image) * image_elements(op.shape) +
                       static_cast<std::int32_t>(group) * inputs;
  const double* weights = table_at<double>(memory, op.weights) + o;
  double acc = 0;
  for_each_tap(op.shape, at, [&](std::int32_t tap, std::int32_t position) {
    const float* x = image + static_cast<std::int64_t>(position) * op.shape.in_c;
    for (std::int32_t i = 0; i < inputs; ++i) {
      acc = product_added(acc, x[i],
                          weights[static_cast<std::int64_t>(tap * inputs + i) * op.shape.out_c]);
    }
  });
  finish(op.out, memory, static_cast<float>(acc), o, index);
}

// ---- Between layers ----

SQ_HOST_DEVICE std::int64_t num_elements(const ElementwiseOp& op) { return op.elements; }
SQ_HOST_DEVICE bool can_take_four(const ElementwiseOp& op) { return op.channels % 4 == 0; }
template <int kWidth = 1>
SQ_HOST_DEVICE void compute(const ElementwiseOp& op, const Memory& memory, std::uint32_t index) {
  const std::uint32_t element = index * kWidth;
  finish_lanes<kWidth>(op.out, memory,
                       lanes_at<kWidth>(tensor_at<float>(memory, op.input) + element),
                       element % static_cast<std::uint32_t>(op.channels), element);
}

SQ_HOST_DEVICE std::int64_t num_elements(const PoolOp& op) { return output_elements(op.shape); }
SQ_HOST_DEVICE bool can_take_four(const PoolOp& op) { return op.shape.in_c % 4 == 0; }

// A pool's window of neighbouring channels.
template <class T, int kWidth>
struct PoolWindow {
  SQ_HOST_DEVICE PoolWindow(const PoolOp& op, const Memory& memory, std::uint32_t index) {
    const std::uint32_t channels = static_cast<std::uint32_t>(op.shape.in_c) / kWidth;
    at = place_window(op.shape, index / channels);
    image = tensor_at<T>(memory, op.input) +
            static_cast<std::int64_t>(at.image) * image_elements(op.shape) +
            index % channels * kWidth;
  }
  // Calls tap(the channels' values) for each tap inside the image.
  template <class Tap>
  SQ_HOST_DEVICE void for_each(const WindowShape& shape, const Tap& tap) const {
    for_each_tap(shape, at, [&](std::int32_t, std::int32_t position) {
      tap(lanes_at<kWidth>(image + static_cast<std::int64_t>(position) * shape.in_c));
    });
  }
  WindowPlace at;
  const T* image;
};

template <class T, int kWidth>
SQ_HOST_DEVICE void compute_max(const PoolOp& op, const Memory& memory, std::uint32_t index,
                                T lowest) {
  bool first = true;
  Lanes<T, kWidth> largest;
  for (T& value : largest.value) value = lowest;  // of a window of nothing but padding
  PoolWindow<T, kWidth>(op, memory, index).for_each(op.shape, [&](const Lanes<T, kWidth>& x) {
    for (int i = 0; i < kWidth; ++i) {
      largest.value[i] = first || x.value[i] > largest.value[i] ? x.value[i] : largest.value[i];
    }
    first = false;
  });
  put_lanes(tensor_at<T>(memory, op.output) + index * kWidth, largest);
}

template <int kWidth>
SQ_HOST_DEVICE void compute_average(const PoolOp& op, const Memory& memory, std::uint32_t index) {
  const WindowShape& shape = op.shape;
  const PoolWindow<float, kWidth> window(op, memory, index);
  Lanes<float, kWidth> sum{};
  std::int32_t taps = 0;
  window.for_each(shape, [&](const Lanes<float, kWidth>& x) {
    for (int i = 0; i < kWidth; ++i) sum.value[i] = rounded_sum(sum.value[i], x.value[i]);
    ++taps;
  });
  if (op.count_include_pad) {
    const WindowPlace& at = window.at;
    taps = (smaller(at.y + shape.kernel_h, shape.in_h + shape.pad_bottom) - at.y) *
           (smaller(at.x + shape.kernel_w, shape.in_w + shape.pad_right) - at.x);
  }
  for (float& value : sum.value) value = rounded_quotient(value, static_cast<float>(taps));
  put_lanes(tensor_at<float>(memory, op.output) + index * kWidth, sum);
}

template <int kWidth = 1>
SQ_HOST_DEVICE void compute(const PoolOp& op, const Memory& memory, std::uint32_t index) {
  switch (op.kind) {
    case PoolKind::kMaxFloat:
      compute_max<float, kWidth>(op, memory, index, -FLT_MAX);
      return;
    case PoolKind::kMaxUint8:
      compute_max<std::uint8_t, kWidth>(op, memory, index, 0);
      return;
    case PoolKind::kMaxInt8:
      compute_max<std::int8_t, kWidth>(op, memory, index, -128);
      return;
    case PoolKind::kAverage:
      compute_average<kWidth>(op, memory, index);
      return;
  }
}

SQ_HOST_DEVICE std::int64_t num_elements(const GlobalAverageOp& op) { return op.channels; }
SQ_HOST_DEVICE bool can_take_four(const GlobalAverageOp& op) { return op.channels % 4 == 0; }
template <int kWidth = 1>
SQ_HOST_DEVICE void compute(const GlobalAverageOp& op, const Memory& memory, std::uint32_t index) {
  const std::uint32_t channels = static_cast<std::uint32_t>(op.channels) / kWidth;
  const std::uint32_t image = index / channels;
  const float* x = tensor_at<float>(memory, op.input) +
                   static_cast<std::int64_t>(image) * op.positions * op.channels +
                   index % channels * kWidth;
  Lanes<float, kWidth> sum{};
  for (std::int32_t p = 0; p < op.positions; ++p) {
    const auto value = lanes_at<kWidth>(x + static_cast<std::int64_t>(p) * op.channels);
    for (int i = 0; i < kWidth; ++i) sum.value[i] = rounded_sum(sum.value[i], value.value[i]);
  }
  for (float& value : sum.value) {
    value = rounded_quotient(value, static_cast<float>(op.positions));
  }
  put_lanes(tensor_at<float>(memory, op.output) + index * kWidth, sum);
}

struct alignas(16) Word16 {
  std::uint32_t part[4];
};

template <class Word>
SQ_HOST_DEVICE void copy_word(const CopyOp& op, const Memory& memory, std::uint32_t index) {
  const auto row_words = static_cast<std::uint32_t>(op.row_words);
  const std::uint32_t row = index / row_words;
  tensor_at<Word>(
      memory,
      op.output)[static_cast<std::int64_t>(row) * op.pitch_words + (index - row * row_words)] =
      tensor_at<Word>(memory, op.input)[index];
}
SQ_HOST_DEVICE std::int64_t num_elements(const CopyOp& op) { return op.rows * op.row_words; }
SQ_HOST_DEVICE void compute(const CopyOp& op, const Memory& memory, std::uint32_t index) {
  if (op.word_bytes == 16) {
    copy_word<Word16>(op, memory, index);
  } else if (op.word_bytes == 4) {
    copy_word<std::uint32_t>(op, memory, index);
  } else {
    copy_word<std::uint8_t>(op, memory, index);
  }
}

template <class T>
SQ_HOST_DEVICE void shuffle_element(const ShuffleOp& op, const Memory& memory,
                                    std::uint32_t index) {
  const auto channels = static_cast<std::uint32_t>(op.channels);
  const auto groups = static_cast<std::uint32_t>(op.groups);
  const std::uint32_t to = index % channels;
  const std::uint32_t from = to % groups * (channels / groups) + to / groups;
  tensor_at<T>(memory, op.output)[index] = tensor_at<T>(memory, op.input)[index - to + from];
}
SQ_HOST_DEVICE std::int64_t num_elements(const ShuffleOp& op) { return op.positions * op.channels; }
SQ_HOST_DEVICE void compute(const ShuffleOp& op, const Memory& memory, std::uint32_t index) {
  op.element_bytes == 4 ? shuffle_element<std::uint32_t>(op, memory, index)
                        : shuffle_element<std::uint8_t>(op, memory, index);
}

// ---- The network's input ----

SQ_HOST_DEVICE std::int64_t num_elements(const NormalizeOp& op) { return op.elements; }
SQ_HOST_DEVICE void compute(const NormalizeOp& op, const Memory& memory, std::uint32_t index) {
  const std::uint32_t channel = index % static_cast<std::uint32_t>(op.channels);
  tensor_at<float>(memory, op.output)[index] =
      table_at<float>(memory, op.table)[channel * 256 + memory.pixels[index]];
}

SQ_HOST_DEVICE std::int64_t num_elements(const ChannelsLastOp& op) {
  return op.positions * op.channels;
}
SQ_HOST_DEVICE void compute(const ChannelsLastOp& op, const Memory& memory, std::uint32_t index) {
  const auto channels = static_cast<std::uint32_t>(op.channels);
  const auto positions = static_cast<std::uint32_t>(op.positions);
  const std::uint32_t pixel = index / channels;
  const std::uint32_t image = pixel / positions;
  const std::int64_t plane = static_cast<std::int64_t>(image) * channels + index % channels;
  tensor_at<float>(memory, op.output)[index] =
      memory.input[plane * positions + (pixel - image * positions)];
}

// Whether there is compute<4>() for an operation.
template <class Op, class = void>
inline constexpr bool kComesInFours = false;
template <class Op>
inline constexpr bool kComesInFours<Op, decltype(void(can_take_four(std::declval<Op>())))> = true;

}  // namespace squant::eval::cuda
