#include "eval/checkpoint/tensor_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <set>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "eval/checkpoint/file_kind.h"
#include "eval/checkpoint/mapped_file.h"
#include "eval/checkpoint/quote.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/checkpoint/shard_index.h"
#include "eval/checkpoint/torch_file.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;

// Entries are read one at a time: what they add up to is not kept in memory.
constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max() / 2;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

class SafetensorsTensors final : public TensorFile {
 public:
  SafetensorsTensors(std::unique_ptr<MappedFile> file, const std::string& path)
      : file_(std::move(file)) {
    SafetensorsView view = parse_safetensors(file_->bytes(), path);
    paths_ = {path};
    metadata_ = std::move(view.metadata);
    std::vector<std::pair<std::string, SafetensorsEntry>> entries(view.entries.begin(),
                                                                  view.entries.end());
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.second.data.data() < b.second.data.data();
    });
    for (auto& [name, entry] : entries) {
      const ElementType type = *safetensors_element_type(entry.dtype);  // known: it was parsed
      const auto count = static_cast<std::int64_t>(entry.data.size() / type.size_bytes);
      tensors_.push_back({name, type, std::move(entry.shape), count});
      data_.push_back(entry.data);
    }
  }

  std::span<const std::byte> rows(std::size_t tensor, std::int64_t first_row,
                                  std::int64_t num_rows) override {
    file_->release();
    const StoredTensor& stored = tensors_[tensor];
    const std::size_t row_bytes =
        static_cast<std::size_t>(stored.row_size()) * stored.type.size_bytes;
    return data_[tensor].subspan(static_cast<std::size_t>(first_row) * row_bytes,
                                 static_cast<std::size_t>(num_rows) * row_bytes);
  }

 private:
  std::unique_ptr<MappedFile> file_;
  std::vector<std::span<const std::byte>> data_;
};

class TorchTensors final : public TensorFile {
 public:
  // `archive`: for torch's zip archives, of file's bytes; else none.
  TorchTensors(std::unique_ptr<MappedFile> file, std::unique_ptr<ZipArchive> archive,
               const std::string& path, const std::string& where)
      : file_(std::move(file)),
        archive_(std::move(archive)),
        torch_(archive_ == nullptr ? open_old_torch_file(file_->bytes(), where)
                                   : open_torch_archive(*archive_, where)) {
    paths_ = {path};
    notes_ = torch_->notes();
    for (const TorchTensor& tensor : torch_->tensors())
      tensors_.push_back({tensor.name, tensor.type(), tensor.stored->shape, tensor.stored->count});
  }

  std::span<const std::byte> rows(std::size_t tensor, std::int64_t first_row,
                                  std::int64_t num_rows) override {
    file_->release();
    return torch_->rows(torch_->tensors()[tensor], first_row, num_rows, buffer_);
  }

 private:
  std::unique_ptr<MappedFile> file_;
  std::unique_ptr<ZipArchive> archive_;
  std::unique_ptr<TorchFile> torch_;
  std::vector<std::byte> buffer_;
};

