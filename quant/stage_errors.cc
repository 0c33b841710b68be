#include "quant/stage_errors.h"

#include <vector>

#include "quant/numerics.h"

namespace squant::quant {

StageErrors squant_stage_errors(const SquantTensor& tensor, const SquantOptions& options) {
  std::vector<std::int8_t> codes(static_cast<std::size_t>(tensor.shape.size()));
  std::vector<float> scale(static_cast<std::size_t>(tensor.shape.out));
  std::vector<float> zero_point(scale.size());
  SquantTensor copy = tensor;
  copy.codes = codes.data();
  copy.scale = scale.data();
  copy.zero_point = zero_point.data();
  const auto errors_of = [&](Mode mode) {
    SquantOptions with = options;
    with.mode = mode;
    squant_cpu(std::span(&copy, 1), with);
    return squant_errors(copy, with);
  };
  StageErrors errors;
  errors.e = errors_of(Mode::kE);
  if (has_kernel_stage(options.mode)) errors.k = errors_of(Mode::kEK);
  if (has_channel_stage(options.mode)) errors.c = errors_of(options.mode);
  return errors;
}

}  // namespace squant::quant
