#include "eval/checkpoint/zip_archive.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

constexpr std::uint64_t kAlwaysAllowedBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxExpansion = 100;
constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

std::string take_text(zip_error_t& error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string where,
                       std::uint64_t max_total_bytes)
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
    if (info.size > max_total_bytes || (total_bytes_ += info.size) > max_total_bytes) {
      fail("the zip archive declares more than " + std::to_string(max_total_bytes >> 30) +
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

// One entry, opened: its bytes in their order, its length and checksum compared at the end.
class ZipArchive::EntryReader {
 public:
  EntryReader(const ZipArchive& archive, const std::string& name)
      : archive_(archive), name_("zip entry " + quote(name)) {
    const auto found = archive.entries_.find(name);
    if (found == archive.entries_.end())
      archive.fail("the zip archive has no entry " + quote(name));
    const Entry& entry = found->second;
    if (entry.encrypted) archive.fail(name_ + " is encrypted");
    if (entry.method != ZIP_CM_STORE && entry.method != ZIP_CM_DEFLATE) {
      archive.fail(name_ + " is compressed by method " + std::to_string(entry.method) +
                   "; only stored (0) and deflated (8) entries are read");
    }
    left_ = entry.size_bytes;
    file_.reset(zip_fopen_index(archive.archive_.get(), entry.index, 0));
    if (file_ == nullptr) archive.fail(name_ + ": " + zip_strerror(archive.archive_.get()));
  }

  std::uint64_t left() const { return left_; }

  // At most out.size() bytes, which must not be more than are left.
  std::size_t read(std::span<std::byte> out) {
    const std::size_t got = take(out);
    if (got == 0) archive_.fail(name_ + " is shorter than it declares");
    left_ -= got;
    return got;
  }
  // A last read beyond the declared size lets libzip compare the CRC, and shows an entry that is
  // longer than it says.
  void finish() {
    std::byte beyond{};
    if (take({&beyond, 1}) > 0) archive_.fail(name_ + " is longer than it declares");
  }

 private:
  std::size_t take(std::span<std::byte> out) {
    const zip_int64_t got = zip_fread(file_.get(), out.data(), out.size());
    if (got < 0) archive_.fail(name_ + ": " + zip_file_strerror(file_.get()));
    return static_cast<std::size_t>(got);
  }

  struct Close {
    void operator()(zip_file_t* file) const { zip_fclose(file); }
  };
  const ZipArchive& archive_;
  std::string name_;
  std::uint64_t left_ = 0;
  std::unique_ptr<zip_file_t, Close> file_;
};

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
  EntryReader reader(*this, name);
  std::vector<std::byte> bytes(reader.left());
  while (reader.left() > 0) reader.read(std::span(bytes).last(reader.left()));
  reader.finish();
  return bytes;
}

void ZipArchive::read_blocks(const std::string& name,
                             const std::function<void(std::span<const std::byte>)>& take) const {
  EntryReader reader(*this, name);
  std::vector<std::byte> block(kBlockBytes);
  while (reader.left() > 0) {
    const std::size_t wanted = std::min<std::uint64_t>(block.size(), reader.left());
    take({block.data(), reader.read({block.data(), wanted})});
  }
  reader.finish();
}

void ZipArchive::fail(const std::string& what) const {
  throw std::invalid_argument(where_ + ": " + what);
}

}  // namespace squant::eval
