// What a checkpoint file is, told by its first bytes and not by its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "eval/checkpoint/zip_archive.h"

namespace squant::eval {

enum class FileKind : std::uint8_t {
  kSafetensors,
  kOldTorch,    // torch.save before 1.6: pickles, then storages
  kZip,         // torch.save's archive, or a .pth in a zip archive
  kShardIndex,  // JSON: which tensor is in which of several files
};

// Throws std::invalid_argument for all other content, and says what it looks like.
FileKind file_kind(std::span<const std::byte> bytes, const std::string& where);

// Of a zip archive that is no file of torch.save: the name of its one entry, the .pth. Throws
// std::invalid_argument when it has another number of them.
std::string zipped_pth(const ZipArchive& archive, const std::string& where);

// What that entry is, unpacked: kOldTorch or kZip, the latter torch.save's archive. Throws
// std::invalid_argument for anything else.
FileKind zipped_pth_kind(std::span<const std::byte> pth, const std::string& where);

}  // namespace squant::eval
