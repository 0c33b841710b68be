#include "eval/export/source_digest.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/digest.h"

namespace squant::eval {

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
      for (const std::string& path : paths_) digests.push_back(sha256_file(path, stop));
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
