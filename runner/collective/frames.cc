#include "runner/collective/frames.h"

#include <cstring>
#include <stdexcept>
#include <tuple>
#include <type_traits>

namespace squant::runner {
namespace {

// A message is a CBOR array, whose first byte is 0x82.
constexpr std::uint8_t kMark = 'F';

// The fields of each frame, in the order in which they travel.
template <typename F>
auto fields(F& f) {
  using T = std::remove_const_t<F>;
  if constexpr (std::is_same_v<T, FileWanted>) {
    return std::tie(f.sha256, f.host, f.place);
  } else if constexpr (std::is_same_v<T, SourceFailed>) {
    return std::tie(f.sha256, f.source, f.why, f.damaged);
  } else if constexpr (std::is_same_v<T, FileArrived>) {
    return std::tie(f.sha256, f.bytes);
  } else if constexpr (std::is_same_v<T, FileSource>) {
    return std::tie(f.sha256, f.size, f.source, f.host);
  } else if constexpr (std::is_same_v<T, FileNearby> || std::is_same_v<T, StillWaiting>) {
    return std::tie(f.sha256);
  } else if constexpr (std::is_same_v<T, PullPiece>) {
    return std::tie(f.sha256, f.offset);
  } else if constexpr (std::is_same_v<T, Piece>) {
    return std::tie(f.sha256, f.offset, f.bytes);
  } else {
    return std::tie(f.sha256, f.why);  // FileLost, FileRefused, NotHere
  }
}

class Writer {
 public:
  Bytes bytes;
  void put(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + size);
  }
  template <typename T>
  void operator()(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      put(&value, sizeof(value));
    } else {
      (*this)(static_cast<std::uint64_t>(value.size()));
      put(value.data(), value.size());
    }
  }
};

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  const std::uint8_t* take(std::size_t size) {
    if (size > rest_.size()) throw std::invalid_argument("a frame is cut short");
    const std::uint8_t* from = rest_.data();
    rest_ = rest_.subspan(size);
    return from;
  }
  template <typename T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = *take(1) != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      std::memcpy(&value, take(sizeof(value)), sizeof(value));
    } else {
      std::uint64_t size = 0;
      (*this)(size);
      const std::uint8_t* from = take(size);
      value.assign(from, from + size);
    }
  }
  void end() const {
    if (!rest_.empty()) throw std::invalid_argument("a frame is too long");
  }

 private:
  std::span<const std::uint8_t> rest_;
};

template <std::size_t Index = 0>
Frame read_as(std::size_t index, Reader& reader) {
  if constexpr (Index == std::variant_size_v<Frame>) {
    throw std::invalid_argument("unknown kind of frame");
  } else {
    if (index != Index) return read_as<Index + 1>(index, reader);
    std::variant_alternative_t<Index, Frame> frame;
    std::apply([&](auto&... field) { (reader(field), ...); }, fields(frame));
    reader.end();
    return frame;
  }
}

}  // namespace

Bytes encode_frame(const Frame& frame) {
  Writer writer;
  if (const auto* piece = std::get_if<Piece>(&frame))
    writer.bytes.reserve(piece->bytes.size() + 128);
  writer(kMark);
  writer(static_cast<std::uint8_t>(frame.index()));
  std::visit(
      [&](const auto& one) {
        std::apply([&](const auto&... field) { (writer(field), ...); }, fields(one));
      },
      frame);
  return std::move(writer.bytes);
}

bool is_frame(std::span<const std::uint8_t> bytes) {
  return !bytes.empty() && bytes.front() == kMark;
}

Frame decode_frame(std::span<const std::uint8_t> bytes) {
  if (!is_frame(bytes)) throw std::invalid_argument("not a frame of this program");
  Reader reader(bytes.subspan(1));
  std::uint8_t index = 0;
  reader(index);
  return read_as(index, reader);
}

}  // namespace squant::runner
