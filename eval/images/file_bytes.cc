#include "eval/images/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace squant::eval {
namespace {

[[noreturn]] void fail(const std::string& path, const char* problem, int error) {
  throw std::invalid_argument(path + ": " + problem + ": " + std::strerror(error));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

void read_file(const std::string& path, std::vector<std::uint8_t>& bytes) {
  const FileDescriptor file(path);
  if (file.get() < 0) fail(path, "cannot be opened", errno);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) fail(path, "cannot be examined", errno);
  if (!S_ISREG(facts.st_mode)) throw std::invalid_argument(path + ": is not a file");
  bytes.resize(static_cast<std::size_t>(facts.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot be read", errno);
    if (got == 0) throw std::invalid_argument(path + ": became shorter while it was read");
    done += static_cast<std::size_t>(got);
  }
}

std::string user_cache_dir() {
  // The XDG specification: a relative path in the variable is to be ignored.
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && xdg[0] == '/') {
    return std::string(xdg) + "/squant-sweep";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
    return std::string(home) + "/.cache/squant-sweep";
  }
  return {};
}

}  // namespace squant::eval
