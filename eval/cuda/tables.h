// Constant tables of different types in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace squant::eval::cuda {

class Tables {
 public:
  // The table's offset in bytes: a multiple of 16, as kernels load 16 bytes at a time.
  template <class T>
  std::int64_t add(const std::vector<T>& table) {
    static_assert(std::is_trivially_copyable_v<T>);
    constexpr std::size_t kAlignment = 16;
    const std::size_t offset = (bytes_.size() + kAlignment - 1) / kAlignment * kAlignment;
    bytes_.resize(offset + table.size() * sizeof(T));
    if (!table.empty()) {
      std::memcpy(bytes_.data() + offset, table.data(), table.size() * sizeof(T));
    }
    return static_cast<std::int64_t>(offset);
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace squant::eval::cuda
