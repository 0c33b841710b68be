#include "eval/export/source_digest.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/digest.h"
#include "eval/checkpoint/mapped_file.h"

namespace squant::eval {

namespace {

// What is in memory of a file at a time.
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

// Of the mapped file: read() would copy every byte once more. Empty when `stop` was asked for.
std::string mapped_sha256(const std::string& path, const std::stop_token& stop) {
  const MappedFile file(path);
  Sha256 digest;
  for (auto left = file.bytes(); !left.empty();) {
    if (stop.stop_requested()) return "";
    const auto piece = left.first(std::min(left.size(), kPieceBytes));
    digest.update(piece.data(), piece.size());
    file.release();
    left = left.subspan(piece.size());
  }
  return digest.hex();
}

}  // namespace

SourceDigest::Version SourceDigest::version_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    throw std::invalid_argument(path + ": cannot be opened: " + std::strerror(errno));
  return {info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

SourceDigest::SourceDigest(std::vector<std::string> paths) : paths_(std::move(paths)) {
  for (const std::string& path : paths_) versions_.push_back(version_of(path));
  std::promise<std::vector<std::string>> promise;
  digests_ = promise.get_future();
  thread_ = std::jthread([this, promise = std::move(promise)](const std::stop_token& stop) mutable {
    try {
      std::vector<std::string> digests;
      for (const std::string& path : paths_) digests.push_back(mapped_sha256(path, stop));
      promise.set_value(std::move(digests));
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  });
}

std::vector<std::string> SourceDigest::finish() {
  std::vector<std::string> digests = digests_.get();
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    if (version_of(paths_[i]) != versions_[i])
      throw std::invalid_argument(paths_[i] + ": was changed while it was read");
  }
  return digests;
}

}  // namespace squant::eval
