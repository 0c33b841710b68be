// The .safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors'
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/checkpoint/mapped_file.h"
#include "eval/checkpoint/state_dict.h"

namespace squant::eval {

// The one name in a header that is no tensor's.
inline constexpr const char* kSafetensorsMetadataKey = "__metadata__";

// One entry of a header; `data` points into the file's bytes.
struct SafetensorsEntry {
  std::string dtype;  // as the file says: "F32", "I8", ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;  // exactly shape * dtype bytes: checked
};
struct SafetensorsView {
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Parses a whole file's bytes; every offset, length and shape is checked. `where` names the file in
// messages. Throws std::invalid_argument.
SafetensorsView parse_safetensors(std::span<const std::byte> bytes, const std::string& where);

// The float entries (F32, F64, F16, BF16) as float32; `where` names the file in messages.
StateDict safetensors_state_dict(const SafetensorsView& view, const std::string& where);

// Writes float32 tensors; through a temporary file and a rename, so that no half file is ever seen
// under `path`. Throws std::invalid_argument for a tensor that cannot be written, std::system_error
// when the file cannot.
void write_safetensors(const std::string& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace squant::eval
