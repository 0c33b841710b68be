// The IDX format of the MNIST family: 0, 0, type, number of dimensions, each dimension as a
// big-endian uint32, values.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/images/dataset.h"

namespace squant::eval {

struct IdxArray {
  std::vector<std::int64_t> dims;
  std::vector<std::uint8_t> values;  // exactly the product of `dims`
};

// A whole file's bytes, gzip or plain, told apart by content. Only unsigned bytes (type 0x08), one
// to four dimensions. Every length is checked before memory is taken. Throws std::invalid_argument;
// `where` names the file in messages.
IdxArray parse_idx(std::span<const std::uint8_t> file, const std::string& where);

// The data set of an images file [N, H, W] and a labels file [N], in the order of image_order.h.
// The pixels stay in memory.
std::unique_ptr<Dataset> open_idx(const std::string& images, const std::string& labels,
                                  const std::string& order);

// Fashion-MNIST where it is installed; `part` is "test" or "train". Looked for in fashion-mnist/ of
// the user's cache folder (scripts/fetch-fashion-mnist.sh), then in /usr/share/datasets (Debian's
// dataset-fashion-mnist).
std::unique_ptr<Dataset> open_fashion_mnist(const std::string& part, const std::string& order);

}  // namespace squant::eval
