#include "eval/checkpoint/file_kind.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "eval/checkpoint/quote.h"
#include "eval/checkpoint/torch_file.h"

namespace squant::eval {
namespace {

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

}  // namespace

FileKind file_kind(std::span<const std::byte> bytes, const std::string& where) {
  if (begins_with(bytes, "{", 8)) return FileKind::kSafetensors;  // behind the length of its header
  if (is_old_torch_file(bytes)) return FileKind::kOldTorch;
  if (is_zip(bytes)) return FileKind::kZip;
  if (begins_with(bytes, "{")) return FileKind::kShardIndex;
  fail_unknown(bytes, where);
}

std::string zipped_pth(const ZipArchive& archive, const std::string& where) {
  std::vector<std::string> inside = archive.names();
  std::erase_if(inside, [](const std::string& name) { return name.starts_with("__MACOSX/"); });
  if (inside.size() == 1) return inside[0];
  fail(where,
       "the zip archive is neither a file of torch.save (one FOLDER/data.pkl) nor does it hold a "
       "single .pth: it has " +
           std::to_string(inside.size()) + " entries" +
           (inside.empty() ? "" : ", first " + quote(inside[0])));
}

FileKind zipped_pth_kind(std::span<const std::byte> pth, const std::string& where) {
  const FileKind kind = file_kind(pth, where);
  if (kind == FileKind::kZip && !is_torch_archive(ZipArchive(pth, where))) {
    fail(where, "a zip archive inside a zip archive, and no file of torch.save: unpack it first");
  }
  if (kind != FileKind::kZip && kind != FileKind::kOldTorch)
    fail(where, "a zip archive is read when it holds a .pth; unpack it first");
  return kind;
}

}  // namespace squant::eval
