#include "results/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace squant::results {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& path, int error) {
  throw std::invalid_argument(path + ": cannot write it: " + std::strerror(error));
}

// 0, or errno.
int write_all(int descriptor, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t size = ::write(descriptor, text.data() + done, text.size() - done);
    if (size < 0 && errno != EINTR) return errno;
    if (size > 0) done += static_cast<std::size_t>(size);
  }
  return 0;
}

void write_directly(const std::string& path, const std::string& text) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) refuse(path, errno);
  const int error = write_all(descriptor, text);
  ::close(descriptor);
  if (error != 0) refuse(path, error);
}

mode_t current_umask() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}

}  // namespace

void write_whole_file(const std::string& path, const std::string& text) {
  std::error_code code;
  if (fs::is_directory(path, code)) refuse(path, EISDIR);
  if (fs::exists(path, code) && !fs::is_regular_file(path, code)) return write_directly(path, text);
  // Through a symbolic link: the link stays.
  const fs::path target = fs::is_symlink(path, code) ? fs::canonical(path, code) : fs::path(path);
  std::string partial = (target.empty() ? path : target.string()) + ".XXXXXX";
  const int descriptor = ::mkstemp(partial.data());
  if (descriptor < 0) refuse(path, errno);
  int error = write_all(descriptor, text);
  if (error == 0 && ::fchmod(descriptor, 0666 & ~current_umask()) != 0) error = errno;
  if (::close(descriptor) != 0 && error == 0) error = errno;
  const std::string final_path = partial.substr(0, partial.size() - 7);
  if (error == 0 && ::rename(partial.c_str(), final_path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(partial.c_str());
  refuse(path, error);
}

}  // namespace squant::results
