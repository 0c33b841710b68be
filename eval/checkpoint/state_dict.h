// A checkpoint in memory: named float32 tensors on the host.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace squant::eval {

struct HostTensor {
  std::vector<std::int64_t> shape;  // row-major, contiguous; empty: a scalar
  std::vector<float> values;
};

// Sorted by name. Integer entries that only training needs (num_batches_tracked) are left out.
using StateDict = std::map<std::string, HostTensor>;

}  // namespace squant::eval
