// Where a member of a distribution keeps files: behind an interface, so that tests run hundreds of
// members in one process without a disk.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "runner/collective/collective.h"
#include "runner/messages.h"

namespace squant::runner {

// Input and output that fails throws std::runtime_error naming the path and the reason.
class FileStore {
 public:
  virtual ~FileStore() = default;

  // Where a whole, verified copy lies that was received earlier.
  virtual std::optional<std::string> find(const std::string& sha256) = 0;
  // Whether this process can read the path that the plan names.
  virtual bool can_read(const std::string& path) = 0;

  // Receiving: create, append in order, finish. create() again begins anew.
  virtual void create(const std::string& sha256, std::int64_t size) = 0;
  virtual void append(const std::string& sha256, std::span<const std::uint8_t> bytes) = 0;
  // Where the file lies now; none if what arrived has another SHA-256: it is gone then.
  virtual std::optional<std::string> finish(const std::string& sha256) = 0;
  virtual void abandon(const std::string& sha256) = 0;

  // Serving. How many bytes from the front read() gives; none: nothing is known of the file.
  virtual std::optional<std::int64_t> available(const std::string& sha256) = 0;
  // `count` bytes, or up to the end of what is available. offset < available().
  virtual Bytes read(const std::string& sha256, std::int64_t offset, std::int64_t count) = 0;
};

}  // namespace squant::runner
