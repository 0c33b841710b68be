#include "eval/engine/integer_engine_layer.h"

#include <utility>

#include "eval/engine/integer_constants.h"

namespace squant::eval {
namespace {

Epilogue make_epilogue(const Step& step, const ChannelAffine& affine) {
  Epilogue epilogue;
  epilogue.multiplier = ChannelValues(rounded(affine.multiplier));
  epilogue.addend = ChannelValues(rounded(affine.addend));
  epilogue.before_add = step.before_add;
  epilogue.after_add = step.after_add;
  return epilogue;
}

// Runs the epilogue over positions [first, first + count) of an image, v starting at `first`.
void finish(const Epilogue& epilogue, const float* v, std::int64_t first, std::int64_t count,
            const float* residual, const LayerOutputs& outputs, Scratch& scratch) {
  const std::int64_t channels = epilogue.multiplier.channels();
  const std::int64_t offset = first * channels;
  EpilogueOutputs to;
  to.values = outputs.values == nullptr ? nullptr : outputs.values + offset;
  if (outputs.codes.size() > 1 && to.values == nullptr) {
    to.values = scratch.get<float>(ScratchUse::kEpilogue, count * channels);
  }
  if (!outputs.codes.empty()) {
    to.codes = outputs.codes.front() + offset;
    to.quantizer = outputs.quantizers.front();
  }
  run_epilogue(epilogue, v, residual == nullptr ? nullptr : residual + offset, count, to);
  for (std::size_t i = 1; i < outputs.codes.size(); ++i) {
    quantize_values(*outputs.quantizers[i], to.values, count * channels, outputs.codes[i] + offset);
  }
}

class CodeLayer final : public IntegerLayer {
 public:
  CodeLayer(std::unique_ptr<IntConv> conv, Epilogue epilogue, std::int64_t width)
      : conv_(std::move(conv)), epilogue_(std::move(epilogue)), width_(width) {}

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    for (const Strip& strip : conv_->strips()) {
      auto* v = scratch.get<float>(ScratchUse::kValues,
                                   strip.count * width_ * epilogue_.multiplier.channels());
      conv_->run(input, strip, scratch, v);
      finish(epilogue_, v, strip.first * width_, strip.count * width_, residual, outputs, scratch);
    }
  }
  const char* kernel() const override { return sum_kernel_name(conv_->kernel()); }
  double sum_bound() const override { return conv_->bound(); }
  std::int64_t memory_bytes() const override { return conv_->memory_bytes(); }

 private:
  std::unique_ptr<IntConv> conv_;
  Epilogue epilogue_;
  std::int64_t width_;  // of the output
};

class FloatInputLayer final : public IntegerLayer {
 public:
  FloatInputLayer(const IntConvProblem& problem, Epilogue epilogue)
      : conv_(problem),
        epilogue_(std::move(epilogue)),
        positions_(problem.output.height * problem.output.width) {}

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    auto* v = scratch.get<float>(ScratchUse::kValues, positions_ * epilogue_.multiplier.channels());
    conv_.run(static_cast<const float*>(input), scratch, v);
    finish(epilogue_, v, 0, positions_, residual, outputs, scratch);
  }
  const char* kernel() const override { return "float64"; }
  double sum_bound() const override { return 0; }
  std::int64_t memory_bytes() const override { return 0; }

 private:
  FloatInputConv conv_;
  Epilogue epilogue_;
  std::int64_t positions_;
};

// The first layer on pixels: the sums of its input channels, brought together in float32.
class PixelLayer final : public IntegerLayer {
 public:
  PixelLayer(const IntConvProblem& problem, PixelConstants constants, Epilogue epilogue,
             std::optional<SumKernel> kernel)
      : conv_(problem, kernel),
        epilogue_(std::move(epilogue)),
        output_(problem.output),
        constants_(std::move(constants)) {
    epilogue_.has_affine = false;
  }

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    conv_.load(static_cast<const std::uint8_t*>(input), scratch);
    const std::int64_t channels =
        static_cast<std::int64_t>(constants_.factors.size()) / output_.channels;
    for (const Strip& strip : conv_.strips()) {
      const std::int64_t row_values = output_.width * output_.channels;
      auto* v = scratch.get<float>(ScratchUse::kValues, strip.count * row_values * channels);
      conv_.run(strip, scratch, v);
      auto* y = scratch.get<float>(ScratchUse::kCombined, strip.count * row_values);
      for (std::int64_t row = 0; row < strip.count; ++row) {
        const std::vector<float>& shift =
            constants_.shifts[constants_.shift_of_row[static_cast<std::size_t>(strip.first + row)]];
        combine_channels(v + row * row_values * channels, constants_.factors.data(), shift.data(),
                         output_.width, channels, output_.channels, y + row * row_values);
      }
      finish(epilogue_, y, strip.first * output_.width, strip.count * output_.width, residual,
             outputs, scratch);
    }
  }
  const char* kernel() const override { return sum_kernel_name(conv_.kernel()); }
  double sum_bound() const override { return conv_.bound(); }
  std::int64_t memory_bytes() const override { return conv_.memory_bytes(); }

 private:
  PixelConv conv_;
  Epilogue epilogue_;
  Shape output_;
  PixelConstants constants_;
};

}  // namespace

std::unique_ptr<IntegerLayer> make_code_layer(const Model& model, const Step& step,
                                              const QuantizedLayer& weights,
                                              const quant::ActivationAffine& affine,
                                              std::optional<SumKernel> kernel) {
  IntConvProblem problem = conv_problem(model, step, weights);
  problem.format = code_format(affine);
  return std::make_unique<CodeLayer>(
      make_int_conv(problem, kernel),
      make_epilogue(step, sum_affine(real_affine(model, step), weights.scale, affine.scale)),
      problem.output.width);
}

std::unique_ptr<IntegerLayer> make_float_input_layer(const Model& model, const Step& step,
                                                     const QuantizedLayer& weights) {
  return std::make_unique<FloatInputLayer>(
      conv_problem(model, step, weights),
      make_epilogue(step, sum_affine(real_affine(model, step), weights.scale, 1.0)));
}

std::unique_ptr<IntegerLayer> make_pixel_layer(const Model& model, const Step& step,
                                               const QuantizedLayer& weights,
                                               std::optional<SumKernel> kernel) {
  const IntConvProblem problem = conv_problem(model, step, weights);
  if (problem.groups != 1) {
    return nullptr;
  }
  const ChannelAffine real = real_affine(model, step);
  return std::make_unique<PixelLayer>(
      problem, pixel_constants(problem, *model.info, real, weights.scale),
      make_epilogue(step, sum_affine(real, weights.scale, 1.0)), kernel);
}

}  // namespace squant::eval
