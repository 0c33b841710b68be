// Working memory of one thread, kept between calls.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

namespace squant::eval {

// Memory on a cache-line boundary, not initialized.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size_bytes) { resize(size_bytes); }
  ~AlignedBuffer() { release(); }
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
      other.size_ = 0;
    }
    return *this;
  }

  // The old contents are lost.
  void resize(std::size_t size_bytes) {
    release();
    data_ = static_cast<std::byte*>(::operator new(size_bytes, kAlignment));
    size_ = size_bytes;
  }
  void release() {
    ::operator delete(data_, kAlignment);
    data_ = nullptr;
    size_ = 0;
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// What a thread needs the memory for: one buffer each, so that users of different purposes never
// collide.
enum class ScratchUse : std::uint8_t {
  kValues,     // float sums on their way into the epilogue
  kCombined,   // the first layer after its input channels are combined
  kEpilogue,   // results that are no tensor of the network
  kRawSums,    // sums before parts and zero points are merged
  kInput,      // a strip of the input in another format
  kInputSums,  // sums of the input per window
  kPixelSums,  // sums of the input per position
  kLibrary,    // oneDNN's own working memory
  kPlanes,     // padded pixel planes of the first layer
  kColumns,    // its windows, unrolled
  kNumUses
};

class Scratch {
 public:
  // Valid until the next call for the same use.
  template <typename T>
  T* get(ScratchUse use, std::int64_t count) {
    AlignedBuffer& buffer = buffers_[static_cast<std::size_t>(use)];
    const std::size_t size_bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (buffer.size() < size_bytes) {
      buffer.resize(size_bytes);
    }
    return reinterpret_cast<T*>(buffer.data());
  }

 private:
  std::array<AlignedBuffer, static_cast<std::size_t>(ScratchUse::kNumUses)> buffers_;
};

}  // namespace squant::eval
