#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/numerics.h"
#include "quant/squant.h"
#include "quant/validate.h"

namespace squant::quant {
namespace {

// Below this many weights a second thread costs more than it saves.
constexpr std::int64_t kMinParallel = 1 << 16;

Affine affine_of(const SquantTensor& tensor, std::int64_t row) {
  return {tensor.scale[row], tensor.zero_point[row]};
}

SquantErrors row_errors(const SquantTensor& tensor, std::int64_t row) {
  const WeightShape& shape = tensor.shape;
  const Affine affine = affine_of(tensor, row);
  SquantErrors errors;
  double channel = 0;
  std::int64_t at = row * shape.row();
  for (std::int64_t i = 0; i < shape.in; ++i) {
    double kernel = 0;
    for (std::int64_t j = 0; j < shape.kernel; ++j, ++at) {
      const double error =
          static_cast<double>(tensor.codes[at]) - to_code_units(tensor.weights[at], affine);
      errors.squared += error * error;
      kernel += error;
    }
    errors.max_kernel = std::max(errors.max_kernel, std::fabs(kernel));
    channel += kernel;
  }
  errors.max_channel = std::fabs(channel);
  return errors;
}

}  // namespace

SquantErrors squant_errors(const SquantTensor& tensor, const SquantOptions& options) {
  check_bits(options.bits, "squant_errors");
  check_tensor(tensor, "squant_errors");
  const std::int64_t num_rows = tensor.shape.out;
  std::vector<SquantErrors> rows(static_cast<std::size_t>(num_rows));
#pragma omp parallel for schedule(static) if (tensor.shape.size() >= kMinParallel && \
                                              options.num_threads != 1)
  for (std::int64_t row = 0; row < num_rows; ++row)
    rows[static_cast<std::size_t>(row)] = row_errors(tensor, row);

  SquantErrors errors;  // summed in the order of the channels, whatever the threads did
  for (const SquantErrors& row : rows) {
    errors.squared += row.squared;
    errors.max_kernel = std::max(errors.max_kernel, row.max_kernel);
    errors.max_channel = std::max(errors.max_channel, row.max_channel);
  }
  return errors;
}

void dequantize(const SquantTensor& tensor, float* weights) {
  check_tensor(tensor, "dequantize");
  if (weights == nullptr) {
    throw std::invalid_argument("dequantize: tensor '" + tensor.name +
                                "': no memory for the weights (null pointer)");
  }
  const std::int64_t num_rows = tensor.shape.out;
  const std::int64_t row_size = tensor.shape.row();
#pragma omp parallel for schedule(static) if (tensor.shape.size() >= kMinParallel)
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const Affine affine = affine_of(tensor, row);
    for (std::int64_t i = row * row_size; i < (row + 1) * row_size; ++i) {
      weights[i] = from_code(static_cast<float>(tensor.codes[i]), affine);
    }
  }
}

}  // namespace squant::quant
