// The SHA-256 of a checkpoint's files, computed while its tensors are read.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace squant::eval {

// Starts one thread, which the destructor stops and waits for.
class SourceDigest {
 public:
  // Takes note of what the files are now. Throws std::invalid_argument naming one that is not
  // there.
  explicit SourceDigest(std::vector<std::string> paths);

  // Waits. A digest for each file, lower-case hex. Throws std::invalid_argument naming a file that
  // cannot be read, or that is another than when this object was made: whatever was read of it
  // meanwhile is of no use.
  std::vector<std::string> finish();

 private:
  struct Version {  // what a file that was written to does not keep
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_s = 0;
    std::int64_t modified_ns = 0;
    bool operator==(const Version&) const = default;
  };
  static Version version_of(const std::string& path);

  std::vector<std::string> paths_;
  std::vector<Version> versions_;
  std::future<std::vector<std::string>> digests_;
  std::jthread thread_;  // last: it is stopped before the others go
};

}  // namespace squant::eval