// A file that nobody else sees and that goes with its last user.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& folder) {
    std::string name = (fs::path(folder) / ".squant-unpacked.XXXXXX").string();
    fd_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd_ < 0) fail_unpack(folder);
    ::unlink(name.c_str());
    folder_ = folder;
  }
  ~ScratchFile() { ::close(fd_); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  int fd() const { return fd_; }
  void append(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_unpack(folder_);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

 private:
  [[noreturn]] static void fail_unpack(const std::string& folder) {
    throw std::system_error(errno, std::generic_category(),
                            folder + ": the .pth in the zip archive cannot be unpacked here");
  }
  std::string folder_;
  int fd_ = -1;
};

std::unique_ptr<TensorFile> open_zip(std::unique_ptr<MappedFile> file, const std::string& path,
                                     const std::string& scratch_folder) {
  auto archive = std::make_unique<ZipArchive>(file->bytes(), path, kUnlimited);
  if (is_torch_archive(*archive))
    return std::make_unique<TorchTensors>(std::move(file), std::move(archive), path, path);

  const std::string inside = zipped_pth(*archive, path);
  const std::string where = path + ", zip entry " + quote(inside);
  const ScratchFile scratch(scratch_folder);
  archive->read_blocks(inside, [&](std::span<const std::byte> block) {
    scratch.append(block);
    file->release();
  });
  auto unpacked = std::make_unique<MappedFile>(scratch.fd(), where);
  std::unique_ptr<ZipArchive> inner;
  if (zipped_pth_kind(unpacked->bytes(), where) == FileKind::kZip)
    inner = std::make_unique<ZipArchive>(unpacked->bytes(), where, kUnlimited);
  return std::make_unique<TorchTensors>(std::move(unpacked), std::move(inner), path, where);
}

// Any but an index of shards.
std::unique_ptr<TensorFile> open_one_file(std::unique_ptr<MappedFile> file, const std::string& path,
                                          const std::string& scratch_folder) {
  switch (file_kind(file->bytes(), path)) {
    case FileKind::kSafetensors:
      return std::make_unique<SafetensorsTensors>(std::move(file), path);
    case FileKind::kOldTorch:
      return std::make_unique<TorchTensors>(std::move(file), nullptr, path, path);
    case FileKind::kZip:
      return open_zip(std::move(file), path, scratch_folder);
    case FileKind::kShardIndex:
      break;
  }
  fail(path, "this is an index of shards, named as one of another's shards");
}

// Several files as one.
class ShardedTensors final : public TensorFile {
 public:
  ShardedTensors(std::string_view index, const std::string& path,
                 const std::string& scratch_folder) {
    paths_ = {path};
    std::map<std::string, std::set<std::string>> names_by_file;
    for (auto& [name, file] : parse_shard_index(index, path)) names_by_file[file].insert(name);
    for (const auto& [file, names] : names_by_file)
      add_shard((fs::path(path).parent_path() / file).string(), names, path, scratch_folder);
  }

  std::span<const std::byte> rows(std::size_t tensor, std::int64_t first_row,
                                  std::int64_t num_rows) override {
    const auto& [shard, index] = places_[tensor];
    return shards_[shard]->rows(index, first_row, num_rows);
  }

 private:
  void add_shard(const std::string& path, const std::set<std::string>& names,
                 const std::string& index_path, const std::string& scratch_folder) {
    std::error_code ignored;
    if (!fs::exists(path, ignored))
      fail(path, "this file is missing, which " + index_path + " names");
    std::unique_ptr<TensorFile> shard =
        open_one_file(std::make_unique<MappedFile>(path), path, scratch_folder);
    std::size_t num_found = 0;
    for (std::size_t i = 0; i < shard->tensors().size(); ++i) {
      if (!names.contains(shard->tensors()[i].name)) continue;
      ++num_found;
      tensors_.push_back(shard->tensors()[i]);
      places_.emplace_back(shards_.size(), i);
    }
    if (num_found < names.size()) fail_missing(path, names, *shard, index_path);
    if (num_found < shard->tensors().size()) {
      notes_.push_back(path + ": left out " + std::to_string(shard->tensors().size() - num_found) +
                       " tensors that the index does not name");
    }
    metadata_.insert(shard->metadata().begin(), shard->metadata().end());
    notes_.insert(notes_.end(), shard->notes().begin(), shard->notes().end());
    paths_.push_back(path);
    shards_.push_back(std::move(shard));
  }

  [[noreturn]] static void fail_missing(const std::string& path, std::set<std::string> names,
                                        const TensorFile& shard, const std::string& index_path) {
    for (const StoredTensor& tensor : shard.tensors()) names.erase(tensor.name);
    fail(path, "tensor " + quote(*names.begin()) + " is missing, which " + index_path +
                   " says is in this file");
  }

  std::vector<std::unique_ptr<TensorFile>> shards_;
  std::vector<std::pair<std::size_t, std::size_t>> places_;  // shard, and the tensor in it
};

}  // namespace

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path,
                                             const std::string& scratch_folder) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const std::string index = (fs::path(path) / kShardIndexName).string();
    if (!fs::exists(index, ignored))
      fail(path, std::string("is a folder without a ") + kShardIndexName);
    return open_tensor_file(index, scratch_folder);
  }
  auto file = std::make_unique<MappedFile>(path);
  const auto bytes = file->bytes();
  if (file_kind(bytes, path) != FileKind::kShardIndex)
    return open_one_file(std::move(file), path, scratch_folder);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return std::make_unique<ShardedTensors>(text, path, scratch_folder);
}

}  // namespace squant::eval
