#include "eval/checkpoint/zip_archive.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

constexpr std::uint64_t kMaxTotalBytes = std::uint64_t{8} << 30;
constexpr std::uint64_t kAlwaysAllowedBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxExpansion = 100;

std::string take_text(zip_error_t& error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string where)
    : where_(std::move(where)) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source == nullptr) fail("not a readable zip archive: " + take_text(error));
  archive_.reset(zip_open_from_source(source, ZIP_RDONLY, &error));
  if (archive_ == nullptr) {
    zip_source_free(source);  // an archive that opens owns its source
    fail("not a readable zip archive (truncated?): " + take_text(error));
  }
  zip_error_fini(&error);

  const zip_int64_t num_entries = zip_get_num_entries(archive_.get(), 0);
  for (zip_int64_t i = 0; i < num_entries; ++i) {
    zip_stat_t info;
    zip_stat_init(&info);
    constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                     ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(archive_.get(), static_cast<zip_uint64_t>(i), 0, &info) != 0 ||
        (info.valid & kNeeded) != kNeeded) {
      fail("zip entry " + std::to_string(i) + " is not fully described");
    }
    const std::string name = info.name;
    if (name.ends_with('/')) continue;
    if (info.comp_method == ZIP_CM_STORE && info.comp_size != info.size &&
        info.encryption_method == ZIP_EM_NONE) {
      fail("zip entry " + quote(name) + " is stored, yet has two sizes");
    }
    if (info.size > kMaxTotalBytes || (total_bytes_ += info.size) > kMaxTotalBytes) {
      fail("the zip archive declares more than " + std::to_string(kMaxTotalBytes >> 30) +
           " GiB of content");
    }
    const Entry entry{static_cast<std::uint64_t>(i), info.size, info.comp_method,
                      info.encryption_method != ZIP_EM_NONE};
    if (!entries_.emplace(name, entry).second)
      fail("zip entry " + quote(name) + " stands there twice");
  }
  if (total_bytes_ > std::max<std::uint64_t>(kAlwaysAllowedBytes, kMaxExpansion * bytes.size())) {
    fail("the zip archive of " + std::to_string(bytes.size()) + " bytes declares " +
         std::to_string(total_bytes_) +
         " bytes of content, more than weights can shrink: refused as a zip bomb");
  }
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : entries_) names.push_back(name);
  return names;
}

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("the zip archive has no entry " + quote(name));
  const Entry& entry = found->second;
  if (entry.encrypted) fail("zip entry " + quote(name) + " is encrypted");
  if (entry.method != ZIP_CM_STORE && entry.method != ZIP_CM_DEFLATE) {
    fail("zip entry " + quote(name) + " is compressed by method " + std::to_string(entry.method) +
         "; only stored (0) and deflated (8) entries are read");
  }
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen_index(archive_.get(), entry.index, 0), &zip_fclose);
  if (file == nullptr) fail("zip entry " + quote(name) + ": " + zip_strerror(archive_.get()));

  std::vector<std::byte> bytes(entry.size_bytes);
  std::uint64_t done = 0;
  for (;;) {
    // A last read beyond the declared size lets libzip compare the CRC, and shows an entry that is
    // longer than it says.
    std::byte beyond{};
    const bool full = done == bytes.size();
    const zip_int64_t got = full ? zip_fread(file.get(), &beyond, 1)
                                 : zip_fread(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0) fail("zip entry " + quote(name) + ": " + zip_file_strerror(file.get()));
    if (full && got > 0) fail("zip entry " + quote(name) + " is longer than it declares");
    if (!full && got == 0) fail("zip entry " + quote(name) + " is shorter than it declares");
    if (full) return bytes;
    done += static_cast<std::uint64_t>(got);
  }
}

void ZipArchive::fail(const std::string& what) const {
  throw std::invalid_argument(where_ + ": " + what);
}

}  // namespace squant::eval
