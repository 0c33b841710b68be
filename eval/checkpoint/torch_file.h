// The two file formats of torch.save: the old one (a sequence of pickles, then the storages) and
// the zip archive.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "eval/checkpoint/state_dict.h"
#include "eval/checkpoint/zip_archive.h"

namespace squant::eval {

// True when `bytes` begin with the magic number of the old format.
bool is_old_torch_file(std::span<const std::byte> bytes);
// True when the archive has the layout of torch.save: one FOLDER/data.pkl.
bool is_torch_archive(const ZipArchive& archive);

// Both read a state dict: a dict of tensors, or a dict that holds one under "state_dict",
// "model_state_dict" or "model". `notes` gets a line for everything that was left out or changed.
// Throws std::invalid_argument.
StateDict read_old_torch_file(std::span<const std::byte> bytes, const std::string& where,
                              std::vector<std::string>& notes);
StateDict read_torch_archive(const ZipArchive& archive, const std::string& where,
                             std::vector<std::string>& notes);

}  // namespace squant::eval
