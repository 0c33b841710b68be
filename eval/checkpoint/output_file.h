// Files that appear as a whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace squant::eval {

// A temporary file in the folder of `path`, which publish() renames to it; without publish() it is
// removed. Members throw std::system_error that names `path`.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Takes the space on the disk now, where the file system can: a disk that is too small is an
  // error before the work, not after it.
  void reserve(std::uint64_t size_bytes);
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  // Makes the bytes durable, gives the file the permissions of any new file, and renames it.
  void publish();

 private:
  std::string path_;
  std::string name_;
  int fd_ = -1;
};

// Removes the temporary file that is being written, if there is one (of several, the last created).
// For signal handlers that end the process: async-signal-safe.
void remove_unfinished_output() noexcept;

}  // namespace squant::eval
