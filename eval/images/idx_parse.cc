#include <zlib.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "eval/images/idx.h"

namespace squant::eval {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& problem) {
  throw std::invalid_argument(where + ": " + problem);
}

// Hands out a file's bytes in order, inflated where they are gzip.
class ByteSource {
 public:
  ByteSource(std::span<const std::uint8_t> file, const std::string& where)
      : where_(where), rest_(file), gzip_(file.size() >= 2 && file[0] == 0x1f && file[1] == 0x8b) {
    constexpr int kGzipWrapper = 16;
    if (gzip_ && inflateInit2(&stream_, MAX_WBITS + kGzipWrapper) != Z_OK)
      fail(where_, "zlib cannot start");
  }
  ~ByteSource() {
    if (gzip_) inflateEnd(&stream_);
  }
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // At most this many bytes can still come out: deflate never expands more than 1032 times.
  std::uint64_t most() const { return rest_.size() * (gzip_ ? std::uint64_t{1032} : 1); }

  // Fills `out` as far as bytes last; returns how many.
  std::size_t read(std::span<std::uint8_t> out) {
    return gzip_ ? inflate_into(out) : copy_into(out);
  }

 private:
  std::size_t copy_into(std::span<std::uint8_t> out) {
    const std::size_t count = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), count, out.begin());
    rest_ = rest_.subspan(count);
    return count;
  }

  std::size_t inflate_into(std::span<std::uint8_t> out) {
    constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // zlib counts in 32 bits
    std::size_t done = 0;
    while (done < out.size() && !ended_) {
      const std::size_t room = std::min(out.size() - done, kMostAtOnce);
      const std::size_t fed = std::min(rest_.size(), kMostAtOnce);
      stream_.next_out = out.data() + done;
      stream_.avail_out = static_cast<uInt>(room);
      stream_.next_in = const_cast<Bytef*>(rest_.data());  // zlib's interface; it only reads
      stream_.avail_in = static_cast<uInt>(fed);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      rest_ = rest_.subspan(fed - stream_.avail_in);
      if (status == Z_STREAM_END) {
        next_member();
      } else if (status == Z_BUF_ERROR) {
        fail(where_, "the gzip data is truncated");
      } else if (status != Z_OK) {
        fail(where_, std::string("the gzip data is damaged: ") +
                         (stream_.msg != nullptr ? stream_.msg : "zlib error"));
      }
    }
    return done;
  }

  // A gzip file may be several, one after the other.
  void next_member() {
    ended_ = rest_.empty();
    if (!ended_ && inflateReset(&stream_) != Z_OK) fail(where_, "zlib cannot start again");
  }

  const std::string& where_;
  std::span<const std::uint8_t> rest_;
  const bool gzip_;
  bool ended_ = false;
  z_stream stream_{};
};

std::vector<std::int64_t> read_dims(ByteSource& source, const std::string& where) {
  constexpr std::uint8_t kUnsignedByte = 0x08;
  constexpr int kMaxDims = 4;
  std::array<std::uint8_t, 4> magic{};
  if (source.read(magic) != magic.size()) fail(where, "is too short for an IDX file");
  if (magic[0] != 0 || magic[1] != 0)
    fail(where, "is no IDX file: it does not begin with two zero bytes");
  if (magic[2] != kUnsignedByte) {
    fail(where,
         "holds IDX type " + std::to_string(magic[2]) + "; only unsigned bytes (type 8) are read");
  }
  if (magic[3] < 1 || magic[3] > kMaxDims) {
    fail(where, "has " + std::to_string(magic[3]) + " dimensions, expected 1 to " +
                    std::to_string(kMaxDims));
  }
  std::vector<std::int64_t> dims;
  for (int i = 0; i < magic[3]; ++i) {
    std::array<std::uint8_t, 4> raw{};
    if (source.read(raw) != raw.size()) fail(where, "ends inside the IDX header");
    dims.push_back((std::int64_t{raw[0]} << 24) | (raw[1] << 16) | (raw[2] << 8) | raw[3]);
  }
  return dims;
}

}  // namespace

IdxArray parse_idx(std::span<const std::uint8_t> file, const std::string& where) {
  ByteSource source(file, where);
  IdxArray array{.dims = read_dims(source, where), .values = {}};
  const std::uint64_t most = source.most();
  std::uint64_t size = 1;
  for (const std::int64_t dim : array.dims) {
    const auto factor = static_cast<std::uint64_t>(dim);
    if (factor != 0 && size > most / factor)
      fail(where, "is truncated: it cannot hold what its header promises");
    size *= factor;
  }
  array.values.resize(size);
  const std::size_t got = source.read(array.values);
  if (got != size) {
    fail(where, "is truncated: " + std::to_string(got) + " of " + std::to_string(size) + " values");
  }
  std::array<std::uint8_t, 1> extra{};
  if (source.read(extra) != 0) fail(where, "is longer than its header says");
  return array;
}

}  // namespace squant::eval
