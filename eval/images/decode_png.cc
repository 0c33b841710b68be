#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

#include "eval/images/picture.h"

namespace squant::eval {
namespace {

// A libpng reader whose errors become PictureError; as in decode_jpeg.cc, libpng leaves by longjmp.
class PngReader {
 public:
  explicit PngReader(std::span<const std::uint8_t> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngReader::on_error,
                                  [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, this, &PngReader::on_read);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  template <typename Call>
  void guarded(const Call& call) {
    if (setjmp(jump_) != 0) throw PictureError(message_.data());
    call();
  }

  png_structp png() { return png_; }
  png_infop info() { return info_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->message_.data(), self->message_.size(), "%s", message);
    std::longjmp(self->jump_, 1);
  }
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "is truncated");
    std::memcpy(out, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  std::span<const std::uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  std::array<char, 200> message_{};
};

// From big-endian 16 bits, in place.
void clip_to_8_bits(std::uint8_t* row, std::int64_t width) {
  for (std::int64_t x = 0; x < width; ++x) row[x] = row[2 * x] != 0 ? 255 : row[2 * x + 1];
}

}  // namespace

void decode_png(std::span<const std::uint8_t> file, std::int64_t size, CropResampler& resampler,
                std::vector<std::uint8_t>& pixels) {
  PngReader reader(file);
  png_structp png = reader.png();
  png_infop info = reader.info();
  reader.guarded([&] { png_read_info(png, info); });
  const std::int64_t width = png_get_image_width(png, info);
  const std::int64_t height = png_get_image_height(png, info);
  check_picture_size(width, height);

  // Of 16 bits Pillow keeps the high ones, except of grey, where it takes what exceeds 8 bits for
  // white.
  const bool wide_grey =
      png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
  int passes = 0;
  reader.guarded([&] {
    if (!wide_grey) png_set_strip_16(png);
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE) {
      png_set_palette_to_rgb(png);
    } else if (png_get_bit_depth(png, info) < 8) {
      png_set_expand_gray_1_2_4_to_8(png);
    }
    png_set_strip_alpha(png);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
  });
  const int channels = png_get_channels(png, info);
  const std::size_t stride = png_get_rowbytes(png, info);
  if ((channels != 1 && channels != 3) ||
      stride != static_cast<std::size_t>(width * channels * (wide_grey ? 2 : 1))) {
    throw PictureError("is a kind of PNG that is not understood");
  }
  resampler.begin(width, height, channels, size);
  // An interlaced picture fills in its rows pass by pass.
  pixels.resize(stride * static_cast<std::size_t>(passes > 1 ? height : 1) + kRowSlack);
  const auto row_at = [&](std::int64_t y) {
    return pixels.data() + (passes > 1 ? stride * static_cast<std::size_t>(y) : 0);
  };
  const std::int64_t offset = resampler.first_column() * channels;
  reader.guarded([&] {
    for (int pass = 1; pass <= passes; ++pass) {
      for (std::int64_t y = 0; y < height; ++y) {
        png_read_row(png, row_at(y), nullptr);
        if (pass == passes && y >= resampler.first_row() && y < resampler.end_row()) {
          if (wide_grey) clip_to_8_bits(row_at(y), width);
          resampler.push_row(row_at(y) + offset);
        }
      }
    }
  });
}

}  // namespace squant::eval
