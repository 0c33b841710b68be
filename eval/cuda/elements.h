// Every operation, one element at a time: what plain CUDA kernels run with a thread an element, and
// what host tests run in a loop. Each is the definition that faster kernels are compared with.
//
// num_elements(op): of one image. compute(op, memory, index): element `index` of the batch, below
// n * num_elements(op) < 2^31. C++17, host and device.
#pragma once

#include <cfloat>
#include <cstdint>

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

// The epilogue of one value; `element`: its index in the output tensors.
SQ_HOST_DEVICE void finish(const Outputs& out, const Memory& memory, float y, std::uint32_t channel,
                           std::uint32_t element) {
  if (out.multiplier >= 0) {
    y = rounded_product(y, table_at<float>(memory, out.multiplier)[channel]);
    y = rounded_sum(y, table_at<float>(memory, out.addend)[channel]);
  }
  y = clamp_value(y, out.before_add.lo, out.before_add.hi);
  if (out.residual >= 0) {
    y = rounded_sum(y, tensor_at<float>(memory, out.residual)[element]);
    y = clamp_value(y, out.after_add.lo, out.after_add.hi);
  }
  if (out.values >= 0) tensor_at<float>(memory, out.values)[element] = y;
  const CodeOutput* codes = table_at<CodeOutput>(memory, out.codes);
  for (std::int32_t i = 0; i < out.num_codes; ++i) {
    tensor_at<std::uint8_t>(memory, codes[i].tensor)[element] =
        quantize_value(y, codes[i].quantizer);
  }
}

// The epilogue of an integer sum: `acc` of the stored weights, `sum` of X.
SQ_HOST_DEVICE void finish_sum(const Outputs& out, std::int64_t weight_zero, const Memory& memory,
                               std::int64_t acc, std::int64_t sum, std::uint32_t channel,
                               std::uint32_t element) {
  if (weight_zero >= 0) acc += table_at<std::int64_t>(memory, weight_zero)[channel] * sum;
  finish(out, memory, static_cast<float>(acc), channel, element);
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

template <class Stored>
SQ_HOST_DEVICE void compute_depthwise(const DepthwiseOp& op, const Memory& memory,
                                      std::uint32_t index) {
  const auto channels = static_cast<std::uint32_t>(op.shape.in_c);
  const std::uint32_t channel = index % channels;
  const WindowPlace at = place_window(op.shape, index / channels);
  const Stored* image = tensor_at<Stored>(memory, op.input) +
                        static_cast<std::int64_t>(at.image) * image_elements(op.shape) + channel;
  const std::int8_t* weights = table_at<std::int8_t>(memory, op.weights) + channel;
  std::int32_t acc = 0;
  std::int32_t sum = 0;
  for_each_tap(op.shape, at, [&](std::int32_t tap, std::int32_t position) {
    const std::int32_t value = image[static_cast<std::int64_t>(position) * op.shape.in_c] + op.zero;
    acc += weights[tap * op.shape.in_c] * value;
    sum += value;
  });
  finish_sum(op.out, op.weight_zero, memory, acc, sum, channel, index);
}
SQ_HOST_DEVICE void compute(const DepthwiseOp& op, const Memory& memory, std::uint32_t index) {
  op.is_signed ? compute_depthwise<std::int8_t>(op, memory, index)
               : compute_depthwise<std::uint8_t>(op, memory, index);
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
SQ_HOST_DEVICE void compute(const ElementwiseOp& op, const Memory& memory, std::uint32_t index) {
  finish(op.out, memory, tensor_at<float>(memory, op.input)[index],
         index % static_cast<std::uint32_t>(op.channels), index);
}

SQ_HOST_DEVICE std::int64_t num_elements(const PoolOp& op) { return output_elements(op.shape); }

template <class T>
SQ_HOST_DEVICE void compute_max(const PoolOp& op, const Memory& memory, std::uint32_t index,
                                T lowest) {
  const auto channels = static_cast<std::uint32_t>(op.shape.in_c);
  const WindowPlace at = place_window(op.shape, index / channels);
  const T* image = tensor_at<T>(memory, op.input) +
                   static_cast<std::int64_t>(at.image) * image_elements(op.shape) +
                   index % channels;
  bool first = true;
  T largest = lowest;  // of a window of nothing but padding
  for_each_tap(op.shape, at, [&](std::int32_t, std::int32_t position) {
    const T x = image[static_cast<std::int64_t>(position) * op.shape.in_c];
    largest = first || x > largest ? x : largest;
    first = false;
  });
  tensor_at<T>(memory, op.output)[index] = largest;
}

SQ_HOST_DEVICE void compute_average(const PoolOp& op, const Memory& memory, std::uint32_t index) {
  const WindowShape& shape = op.shape;
  const auto channels = static_cast<std::uint32_t>(shape.in_c);
  const WindowPlace at = place_window(shape, index / channels);
  const float* image = tensor_at<float>(memory, op.input) +
                       static_cast<std::int64_t>(at.image) * image_elements(shape) +
                       index % channels;
  float sum = 0;
  std::int32_t taps = 0;
  for_each_tap(shape, at, [&](std::int32_t, std::int32_t position) {
    sum = rounded_sum(sum, image[static_cast<std::int64_t>(position) * shape.in_c]);
    ++taps;
  });
  if (op.count_include_pad) {
    taps = (smaller(at.y + shape.kernel_h, shape.in_h + shape.pad_bottom) - at.y) *
           (smaller(at.x + shape.kernel_w, shape.in_w + shape.pad_right) - at.x);
  }
  tensor_at<float>(memory, op.output)[index] = rounded_quotient(sum, static_cast<float>(taps));
}

SQ_HOST_DEVICE void compute(const PoolOp& op, const Memory& memory, std::uint32_t index) {
  switch (op.kind) {
    case PoolKind::kMaxFloat:
      compute_max<float>(op, memory, index, -FLT_MAX);
      return;
    case PoolKind::kMaxUint8:
      compute_max<std::uint8_t>(op, memory, index, 0);
      return;
    case PoolKind::kMaxInt8:
      compute_max<std::int8_t>(op, memory, index, -128);
      return;
    case PoolKind::kAverage:
      compute_average(op, memory, index);
      return;
  }
}

SQ_HOST_DEVICE std::int64_t num_elements(const GlobalAverageOp& op) { return op.channels; }
SQ_HOST_DEVICE void compute(const GlobalAverageOp& op, const Memory& memory, std::uint32_t index) {
  const auto channels = static_cast<std::uint32_t>(op.channels);
  const std::uint32_t image = index / channels;
  const float* x = tensor_at<float>(memory, op.input) +
                   static_cast<std::int64_t>(image) * op.positions * op.channels + index % channels;
  float sum = 0;
  for (std::int32_t p = 0; p < op.positions; ++p) {
    sum = rounded_sum(sum, x[static_cast<std::int64_t>(p) * op.channels]);
  }
  tensor_at<float>(memory, op.output)[index] =
      rounded_quotient(sum, static_cast<float>(op.positions));
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

}  // namespace squant::eval::cuda
