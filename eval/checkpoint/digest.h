// SHA-256 and SHA-1 of files and bytes. The SHA-256 functions of whole ones are declared in
// checkpoint.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace squant::eval {

// SHA-1 of bytes in memory, lower-case hex: only to recognise published files that are known by it.
std::string sha1_hex(std::span<const std::byte> bytes);

// SHA-256 of a file as sha256_file (checkpoint.h). `progress` is called every MiB.
std::string sha256_file(const std::string& path, const std::function<void()>& progress);

// SHA-256 of bytes that come piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, std::size_t size);
  std::string hex();  // lower case; ends it

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace squant::eval
