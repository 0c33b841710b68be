#include "eval/checkpoint/element_type.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace squant::eval {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are read as little-endian, in place");

// Every element type under the names that the formats give it; no storage: torch has none, or none
// that is read.
struct NamedType {
  const char* storage;
  ElementType type;
};

constexpr std::array kTypes = {
    NamedType{"BoolStorage", {ElementKind::kInteger, 1, "BOOL"}},
    NamedType{"ByteStorage", {ElementKind::kInteger, 1, "U8"}},
    NamedType{"CharStorage", {ElementKind::kInteger, 1, "I8"}},
    NamedType{"", {ElementKind::kInteger, 2, "U16"}},
    NamedType{"ShortStorage", {ElementKind::kInteger, 2, "I16"}},
    NamedType{"", {ElementKind::kInteger, 4, "U32"}},
    NamedType{"IntStorage", {ElementKind::kInteger, 4, "I32"}},
    NamedType{"", {ElementKind::kInteger, 8, "U64"}},
    NamedType{"LongStorage", {ElementKind::kInteger, 8, "I64"}},
    NamedType{"HalfStorage", {ElementKind::kFloat16, 2, "F16"}},
    NamedType{"BFloat16Storage", {ElementKind::kBFloat16, 2, "BF16"}},
    NamedType{"FloatStorage", {ElementKind::kFloat32, 4, "F32"}},
    NamedType{"DoubleStorage", {ElementKind::kFloat64, 8, "F64"}},
    NamedType{"", {ElementKind::kOtherFloat, 1, "F8_E4M3"}},
    NamedType{"", {ElementKind::kOtherFloat, 1, "F8_E5M2"}},
    NamedType{"", {ElementKind::kOtherFloat, 1, "F8_E8M0"}},
    NamedType{"", {ElementKind::kOtherFloat, 8, "C64"}},
};

template <typename Matches>
std::optional<ElementType> find(Matches matches) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), matches);
  if (found == kTypes.end()) return std::nullopt;
  return found->type;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t biased = exponent == 31 ? 255u : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13));
}

template <typename Stored, typename Convert>
void convert_each(const std::byte* source, std::int64_t count, float* out, Convert convert) {
  for (std::int64_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, source + static_cast<std::size_t>(i) * sizeof(Stored), sizeof(Stored));
    out[i] = convert(stored);
  }
}

}  // namespace

std::optional<ElementType> safetensors_element_type(std::string_view name) {
  return find([&](const NamedType& known) { return known.type.dtype == name; });
}

std::optional<ElementType> torch_storage_element_type(std::string_view name) {
  return find([&](const NamedType& known) { return !name.empty() && known.storage == name; });
}

bool is_readable_float(ElementKind kind) {
  return kind != ElementKind::kInteger && kind != ElementKind::kOtherFloat;
}

std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  constexpr std::int64_t kMax = std::int64_t{1} << 62;
  if (shape.size() > 64) return std::nullopt;
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      empty = true;
      continue;
    }
    if (product > kMax / dim) return std::nullopt;
    product *= dim;
  }
  return empty ? 0 : product;
}

void to_float32(ElementKind kind, const std::byte* source, std::int64_t count, float* out) {
  if (count == 0) return;
  switch (kind) {
    case ElementKind::kFloat32:
      std::memcpy(out, source, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case ElementKind::kFloat64:
      convert_each<double>(source, count, out, [](double v) { return static_cast<float>(v); });
      return;
    case ElementKind::kFloat16:
      convert_each<std::uint16_t>(source, count, out, half_to_float);
      return;
    case ElementKind::kBFloat16:
      convert_each<std::uint16_t>(source, count, out, [](std::uint16_t v) {
        return std::bit_cast<float>(std::uint32_t{v} << 16);
      });
      return;
    case ElementKind::kInteger:
    case ElementKind::kOtherFloat:
      return;  // excluded by the contract
  }
}

}  // namespace squant::eval
