// One picture file to the pixels that a network sees, equal to Pillow's and torchvision's
// CenterCrop(size)(Resize(int(size / 0.875))(Image.open(file).convert("RGB"))).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include "eval/images/nvjpeg_decoder.h"
#include "eval/images/resample.h"

namespace squant::eval {

// Raised whenever a picture could give other pixels than before: part of the name of a packed
// cache.
inline constexpr int kPreprocessVersion = 1;

// More pixels than this are refused, as Pillow does (twice its MAX_IMAGE_PIXELS).
inline constexpr std::int64_t kMaxPicturePixels = 178956970;

// Why a picture cannot be decoded.
class PictureError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class DecodedBy : std::uint8_t { kCpu, kGpu };

// Keeps its buffers between pictures. Not thread-safe: one for each thread.
class PictureReader {
 public:
  PictureReader() = default;
  // JPEG files that nvJPEG decodes are decoded by it: their pixels are near the ones above, not
  // equal. Which files these are depends on the file and on nvJPEG's version alone. `device`
  // outlives the reader.
  explicit PictureReader(NvjpegDevice* device) : device_(device) {}

  // JPEG (grey, RGB, YCbCr, CMYK, YCCK; baseline and progressive) or PNG (all kinds; alpha is
  // dropped), told apart by content. EXIF orientation is ignored, as torchvision does. Writes
  // [size, size, 3]. Throws PictureError; `out` may have been written to then. With a device also
  // what NvjpegDecoder throws.
  DecodedBy read(std::span<const std::uint8_t> file, std::int64_t size, std::uint8_t* out);

 private:
  bool push_by_gpu(std::span<const std::uint8_t> file, std::int64_t size);

  NvjpegDevice* device_ = nullptr;         // null: everything is decoded by the CPU
  std::unique_ptr<NvjpegDecoder> by_gpu_;  // from the first JPEG file on
  CropResampler resampler_;
  std::vector<std::uint8_t> pixels_;
};

struct JpegFacts {
  std::int64_t width = 0, height = 0;
  // Grey or YCbCr of 8 bits, Huffman coded, and not cut off: what other decoders decode alike.
  bool is_plain = false;
};
// Throws PictureError.
JpegFacts jpeg_facts(std::span<const std::uint8_t> file);

// Each pushes the rows that the crop needs into `resampler`; `pixels` is memory to work in.
void decode_jpeg(std::span<const std::uint8_t> file, std::int64_t size, CropResampler& resampler,
                 std::vector<std::uint8_t>& pixels);
void decode_png(std::span<const std::uint8_t> file, std::int64_t size, CropResampler& resampler,
                std::vector<std::uint8_t>& pixels);

// Throws PictureError for a picture without pixels or with more than kMaxPicturePixels.
void check_picture_size(std::int64_t width, std::int64_t height);

}  // namespace squant::eval
