#include "eval/checkpoint/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "eval/checkpoint/digest.h"
#include "eval/checkpoint/file_kind.h"
#include "eval/checkpoint/quote.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/checkpoint/torch_file.h"
#include "eval/checkpoint/zip_archive.h"

namespace squant::eval {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{8} << 30;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

// A file of torch.save, or a release file: a zip archive with one in it.
void read_torch(std::span<const std::byte> bytes, FileKind kind, const std::string& where,
                Checkpoint& checkpoint) {
  if (kind == FileKind::kOldTorch) {
    checkpoint.format = "pickle";
    checkpoint.tensors = torch_state_dict(*open_old_torch_file(bytes, where), checkpoint.notes);
    return;
  }
  const ZipArchive archive(bytes, where);
  if (is_torch_archive(archive)) {
    checkpoint.format = "zip";
    checkpoint.tensors = torch_state_dict(*open_torch_archive(archive, where), checkpoint.notes);
    return;
  }
  const std::string inside = zipped_pth(archive, where);
  const std::string inside_where = where + ", zip entry " + quote(inside);
  const std::vector<std::byte> pth = archive.read(inside);
  const FileKind inside_kind = zipped_pth_kind(pth, inside_where);
  checkpoint.sha1 = sha1_hex(pth);
  read_torch(pth, inside_kind, inside_where, checkpoint);
  checkpoint.format = "pth.zip";
}

void strip_module_prefix(Checkpoint& checkpoint) {
  constexpr std::string_view kPrefix = "module.";
  const auto& tensors = checkpoint.tensors;
  if (tensors.empty() || !std::all_of(tensors.begin(), tensors.end(), [&](const auto& t) {
        return t.first.starts_with(kPrefix);
      })) {
    return;
  }
  StateDict renamed;
  for (auto& [name, tensor] : checkpoint.tensors)
    renamed.emplace(name.substr(kPrefix.size()), std::move(tensor));
  checkpoint.tensors = std::move(renamed);
  checkpoint.notes.emplace_back("took \"module.\" off every name");
}

// Read, not mapped: the digest is then of the very bytes that are parsed, and a file that another
// process cuts short meanwhile gives an error instead of a signal.
std::vector<std::byte> read_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    fail(path, "cannot be opened: " + (error ? error.message() : "no such file"));
  if (!std::filesystem::is_regular_file(status)) fail(path, "is not a regular file");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) fail(path, "cannot be read: " + error.message());
  if (size > kMaxFileBytes)
    fail(path,
         "has " + std::to_string(size) + " bytes; a checkpoint of more than 8 GiB is not read");
  std::vector<std::byte> bytes(size);
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path, std::string("cannot be opened: ") + std::strerror(errno));
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    fail(path, "could not be read to its end");
  }
  return bytes;
}

}  // namespace

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& where) {
  Checkpoint checkpoint;
  checkpoint.sha256 = sha256_hex(bytes.data(), bytes.size());
  checkpoint.sha1 = sha1_hex(bytes);
  const FileKind kind = file_kind(bytes, where);
  if (kind == FileKind::kShardIndex) {
    fail(where,
         "this is an index of several files, which squant-quantize reads; here one file is read");
  }
  if (kind == FileKind::kSafetensors) {
    checkpoint.format = "safetensors";
    const SafetensorsView view = parse_safetensors(bytes, where);
    checkpoint.tensors = safetensors_state_dict(view, where);
    const std::size_t num_left_out = view.entries.size() - checkpoint.tensors.size();
    if (num_left_out > 0)
      checkpoint.notes.push_back("left out " + std::to_string(num_left_out) + " integer tensors");
  } else {
    read_torch(bytes, kind, where, checkpoint);
  }
  if (checkpoint.tensors.empty()) fail(where, "it holds no float tensor");
  strip_module_prefix(checkpoint);
  return checkpoint;
}

Checkpoint load_checkpoint(const std::string& path) {
  return parse_checkpoint(read_file(path), path);
}

}  // namespace squant::eval
