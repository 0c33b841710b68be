#include "eval/checkpoint/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "eval/checkpoint/digest.h"
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

bool begins_with(std::span<const std::byte> bytes, std::string_view text, std::size_t at = 0) {
  return bytes.size() >= at + text.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

bool is_zip(std::span<const std::byte> bytes) {
  return begins_with(bytes, "PK\x03\x04") || begins_with(bytes, "PK\x05\x06");
}

[[noreturn]] void fail_unknown(std::span<const std::byte> bytes, const std::string& where) {
  const std::string known =
      " Known are .safetensors, torch's .pth in both its formats, and a .pth in a .zip.";
  if (bytes.empty()) fail(where, "the file is empty.");
  if (begins_with(bytes, "version https://git-lfs")) {
    fail(where, "this is a pointer of Git LFS, not the file itself: run `git lfs pull`.");
  }
  if (begins_with(bytes, "<"))
    fail(where, "this looks like a web page, not a checkpoint: download the file again." + known);
  if (begins_with(bytes, "\x80"))
    fail(where,
         "this is a pickle, but not one that torch.save writes by itself (protocol 2, with its "
         "magic number)." +
             known);
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<std::size_t>(bytes.size(), 16));
  fail(where, "this is no checkpoint: it begins with " + quote(start) + "." + known);
}

void read_torch(std::span<const std::byte> bytes, const std::string& where, Checkpoint& checkpoint);

// A release file: a zip archive with one .pth in it.
void read_zipped_pth(const ZipArchive& archive, const std::string& where, Checkpoint& checkpoint) {
  std::vector<std::string> inside = archive.names();
  std::erase_if(inside, [](const std::string& name) { return name.starts_with("__MACOSX/"); });
  if (inside.size() != 1) {
    fail(where,
         "the zip archive is neither a file of torch.save (one FOLDER/data.pkl) nor does it hold a "
         "single .pth: it has " +
             std::to_string(inside.size()) + " entries" +
             (inside.empty() ? "" : ", first " + quote(inside[0])));
  }
  const std::string entry_where = where + ", zip entry " + quote(inside[0]);
  const std::vector<std::byte> pth = archive.read(inside[0]);
  if (is_zip(pth) && !is_torch_archive(ZipArchive(pth, entry_where))) {
    fail(entry_where,
         "a zip archive inside a zip archive, and no file of torch.save: unpack it first");
  }
  checkpoint.sha1 = sha1_hex(pth);
  read_torch(pth, entry_where, checkpoint);
  checkpoint.format = "pth.zip";
}

void read_torch(std::span<const std::byte> bytes, const std::string& where,
                Checkpoint& checkpoint) {
  if (is_old_torch_file(bytes)) {
    checkpoint.format = "pickle";
    checkpoint.tensors = read_old_torch_file(bytes, where, checkpoint.notes);
    return;
  }
  if (!is_zip(bytes)) fail_unknown(bytes, where);
  const ZipArchive archive(bytes, where);
  if (!is_torch_archive(archive)) {
    read_zipped_pth(archive, where, checkpoint);
    return;
  }
  checkpoint.format = "zip";
  checkpoint.tensors = read_torch_archive(archive, where, checkpoint.notes);
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
  if (begins_with(bytes, "{", 8)) {  // behind the length of its header
    checkpoint.format = "safetensors";
    const SafetensorsView view = parse_safetensors(bytes, where);
    checkpoint.tensors = safetensors_state_dict(view, where);
    const std::size_t num_left_out = view.entries.size() - checkpoint.tensors.size();
    if (num_left_out > 0)
      checkpoint.notes.push_back("left out " + std::to_string(num_left_out) + " integer tensors");
  } else {
    read_torch(bytes, where, checkpoint);
  }
  if (checkpoint.tensors.empty()) fail(where, "it holds no float tensor");
  strip_module_prefix(checkpoint);
  return checkpoint;
}

Checkpoint load_checkpoint(const std::string& path) {
  return parse_checkpoint(read_file(path), path);
}

}  // namespace squant::eval
