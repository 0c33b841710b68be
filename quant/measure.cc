#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/lanes/lanes.h"
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

double error_of(float weight, std::int8_t code, Affine affine) {
  return static_cast<double>(code) - static_cast<double>(to_code_units(weight, affine));
}

SquantErrors kernel_errors(const SquantTensor& tensor, std::int64_t row) {
  const WeightShape& shape = tensor.shape;
  const Affine affine = affine_of(tensor, row);
  SquantErrors errors;
  double channel = 0;
  std::int64_t at = row * shape.row();
  for (std::int64_t i = 0; i < shape.in; ++i) {
    double kernel = 0;
    for (std::int64_t j = 0; j < shape.kernel; ++j, ++at) {
      const double error = error_of(tensor.weights[at], tensor.codes[at], affine);
      errors.squared += error * error;
      kernel += error;
    }
    errors.max_kernel = std::max(errors.max_kernel, std::fabs(kernel));
    channel += kernel;
  }
  errors.max_channel = std::fabs(channel);
  return errors;
}

// Where a kernel is one element. In lanes; what does not fill them goes to the first ones, and the
// lanes are summed in their order.
SquantErrors element_errors(const SquantTensor& tensor, std::int64_t row, const LaneLoops& loops) {
  const std::int64_t size = tensor.shape.row();
  const Affine affine = affine_of(tensor, row);
  const float* const weights = tensor.weights + row * size;
  const std::int8_t* const codes = tensor.codes + row * size;
  const std::int64_t whole = size / kErrorLanes * kErrorLanes;
  ElementErrors lanes;
  loops.measure_elements(weights, codes, whole, affine, lanes);
  for (std::int64_t i = whole; i < size; ++i) {
    const double error = error_of(weights[i], codes[i], affine);
    const std::int64_t lane = i - whole;
    lanes.squared[lane] += error * error;
    lanes.sum[lane] += error;
    lanes.largest[lane] = std::max(lanes.largest[lane], std::fabs(error));
  }
  SquantErrors errors;
  double channel = 0;
  for (std::int64_t lane = 0; lane < kErrorLanes; ++lane) {
    errors.squared += lanes.squared[lane];
    errors.max_kernel = std::max(errors.max_kernel, lanes.largest[lane]);
    channel += lanes.sum[lane];
  }
  errors.max_channel = std::fabs(channel);
  return errors;
}

SquantErrors row_errors(const SquantTensor& tensor, std::int64_t row) {
  if (tensor.shape.kernel > 1) return kernel_errors(tensor, row);
  const LaneLoops* const loops = lane_loops(best_simd());
  return element_errors(tensor, row, loops != nullptr ? *loops : kLaneLoops128);
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

void dequantize(const SquantTensor& tensor, float* weights, int num_threads) {
  check_tensor(tensor, "dequantize");
  if (weights == nullptr) {
    throw std::invalid_argument("dequantize: tensor '" + tensor.name +
                                "': no memory for the weights (null pointer)");
  }
  const std::int64_t num_rows = tensor.shape.out;
  const std::int64_t row_size = tensor.shape.row();
#pragma omp parallel for schedule(static) if (tensor.shape.size() >= kMinParallel && \
                                              num_threads != 1)
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const Affine affine = affine_of(tensor, row);
    for (std::int64_t i = row * row_size; i < (row + 1) * row_size; ++i) {
      weights[i] = from_code(static_cast<float>(tensor.codes[i]), affine);
    }
  }
}

}  // namespace squant::quant
