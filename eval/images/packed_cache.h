// Decoded pictures of one data set at one size, kept in one file on a node's disk, so that a
// picture is decoded once for all jobs and all later sweeps.
//
// The file: a header of 4096 bytes (magic, layout version, preprocessing version, size, number of
// pictures, fingerprint, checksum), one entry of 32 bytes for each picture (checksum, size and
// modification time of its file, mark), then the pixels [size, size, 3] of each picture from the
// next multiple of 4096 on. Native byte order: a cache belongs to its node. The file is sparse:
// what is not yet decoded takes no space.
//
// Why it can be believed:
// - It appears under its name by a rename, complete with header and full length; a lock file keeps
// two creators apart.
// - Pixels are written before the entry, and the entry's XXH3 covers both: a kill in between, a
// torn or lost write, two
//   writers at once, a flipped bit all look like "not there", and the picture is decoded again.
// - The entry holds size and time of the picture's file: a picture that changed is decoded again.
// - Writing is done with pwrite, so that a full disk is an error code; reading through a mapping.
//
// A Claim keeps two processes from decoding one picture. It saves work; nothing above depends on
// it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace squant::eval {

// Why a cache cannot be opened or written.
class CacheError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Which version of a picture's file an entry was made from.
struct FileVersion {
  std::int64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
};

class PackedCache {
 public:
  // Opens the cache in `folder`, or creates it (and the folder). A damaged or foreign file is
  // replaced. Read only where the file may not be written. Throws CacheError with path and reason.
  PackedCache(const std::string& folder, const std::string& fingerprint, std::int64_t num_pictures,
              std::int64_t size);
  ~PackedCache();
  PackedCache(const PackedCache&) = delete;
  PackedCache& operator=(const PackedCache&) = delete;

  const std::string& path() const { return path_; }
  bool read_only() const { return read_only_; }

  // Copies a picture to `pixels` [size, size, 3] and returns true if it is there, intact and of
  // this version. Otherwise false; `pixels` may have been written to. May be called from several
  // threads, also while others put().
  bool get(std::int64_t index, const FileVersion& version, std::uint8_t* pixels) const;

  // Adds a picture. May be called from several threads. Throws CacheError when it cannot be written
  // (disk full).
  void put(std::int64_t index, const FileVersion& version, const std::uint8_t* pixels);

  // The right to decode a picture and put() it, which one opened cache at a time has, of all that
  // are open on a node. It ends with the object, and by the kernel with the process. Two threads
  // that use the same PackedCache do not exclude each other. A thread has one claim at a time, so
  // that no two wait for each other.
  class Claim {
   public:
    // Tries once. The cache outlives the claim.
    Claim(const PackedCache& cache, std::int64_t index);
    ~Claim();
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    // Does not wait. True where the file system has no such locks: then nobody excludes anybody.
    bool try_again();
    bool is_held() const { return is_held_; }

   private:
    int fd_;
    std::int64_t entry_begin_;
    bool is_held_ = false;
  };

 private:
  struct Header;
  struct Entry;
  bool open_existing();
  void create();
  std::uint64_t checksum(std::int64_t index, const FileVersion& version,
                         const std::uint8_t* pixels) const;

  std::string path_;
  std::string fingerprint_;
  std::int64_t num_pictures_;
  std::int64_t size_;
  std::uint64_t picture_bytes_;
  std::uint64_t pixels_begin_;
  std::uint64_t file_bytes_;
  int fd_ = -1;
  bool read_only_ = false;
  const std::uint8_t* mapped_ = nullptr;
};

}  // namespace squant::eval
