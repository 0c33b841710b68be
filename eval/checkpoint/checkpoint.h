// Reads checkpoints: .safetensors, .pth (zip and old pickle), .pth.zip; told apart by content, not
// by name.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "eval/checkpoint/state_dict.h"

namespace squant::eval {

struct Checkpoint {
  StateDict tensors;
  std::string sha256;  // of the file as it stands on disk, lower-case hex
  std::string sha1;  // of the file, or for "pth.zip" of the .pth inside: what publishers name their
                     // files by
  std::string format;              // "safetensors", "pickle", "zip", "pth.zip"
  std::vector<std::string> notes;  // what was left out or renamed, a line each: for a log
};

// Throws std::invalid_argument naming the path, the entry and what was wrong: missing, truncated,
// unknown format, a dtype that is no float. No code in a file ever runs. float16 and bfloat16 are
// widened to float32, float64 is rounded; integer tensors are left out. A state dict wrapped in a
// dict ("state_dict", "model_state_dict", "model") is found, and a "module." before every name
// (torch's DataParallel) is taken off; both stand in the notes.
Checkpoint load_checkpoint(const std::string& path);

// The same of a file's bytes in memory; `where` names it in messages.
Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& where);

// SHA-256 of a file, lower-case hex. Throws std::invalid_argument naming the path.
std::string sha256_file(const std::string& path);
// SHA-256 of bytes in memory.
std::string sha256_hex(const void* data, std::size_t size);

}  // namespace squant::eval
