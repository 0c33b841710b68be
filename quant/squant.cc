#include "quant/squant.h"

#include <limits>
#include <stdexcept>

#include "quant/validate.h"

namespace squant::quant {
namespace {

constexpr const char* kModeNames[] = {"squant-e", "squant-k", "squant-c", "squant"};
constexpr const char* kRoundingNames[] = {"current", "paper"};

// The position of `name` among `names`; throws, listing them.
template <std::size_t kSize>
std::size_t find_name(const char* const (&names)[kSize], const std::string& name,
                      const char* what) {
  std::string known;
  for (std::size_t i = 0; i < kSize; ++i) {
    if (name == names[i]) return i;
    known += std::string(i == 0 ? "" : ", ") + names[i];
  }
  throw std::invalid_argument(std::string("unknown ") + what + " '" + name +
                              "', expected one of: " + known);
}

std::string shape_text(std::span<const std::int64_t> dimensions) {
  std::string text = "[";
  for (const std::int64_t dimension : dimensions)
    text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
  return text + "]";
}

// a * b, both positive; -1 where it overflows.
std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  return a > std::numeric_limits<std::int64_t>::max() / b ? -1 : a * b;
}

// For a checked product: are so many floats beyond what can be addressed?
bool is_too_large(std::int64_t size) {
  return size < 0 ||
         size > std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

const char* mode_name(Mode mode) { return kModeNames[static_cast<std::size_t>(mode)]; }
const char* rounding_name(Rounding rounding) {
  return kRoundingNames[static_cast<std::size_t>(rounding)];
}

Mode parse_mode(const std::string& name) {
  return static_cast<Mode>(find_name(kModeNames, name, "mode"));
}
Rounding parse_rounding(const std::string& name) {
  return static_cast<Rounding>(find_name(kRoundingNames, name, "rounding"));
}

WeightShape weight_shape(std::span<const std::int64_t> dimensions, const std::string& tensor) {
  const std::string where =
      "weight_shape: tensor '" + tensor + "' of shape " + shape_text(dimensions);
  if (dimensions.size() < 2) {
    throw std::invalid_argument(where +
                                ": a weight to quantize has at least 2 dimensions [O, I, ...]");
  }
  for (const std::int64_t dimension : dimensions) {
    if (dimension < 1) throw std::invalid_argument(where + ": every dimension must be at least 1");
  }
  WeightShape shape{.out = dimensions[0], .in = dimensions[1], .kernel = 1};
  std::int64_t size = checked_product(shape.out, shape.in);
  for (const std::int64_t dimension : dimensions.subspan(2)) {
    if (size > 0) size = checked_product(size, dimension);
    if (size > 0) shape.kernel *= dimension;
  }
  if (is_too_large(size)) {
    throw std::invalid_argument(where + ": its size overflows");
  }
  return shape;
}

void check_bits(int bits, const char* function) {
  if (bits < kMinBits || bits > kMaxBits) {
    throw std::invalid_argument(std::string(function) + ": bits must be in [2, 8], got " +
                                std::to_string(bits));
  }
}

void check_tensor(const SquantTensor& tensor, const char* function) {
  const WeightShape& shape = tensor.shape;
  const auto refuse = [&](const std::string& what) {
    const std::int64_t dimensions[] = {shape.out, shape.in, shape.kernel};
    throw std::invalid_argument(std::string(function) + ": tensor '" + tensor.name +
                                "' of shape [O, I, K] = " + shape_text(dimensions) + what);
  };
  if (shape.out < 1 || shape.in < 1 || shape.kernel < 1) {
    refuse(" is empty: every dimension must be at least 1");
  }
  const std::int64_t row = checked_product(shape.in, shape.kernel);
  if (row < 0 || row > kMaxRow) {
    refuse(": an output channel may have at most " + std::to_string(kMaxRow) + " weights");
  }
  if (is_too_large(checked_product(shape.out, row))) refuse(": its size overflows");
  if (tensor.weights == nullptr) refuse(": weights is a null pointer");
  if (tensor.codes == nullptr) refuse(": codes is a null pointer");
  if (tensor.scale == nullptr) refuse(": scale is a null pointer");
  if (tensor.zero_point == nullptr) refuse(": zero_point is a null pointer");
}

}  // namespace squant::quant
