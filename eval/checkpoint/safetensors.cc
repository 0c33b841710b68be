#include "eval/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "eval/checkpoint/element_type.h"
#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes =
    100'000'000;  // the limit of the format's own implementation

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": not a valid safetensors file: " + what);
}

// Parses the header; refuses what JSON lets pass and the format does not: a key twice, deep
// nesting.
json parse_header(std::string_view text, const std::string& where) {
  if (text.empty() || text.front() != '{') fail(where, "the header does not start with '{'");
  std::vector<std::set<std::string>> open_objects;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth > 2) fail(where, "the header nests deeper than name, field, list");
        if (event == json::parse_event_t::object_start) open_objects.emplace_back();
        break;
      case json::parse_event_t::object_end:
        open_objects.pop_back();
        break;
      case json::parse_event_t::key:
        if (!open_objects.back().insert(parsed.get<std::string>()).second) {
          fail(where, "the header has the key " + quote(parsed.get<std::string>()) + " twice");
        }
        break;
      default:
        break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& error) {
    fail(where, "the header is not JSON: " + quote(error.what()));  // it repeats what it read
  }
}

std::uint64_t unsigned_value(const json& value, const std::string& where, const std::string& what) {
  if (!value.is_number_unsigned()) fail(where, what + " is not a non-negative integer");
  return value.get<std::uint64_t>();
}

SafetensorsEntry parse_entry(const std::string& name, const json& fields,
                             std::span<const std::byte> data, const std::string& where) {
  const std::string tensor = "tensor " + quote(name);
  if (!fields.is_object()) fail(where, tensor + " is not described by an object");
  for (const auto& [key, unused] : fields.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      fail(where, tensor + ": unknown field " + quote(key));
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!fields.contains(key)) fail(where, tensor + ": " + key + " is missing");
  }
  SafetensorsEntry entry;
  if (!fields["dtype"].is_string()) fail(where, tensor + ": dtype is not a string");
  entry.dtype = fields["dtype"].get<std::string>();
  const auto type = safetensors_element_type(entry.dtype);
  if (!type) fail(where, tensor + ": unknown dtype " + quote(entry.dtype));

  if (!fields["shape"].is_array()) fail(where, tensor + ": shape is not a list");
  for (const json& dim : fields["shape"]) {
    const std::uint64_t value = unsigned_value(dim, where, tensor + ": a dimension of its shape");
    entry.shape.push_back(static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX)));
  }
  const auto count = element_count(entry.shape);
  if (!count) fail(where, tensor + ": its shape overflows");

  const json& offsets = fields["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    fail(where, tensor + ": data_offsets is not a pair");
  const std::uint64_t begin = unsigned_value(offsets[0], where, tensor + ": its first data offset");
  const std::uint64_t end = unsigned_value(offsets[1], where, tensor + ": its second data offset");
  if (begin > end || end > data.size()) {
    fail(where, tensor + ": its bytes [" + std::to_string(begin) + ", " + std::to_string(end) +
                    ") are outside the " + std::to_string(data.size()) +
                    " bytes of data (is the file truncated?)");
  }
  // No overflow: the count is at most 2^62, and the division is exact only for a whole number of
  // elements.
  const std::uint64_t size = end - begin;
  if (size % type->size_bytes != 0 ||
      size / type->size_bytes != static_cast<std::uint64_t>(*count)) {
    fail(where, tensor + ": its shape needs " + std::to_string(*count) + " elements of " +
                    std::to_string(type->size_bytes) + " bytes, its offsets give " +
                    std::to_string(size) + " bytes");
  }
  entry.data = data.subspan(begin, size);
  return entry;
}

// Every byte of the data belongs to exactly one tensor, as the format demands: nothing hides
// between tensors.
void check_coverage(const SafetensorsView& view, std::span<const std::byte> data,
                    const std::string& where) {
  std::vector<std::pair<const std::byte*, const std::string*>> by_offset;
  for (const auto& [name, entry] : view.entries) {
    if (!entry.data.empty()) by_offset.emplace_back(entry.data.data(), &name);
  }
  std::sort(by_offset.begin(), by_offset.end());
  const std::byte* next = data.data();
  for (const auto& [begin, name] : by_offset) {
    if (begin < next) fail(where, "tensor " + quote(*name) + " overlaps another tensor");
    if (begin > next) fail(where, "there are bytes of no tensor before tensor " + quote(*name));
    next = begin + view.entries.at(*name).data.size();
  }
  if (next != data.data() + data.size()) fail(where, "there are bytes of no tensor at the end");
}

}  // namespace

SafetensorsView parse_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  std::uint64_t header_size = 0;
  if (bytes.size() < kLengthBytes) fail(where, "it has " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&header_size, bytes.data(), kLengthBytes);
  if (header_size > kMaxHeaderBytes)
    fail(where, "a header of " + std::to_string(header_size) + " bytes");
  if (header_size > bytes.size() - kLengthBytes) {
    fail(where, "a header of " + std::to_string(header_size) + " bytes in a file of " +
                    std::to_string(bytes.size()) + " (is the file truncated?)");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              header_size);
  const auto data = bytes.subspan(kLengthBytes + header_size);
  const json header = parse_header(text, where);

  SafetensorsView view;
  for (const auto& [name, fields] : header.items()) {
    if (name != kSafetensorsMetadataKey) {
      view.entries.emplace(name, parse_entry(name, fields, data, where));
      continue;
    }
    if (!fields.is_object()) fail(where, "__metadata__ is not an object");
    for (const auto& [key, value] : fields.items()) {
      if (!value.is_string()) fail(where, "__metadata__: " + quote(key) + " is not a string");
      view.metadata.emplace(key, value.get<std::string>());
    }
  }
  check_coverage(view, data, where);
  return view;
}

StateDict safetensors_state_dict(const SafetensorsView& view, const std::string& where) {
  StateDict tensors;
  for (const auto& [name, entry] : view.entries) {
    const auto type = safetensors_element_type(entry.dtype);
    if (type && type->kind == ElementKind::kInteger) continue;
    if (!type || !is_readable_float(type->kind)) {
      fail(where,
           "tensor " + quote(name) + ": dtype " + entry.dtype + " cannot be read as float32");
    }
    HostTensor tensor{entry.shape, std::vector<float>(entry.data.size() / type->size_bytes)};
    to_float32(type->kind, entry.data.data(), static_cast<std::int64_t>(tensor.values.size()),
               tensor.values.data());
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

}  // namespace squant::eval
