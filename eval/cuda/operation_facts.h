// What an operation of a GPU has to do, whatever computes it: for measurements.
#pragma once

#include <cstdint>
#include <string>

namespace squant::eval::cuda {

// Sizes are those of one image, channels last. Bytes are what has to be read and written at least:
// every input, output and weight once.
struct OperationFacts {
  std::string kind;    // "conv", "depthwise", "pixel conv", "max pool", "copy", ...
  std::string kernel;  // operation_kernel(); "elements" where there are no weights
  // An operation that knows neither height nor width has positions in a row.
  std::int64_t in_h = 1, in_w = 1, in_c = 1;
  std::int64_t out_h = 1, out_w = 1, out_c = 1;
  std::int64_t kernel_h = 1, kernel_w = 1, stride = 1, groups = 1;
  std::int64_t macs = 0;          // products with weights
  std::int64_t image_bytes = 0;   // inputs, outputs and what is added
  std::int64_t weight_bytes = 0;  // of a batch, however large
};

}  // namespace squant::eval::cuda
