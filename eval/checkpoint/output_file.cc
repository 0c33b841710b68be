#include "eval/checkpoint/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace squant::eval {
namespace {

// What a signal handler would have to remove: the name_ of the OutputFile created last.
std::atomic<const char*> unfinished_name{nullptr};
static_assert(std::atomic<const char*>::is_always_lock_free, "read by a signal handler");

[[noreturn]] void fail_write(const std::string& path, int error) {
  throw std::system_error(error, std::generic_category(), path + ": cannot be written");
}

// Signals wait while a file exists that no handler knows of.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

// Makes a rename itself durable; not every file system allows it.
void sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

OutputFile::OutputFile(const std::string& path) : path_(path), name_(path + ".XXXXXX") {
  const BlockedSignals blocked;
  fd_ = ::mkostemp(name_.data(), O_CLOEXEC);
  if (fd_ < 0) fail_write(path_, errno);
  unfinished_name = name_.c_str();
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (name_.empty()) return;
  ::unlink(name_.c_str());
  unfinished_name = nullptr;
}

void OutputFile::reserve(std::uint64_t size_bytes) {
  if (size_bytes == 0) return;
  int error = 0;
  do {
    error = ::fallocate(fd_, 0, 0, static_cast<off_t>(size_bytes)) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    throw std::system_error(
        error, std::generic_category(),
        path_ + ": cannot be written, it needs " + std::to_string(size_bytes) + " bytes");
  }
}

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_write(path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

void OutputFile::publish() {
  // mkostemp makes the file private; this one is as readable as any file the user creates.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(fd_, 0666 & ~mask) != 0 || ::fsync(fd_) != 0) fail_write(path_, errno);
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0 || ::rename(name_.c_str(), path_.c_str()) != 0) fail_write(path_, errno);
  unfinished_name = nullptr;
  name_.clear();
  sync_folder_of(path_);
}

void remove_unfinished_output() noexcept {
  const char* const name = unfinished_name;
  if (name != nullptr) ::unlink(name);
}

}  // namespace squant::eval
