#include "runner/collective/node_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "eval/checkpoint/checkpoint.h"
#include "eval/images/file_bytes.h"
#include "eval/images/image_pack.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
constexpr const char* kDraftEnd = ".new";
constexpr auto kDraftLife = std::chrono::hours(24);

[[noreturn]] void fail(const std::string& path, const std::string& problem, int error) {
  throw std::runtime_error(path + ": " + problem + ": " + std::strerror(error));
}

}  // namespace

void remove_old_drafts(const std::string& folder) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(kDraftEnd) && name.find(std::string(kDraftEnd) + '.') == std::string::npos)
      continue;
    const auto written = entry.last_write_time(error);
    if (!error && now - written > kDraftLife) fs::remove(entry.path(), error);
  }
}

class NodeCache::Handle {
 public:
  Handle(const std::string& path, int flags)
      : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(path, "cannot be opened", errno);
  }
  ~Handle() { ::close(fd_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const {
    struct stat facts {};
    if (::fstat(fd_, &facts) != 0) fail(path_, "cannot be examined", errno);
    return facts.st_size;
  }
  void write(std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) fail(path_, "cannot be written", put < 0 ? errno : ENOSPC);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }
  Bytes read(std::int64_t offset, std::int64_t count) const {
    Bytes bytes(static_cast<std::size_t>(count));
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t got = ::pread(fd_, bytes.data() + done, bytes.size() - done,
                                  offset + static_cast<std::int64_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(path_, "cannot be read", errno);
      if (got == 0) throw std::runtime_error(path_ + ": became shorter while it was read");
      done += static_cast<std::size_t>(got);
    }
    return bytes;
  }

 private:
  std::string path_;
  int fd_;
};

struct NodeCache::Draft {
  explicit Draft(const std::string& path) : file(path, O_CREAT | O_TRUNC | O_RDWR) {}
  ~Draft() { ::unlink(file.path().c_str()); }  // after finish() there is nothing under this name
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  Handle file;
  eval::Sha256 digest;
  std::int64_t arrived = 0;
};

NodeCache::NodeCache(std::string folder) : folder_(std::move(folder)) {}
NodeCache::~NodeCache() = default;

std::optional<std::string> NodeCache::find(const std::string& sha256) {
  if (folder_.empty()) return std::nullopt;
  const std::string path = path_of(sha256);
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  // A pack can be larger than what is hashed between two heartbeats; it checks every image itself.
  if (eval::is_image_pack(path)) return path;
  try {
    if (eval::sha256_file(path) == sha256) return path;
  } catch (const std::invalid_argument&) {  // it cannot be read
  }
  return std::nullopt;
}

bool NodeCache::can_read(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

void NodeCache::create(const std::string& sha256, std::int64_t) {
  if (folder_.empty()) {
    throw std::runtime_error(
        "neither XDG_CACHE_HOME nor HOME says where to keep the file that was sent");
  }
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw std::runtime_error(folder_ + ": cannot be created: " + error.message());
  remove_old_drafts(folder_);
  drafts_.erase(sha256);
  std::string host(256, '\0');
  ::gethostname(host.data(), host.size() - 1);
  host.resize(std::strlen(host.c_str()));
  // The folder may be on a disk that nodes share.
  const std::string name = path_of(sha256) + "." + host + "." + std::to_string(::getpid());
  drafts_[sha256] = std::make_unique<Draft>(name + kDraftEnd);
}

void NodeCache::append(const std::string& sha256, std::span<const std::uint8_t> bytes) {
  Draft& draft = *drafts_.at(sha256);
  draft.file.write(bytes);
  draft.digest.update(bytes.data(), bytes.size());
  draft.arrived += static_cast<std::int64_t>(bytes.size());
}

std::optional<std::string> NodeCache::finish(const std::string& sha256) {
  const std::unique_ptr<Draft> draft = std::move(drafts_.extract(sha256).mapped());
  if (draft->digest.hex() != sha256) return std::nullopt;
  const std::string path = path_of(sha256);
  if (std::rename(draft->file.path().c_str(), path.c_str()) != 0) {
    fail(draft->file.path(), "cannot be renamed to " + path, errno);
  }
  return path;
}

void NodeCache::abandon(const std::string& sha256) { drafts_.erase(sha256); }

NodeCache::Handle* NodeCache::open_whole(const std::string& sha256) {
  std::unique_ptr<Handle>& handle = whole_[sha256];
  if (handle != nullptr) return handle.get();
  const auto original = originals_.find(sha256);
  const std::string path = original != originals_.end() ? original->second : path_of(sha256);
  if (original == originals_.end() && !can_read(path)) return nullptr;
  handle = std::make_unique<Handle>(path, O_RDONLY);
  return handle.get();
}

std::optional<std::int64_t> NodeCache::available(const std::string& sha256) {
  if (const auto draft = drafts_.find(sha256); draft != drafts_.end()) {
    return draft->second->arrived;
  }
  const Handle* whole = open_whole(sha256);
  if (whole == nullptr) return std::nullopt;
  return whole->size();
}

Bytes NodeCache::read(const std::string& sha256, std::int64_t offset, std::int64_t count) {
  if (const auto draft = drafts_.find(sha256); draft != drafts_.end()) {
    return draft->second->file.read(offset, std::min(count, draft->second->arrived - offset));
  }
  const Handle& whole = *open_whole(sha256);
  return whole.read(offset, std::min(count, whole.size() - offset));
}

std::string file_cache_folder() {
  const std::string user = eval::user_cache_dir();
  return user.empty() ? user : user + "/files";
}

}  // namespace squant::runner
