#include "eval/images/packed_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <type_traits>

#include "eval/images/picture.h"

namespace squant::eval {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr char kMagic[8] = {'S', 'Q', 'P', 'I', 'X', 'E', 'L', 'S'};
constexpr std::uint32_t kLayoutVersion = 1;
constexpr std::uint64_t kPresent = 0x50524553454e5421;  // an entry of zeros is a hole of the file

[[noreturn]] void fail(const std::string& path, const std::string& problem, int error) {
  throw CacheError(path + ": " + problem + ": " + std::strerror(error));
}

// 0 or the error's number.
int write_all(int fd, const void* data, std::uint64_t count, std::uint64_t offset) {
  const auto* from = static_cast<const std::uint8_t*>(data);
  while (count > 0) {
    const ssize_t put = ::pwrite(fd, from, count, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return put < 0 ? errno : ENOSPC;
    from += put;
    offset += static_cast<std::uint64_t>(put);
    count -= static_cast<std::uint64_t>(put);
  }
  return 0;
}

// Locks or unlocks bytes of a file without waiting. 0 or the error's number; EAGAIN or EACCES:
// others hold them.
int set_record_lock(int fd, short type, std::int64_t begin, std::int64_t count) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = begin;
  range.l_len = count;
  return ::fcntl(fd, F_OFD_SETLK, &range) == 0 ? 0 : errno;
}

// Holds a lock file. On file systems without locks it holds nothing: creation stays right, the work
// of one of two creators may be lost.
class CreationLock {
 public:
  explicit CreationLock(const std::string& path)
      : fd_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(path, "cannot be created", errno);
    while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~CreationLock() { ::close(fd_); }
  CreationLock(const CreationLock&) = delete;
  CreationLock& operator=(const CreationLock&) = delete;

 private:
  int fd_;
};

std::string file_name(const std::string& fingerprint, std::int64_t size) {
  return fingerprint.substr(0, 32) + "-" + std::to_string(size) + "-v" +
         std::to_string(kLayoutVersion) + "." + std::to_string(kPreprocessVersion) + ".pixels";
}

}  // namespace

struct PackedCache::Header {
  char magic[8];
  std::uint32_t layout_version;
  std::uint32_t preprocess_version;
  std::int64_t size;
  std::int64_t num_pictures;
  char fingerprint[64];
  std::uint64_t checksum;  // of all before
};

struct PackedCache::Entry {
  std::uint64_t checksum;
  std::int64_t size_bytes;
  std::int64_t modified_ns;
  std::uint64_t mark;
};

PackedCache::PackedCache(const std::string& folder, const std::string& fingerprint,
                         std::int64_t num_pictures, std::int64_t size)
    : path_(folder + "/" + file_name(fingerprint, size)),
      fingerprint_(fingerprint),
      num_pictures_(num_pictures),
      size_(size),
      picture_bytes_(static_cast<std::uint64_t>(size * size * 3)) {
  static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 104 &&
                sizeof(Entry) == 32);
  const std::uint64_t entries_end =
      kPage + static_cast<std::uint64_t>(num_pictures) * sizeof(Entry);
  pixels_begin_ = (entries_end + kPage - 1) / kPage * kPage;
  file_bytes_ = pixels_begin_ + static_cast<std::uint64_t>(num_pictures) * picture_bytes_;

  if (!open_existing()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw CacheError(folder + ": cannot be created: " + error.message());
    const CreationLock lock(path_ + ".lock");
    // Another process may have created it meanwhile.
    if (!open_existing()) {
      create();
      if (!open_existing()) throw CacheError(path_ + ": was replaced while it was created");
    }
  }
  void* mapped = ::mmap(nullptr, file_bytes_, PROT_READ, MAP_SHARED, fd_, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    ::close(fd_);
    fail(path_, "cannot be mapped", error);
  }
  mapped_ = static_cast<const std::uint8_t*>(mapped);
}

PackedCache::~PackedCache() {
  ::munmap(const_cast<std::uint8_t*>(mapped_), file_bytes_);
  ::close(fd_);
}

