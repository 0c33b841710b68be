// model.safetensors.index.json: which tensor of a large checkpoint is in which of its files.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace squant::eval {

// The name that such a file has beside its shards.
inline constexpr const char* kShardIndexName = "model.safetensors.index.json";

// Tensor name -> file name, in the index's folder: {"weight_map": {NAME: FILE, ...}, ...}. Every
// FILE is a plain file name, never a path that could lead elsewhere. `where` names the index in
// messages. Throws std::invalid_argument.
std::map<std::string, std::string> parse_shard_index(std::string_view text,
                                                     const std::string& where);

}  // namespace squant::eval
