#include "eval/images/picture.h"

#include <algorithm>
#include <array>
#include <string>

namespace squant::eval {
namespace {

template <std::size_t N>
bool begins_with(std::span<const std::uint8_t> file, const std::array<std::uint8_t, N>& magic) {
  return file.size() >= N && std::equal(magic.begin(), magic.end(), file.begin());
}

}  // namespace

void check_picture_size(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) throw PictureError("has no pixels");
  if (width > kMaxPicturePixels / height) {
    throw PictureError("claims " + std::to_string(width) + " x " + std::to_string(height) +
                       " pixels, more than " + std::to_string(kMaxPicturePixels) + " are refused");
  }
}

void PictureReader::read(std::span<const std::uint8_t> file, std::int64_t size, std::uint8_t* out) {
  constexpr std::array<std::uint8_t, 3> kJpeg{0xff, 0xd8, 0xff};
  constexpr std::array<std::uint8_t, 8> kPng{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (file.empty()) throw PictureError("is empty");
  if (begins_with(file, kJpeg)) {
    decode_jpeg(file, size, resampler_, pixels_);
  } else if (begins_with(file, kPng)) {
    decode_png(file, size, resampler_, pixels_);
  } else {
    throw PictureError("is neither JPEG nor PNG");
  }
  resampler_.finish(out);
}

}  // namespace squant::eval
