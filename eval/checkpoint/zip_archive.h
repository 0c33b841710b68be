// A zip archive in memory, read through libzip.
#pragma once

#include <zip.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace squant::eval {

// Entries that are stored or deflated; zip64 as well. Nothing is ever written to disk, so names may
// be anything.
//
// Against zip bombs the constructor adds up the sizes that the archive declares: at most
// `max_total_bytes`, and beyond 64 MiB at most 100 times the archive's own size (weights shrink by
// a tenth). No entry yields more bytes than it declares.
class ZipArchive {
 public:
  static constexpr std::uint64_t kMaxTotalBytes = std::uint64_t{8} << 30;

  // Borrows `bytes`. `where` names the file in messages. Throws std::invalid_argument.
  ZipArchive(std::span<const std::byte> bytes, std::string where,
             std::uint64_t max_total_bytes = kMaxTotalBytes);

  // Sorted; folders left out.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.contains(name); }
  // The declared size of an entry that the archive contains.
  std::uint64_t size_bytes(const std::string& name) const { return entries_.at(name).size_bytes; }

  // What all entries together declare.
  std::uint64_t total_bytes() const { return total_bytes_; }

  // The bytes of an entry, its CRC-32 checked. Throws std::invalid_argument: no such entry, a wrong
  // length or checksum, an encryption or compression that is not read here.
  std::vector<std::byte> read(const std::string& name) const;

  // The same a block at a time, for entries that are too large for memory: `take` gets the bytes in
  // their order. The checksum is compared at the end, when all have been given.
  void read_blocks(const std::string& name,
                   const std::function<void(std::span<const std::byte>)>& take) const;

 private:
  class EntryReader;
  struct Entry {
    std::uint64_t index = 0;
    std::uint64_t size_bytes = 0;
    std::uint16_t method = 0;
    bool encrypted = false;
  };
  struct Discard {
    void operator()(zip_t* archive) const { zip_discard(archive); }
  };
  [[noreturn]] void fail(const std::string& what) const;

  std::string where_;
  std::unique_ptr<zip_t, Discard> archive_;
  std::map<std::string, Entry> entries_;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace squant::eval
