#include "eval/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/element_type.h"
#include "eval/checkpoint/quote.h"
#include "eval/checkpoint/safetensors.h"

namespace squant::eval {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;

[[noreturn]] void fail(const std::string& path, const std::string& name, const std::string& what) {
  throw std::invalid_argument(path + ": tensor " + quote(name) + " cannot be written: " + what);
}

std::uint64_t element_bytes(const SafetensorsField& field, const std::string& path) {
  const auto type = safetensors_element_type(field.dtype);
  if (!type) fail(path, field.name, "its dtype " + quote(field.dtype) + " is unknown");
  return type->size_bytes;
}

std::uint64_t size_of(const SafetensorsField& field, const std::string& path) {
  const auto count = element_count(field.shape);
  if (!count || *count > INT64_MAX / 8) fail(path, field.name, "its shape is impossible");
  return static_cast<std::uint64_t>(*count) * element_bytes(field, path);
}

}  // namespace

std::map<std::string, SafetensorsWriter::Place> SafetensorsWriter::lay_out(
    std::vector<SafetensorsField> fields, const std::string& path) {
  std::sort(fields.begin(), fields.end(), [&](const auto& a, const auto& b) {
    const std::uint64_t a_bytes = element_bytes(a, path);
    const std::uint64_t b_bytes = element_bytes(b, path);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a.name < b.name;
  });
  std::map<std::string, Place> places;
  std::uint64_t offset = 0;
  for (SafetensorsField& field : fields) {
    const std::uint64_t end = offset + size_of(field, path);
    const std::string name = field.name;
    if (name == kSafetensorsMetadataKey) fail(path, name, "a reserved name");
    if (end < offset || end > INT64_MAX) fail(path, name, "the file would be too large");
    if (!places.emplace(name, Place{std::move(field), offset, end, offset}).second)
      fail(path, name, "there are two of this name");
    offset = end;
  }
  return places;
}

std::string SafetensorsWriter::header_text() const {
  json header = json::object();
  if (!metadata_.empty()) header[kSafetensorsMetadataKey] = metadata_;
  for (const auto& [name, place] : places_) {
    header[name] = {{"dtype", place.field.dtype},
                    {"shape", place.field.shape},
                    {"data_offsets", {place.begin, place.end}}};
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
    return text;
  } catch (const json::exception& error) {
    throw std::invalid_argument(path_ +
                                ": cannot be written: a name is not UTF-8: " + error.what());
  }
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<SafetensorsField> fields,
                                     std::map<std::string, std::string> metadata)
    : path_(path),
      metadata_(std::move(metadata)),
      places_(lay_out(std::move(fields), path)),
      header_(header_text()),
      file_(path) {
  std::uint64_t data_bytes = 0;
  for (const auto& [name, place] : places_) data_bytes = std::max(data_bytes, place.end);
  size_bytes_ = kLengthBytes + header_.size() + data_bytes;
  file_.reserve(size_bytes_);
  const std::uint64_t header_size = header_.size();
  file_.write_at(0, std::as_bytes(std::span(&header_size, 1)));
  file_.write_at(kLengthBytes, std::as_bytes(std::span(header_)));
}

void SafetensorsWriter::append(const std::string& name, std::span<const std::byte> bytes) {
  Place& place = places_.at(name);
  if (bytes.size() > place.end - place.next)
    throw std::logic_error("SafetensorsWriter: more bytes than tensor " + quote(name) + " has");
  file_.write_at(kLengthBytes + header_.size() + place.next, bytes);
  place.next += bytes.size();
}

void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
  metadata_.at(key) = value;
  const std::string changed = header_text();
  if (changed.size() != header_.size())
    throw std::logic_error("SafetensorsWriter: metadata " + quote(key) + " changed its length");
  header_ = changed;
  file_.write_at(kLengthBytes, std::as_bytes(std::span(header_)));
}

void SafetensorsWriter::publish() {
  for (const auto& [name, place] : places_) {
    if (place.next != place.end)
      throw std::logic_error("SafetensorsWriter: tensor " + quote(name) + " lacks bytes");
  }
  file_.publish();
}

void write_safetensors(const std::string& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsField> fields;
  for (const auto& [name, tensor] : tensors) {
    const auto count = element_count(tensor.shape);
    if (!count || static_cast<std::uint64_t>(*count) != tensor.values.size()) {
      fail(path, name,
           "its shape does not match its " + std::to_string(tensor.values.size()) + " values");
    }
    fields.push_back({name, "F32", tensor.shape});
  }
  SafetensorsWriter file(path, std::move(fields), metadata);
  for (const auto& [name, tensor] : tensors)
    file.append(name, std::as_bytes(std::span(tensor.values)));
  file.publish();
}

}  // namespace squant::eval
