// Element types of stored tensors, and how their bytes become float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace squant::eval {

// What the bytes of one element mean. Integers and booleans are told apart from floats only: none
// is ever read as a number.
enum class ElementKind : std::uint8_t {
  kFloat64,
  kFloat32,
  kFloat16,
  kBFloat16,
  kInteger,
  kOtherFloat
};

struct ElementType {
  ElementKind kind;
  std::size_t size_bytes;
  std::string_view dtype;  // its name in a safetensors header: "F32", "I64", ...

  bool operator==(const ElementType&) const = default;
};

// By the name in a safetensors header ("F32") or by a torch storage class ("FloatStorage"); empty:
// not known.
std::optional<ElementType> safetensors_element_type(std::string_view name);
std::optional<ElementType> torch_storage_element_type(std::string_view name);

// True for the four kinds that to_float32 reads.
bool is_readable_float(ElementKind kind);

// Number of elements of a shape; empty when a dimension is negative, the rank is above 64, or the
// product of the dimensions (zeros aside, so that no partial product of it can overflow either)
// exceeds 2^62.
std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape);

// Widens (float64: rounds) `count` little-endian elements at `source`, which need not be aligned.
// `kind` is a readable float.
void to_float32(ElementKind kind, const std::byte* source, std::int64_t count, float* out);

}  // namespace squant::eval
