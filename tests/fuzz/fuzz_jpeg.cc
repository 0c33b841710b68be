// A picture's way from its file to the network: decode (JPEG, or PNG by its content), resize, crop.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "eval/images/picture.h"

namespace {

constexpr std::int64_t kSize = 24;
constexpr std::uint64_t kMaxPixels = 1 << 18;

std::uint64_t big_endian(const std::uint8_t* data, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | data[i];
  return value;
}

// What claims to be large is legal and only slow: nothing is learned from it.
bool claims_to_be_large(std::span<const std::uint8_t> file) {
  if (file.size() >= 24 && file[0] == 0x89) {
    return big_endian(&file[16], 4) * big_endian(&file[20], 4) > kMaxPixels;
  }
  // A JPEG frame header: 0xff, 0xc0 to 0xcf, length (2), precision (1), height (2), width (2).
  for (std::size_t i = 0; i + 9 <= file.size(); ++i) {
    if (file[i] == 0xff && file[i + 1] >> 4 == 0xc &&
        big_endian(&file[i + 5], 2) * big_endian(&file[i + 7], 2) > kMaxPixels) {
      return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace squant::eval;
  if (claims_to_be_large(std::span(data, size))) return 0;
  static PictureReader reader;  // nothing of a picture may stay for the next one
  std::vector<std::uint8_t> pixels(kSize * kSize * 3);
  try {
    reader.read(std::span(data, size), kSize, pixels.data());
  } catch (const PictureError&) {  // the one answer to bad input; anything else is a finding
  }
  return 0;
}
