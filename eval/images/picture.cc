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

// False, with nothing pushed: the CPU has to decode it.
bool PictureReader::push_by_gpu(std::span<const std::uint8_t> file, std::int64_t size) {
  const JpegFacts facts = jpeg_facts(file);
  if (!facts.is_plain) return false;
  if (by_gpu_ == nullptr) by_gpu_ = std::make_unique<NvjpegDecoder>(*device_);
  resampler_.begin(facts.width, facts.height, 3, size);
  const std::uint8_t* row = by_gpu_->decode(file, facts.width, facts.height, resampler_.first_row(),
                                            resampler_.end_row());
  if (row == nullptr) return false;
  row += 3 * resampler_.first_column();
  for (std::int64_t y = resampler_.first_row(); y < resampler_.end_row(); ++y) {
    resampler_.push_row(row);
    row += 3 * facts.width;
  }
  return true;
}

DecodedBy PictureReader::read(std::span<const std::uint8_t> file, std::int64_t size,
                              std::uint8_t* out) {
  constexpr std::array<std::uint8_t, 3> kJpeg{0xff, 0xd8, 0xff};
  constexpr std::array<std::uint8_t, 8> kPng{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (file.empty()) throw PictureError("is empty");
  DecodedBy by = DecodedBy::kCpu;
  if (begins_with(file, kJpeg)) {
    if (device_ != nullptr && push_by_gpu(file, size)) {
      by = DecodedBy::kGpu;
    } else {
      decode_jpeg(file, size, resampler_, pixels_);
    }
  } else if (begins_with(file, kPng)) {
    decode_png(file, size, resampler_, pixels_);
  } else {
    throw PictureError("is neither JPEG nor PNG");
  }
  resampler_.finish(out);
  return by;
}

}  // namespace squant::eval