bool PackedCache::open_existing() {
  read_only_ = false;
  fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  if (fd_ < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    read_only_ = fd_ >= 0;
  }
  if (fd_ < 0 && errno == ENOENT) return false;
  if (fd_ < 0) fail(path_, "cannot be opened", errno);

  Header header;
  struct stat facts {};
  const bool valid =
      ::fstat(fd_, &facts) == 0 && static_cast<std::uint64_t>(facts.st_size) == file_bytes_ &&
      ::pread(fd_, &header, sizeof(header), 0) == static_cast<ssize_t>(sizeof(header)) &&
      std::memcmp(header.magic, kMagic, sizeof(kMagic)) == 0 &&
      header.layout_version == kLayoutVersion && header.preprocess_version == kPreprocessVersion &&
      header.size == size_ && header.num_pictures == num_pictures_ &&
      fingerprint_.compare(0, std::string::npos, header.fingerprint, sizeof(header.fingerprint)) ==
          0 &&
      header.checksum == XXH3_64bits(&header, offsetof(Header, checksum));
  if (!valid) {
    ::close(fd_);
    fd_ = -1;
  }
  return valid;
}

void PackedCache::create() {
  // A fixed name: what a killed process left behind is used up by the next one.
  const std::string draft = path_ + ".new";
  const int fd = ::open(draft.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0) fail(draft, "cannot be created", errno);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.layout_version = kLayoutVersion;
  header.preprocess_version = kPreprocessVersion;
  header.size = size_;
  header.num_pictures = num_pictures_;
  fingerprint_.copy(header.fingerprint, sizeof(header.fingerprint));
  header.checksum = XXH3_64bits(&header, offsetof(Header, checksum));
  int error = write_all(fd, &header, sizeof(header), 0);
  if (error == 0 && ::ftruncate(fd, static_cast<off_t>(file_bytes_)) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(draft.c_str(), path_.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(draft.c_str());
    fail(draft, "cannot be written", error);
  }
}

std::uint64_t PackedCache::checksum(std::int64_t index, const FileVersion& version,
                                    const std::uint8_t* pixels) const {
  const std::int64_t facts[3] = {index, version.size_bytes, version.modified_ns};
  return XXH3_64bits_withSeed(pixels, picture_bytes_, XXH3_64bits(facts, sizeof(facts)));
}

bool PackedCache::get(std::int64_t index, const FileVersion& version, std::uint8_t* pixels) const {
  // A file that someone cut short must not be touched through the mapping.
  struct stat facts {};
  if (::fstat(fd_, &facts) != 0 || static_cast<std::uint64_t>(facts.st_size) < file_bytes_)
    return false;
  // Entries are read, not mapped: on a full tmpfs, to touch a hole through a mapping is a SIGBUS.
  // Where the mark says that a picture is present there is no hole.
  const auto i = static_cast<std::uint64_t>(index);
  Entry entry;
  if (::pread(fd_, &entry, sizeof(entry), static_cast<off_t>(kPage + i * sizeof(Entry))) !=
      static_cast<ssize_t>(sizeof(entry))) {
    return false;
  }
  if (entry.mark != kPresent || entry.size_bytes != version.size_bytes ||
      entry.modified_ns != version.modified_ns) {
    return false;
  }
  // Copied first and checked then: what is checked cannot change any more.
  std::memcpy(pixels, mapped_ + pixels_begin_ + i * picture_bytes_, picture_bytes_);
  return checksum(index, version, pixels) == entry.checksum;
}

void PackedCache::put(std::int64_t index, const FileVersion& version, const std::uint8_t* pixels) {
  const auto i = static_cast<std::uint64_t>(index);
  const Entry entry{.checksum = checksum(index, version, pixels),
                    .size_bytes = version.size_bytes,
                    .modified_ns = version.modified_ns,
                    .mark = kPresent};
  int error = write_all(fd_, pixels, picture_bytes_, pixels_begin_ + i * picture_bytes_);
  if (error == 0) error = write_all(fd_, &entry, sizeof(entry), kPage + i * sizeof(entry));
  if (error != 0) fail(path_, "cannot be written", error);
}

// A record lock of the open file, on the bytes of the entry: unlike a process's locks, it tells two
// openings in one process apart and does not end when another one is closed.
PackedCache::Claim::Claim(const PackedCache& cache, std::int64_t index)
    : fd_(cache.fd_),
      entry_begin_(static_cast<std::int64_t>(kPage) +
                   index * static_cast<std::int64_t>(sizeof(Entry))) {
  try_again();
}

PackedCache::Claim::~Claim() {
  if (is_held_) set_record_lock(fd_, F_UNLCK, entry_begin_, sizeof(Entry));
}

bool PackedCache::Claim::try_again() {
  const int error = set_record_lock(fd_, F_WRLCK, entry_begin_, sizeof(Entry));
  is_held_ = error != EAGAIN && error != EACCES;
  return is_held_;
}

}  // namespace squant::eval
