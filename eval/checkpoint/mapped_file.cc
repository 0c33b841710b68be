#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "eval/checkpoint/safetensors.h"

namespace squant::eval {

MappedFile::MappedFile(const std::string& path) {
  const auto fail = [&](const std::string& why) -> std::invalid_argument {
    return std::invalid_argument(path + ": " + why);
  };
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it has no effect on regular files.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw fail(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw fail("is not a regular file");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = nullptr;
  int error = 0;
  if (size > 0) {  // mmap refuses a length of zero
    address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    error = errno;
  }
  ::close(fd);
  if (address == MAP_FAILED) throw fail(std::string("cannot be mapped: ") + std::strerror(error));
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace squant::eval
