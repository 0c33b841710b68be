// A file's bytes in memory without reading them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace squant::eval {

// A file's bytes, mapped read-only. For files that are replaced as a whole and never rewritten in
// place: reading a part that another process has cut off ends the program (SIGBUS), unless it
// handles that signal. Throws std::invalid_argument naming the path.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  // Of an open file, which stays the caller's; `where` names it in messages.
  MappedFile(int fd, const std::string& where);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }

  // What was read so far no longer counts as this process's memory; it can be read again.
  void release() const;

 private:
  void map(int fd, const std::string& where);
  std::span<const std::byte> bytes_;
};

}  // namespace squant::eval
