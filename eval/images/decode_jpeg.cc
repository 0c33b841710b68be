#include <cstdio>  // jpeglib.h needs it

#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <string>

#include "eval/images/picture.h"

namespace squant::eval {
namespace {

// A progressive picture of honest origin has some ten scans; each takes a pass over the whole
// picture.
constexpr int kMaxScans = 500;

// A libjpeg decompressor whose errors become PictureError. libjpeg leaves by longjmp: it is only
// called inside guarded(), where no object with a destructor is on the way.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::uint8_t> file) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) {
      static_cast<JpegReader*>(info->client_data)->leave();
    };
    errors_.output_message = [](j_common_ptr) {};  // a library does not print
    guarded([&] {
      jpeg_create_decompress(&info_);
      jpeg_mem_src(&info_, file.data(), file.size());
      // The default invents an end marker and paints the rest grey: a truncated file must not pass
      // for a picture.
      info_.src->fill_input_buffer = [](j_decompress_ptr info) -> boolean {
        static_cast<JpegReader*>(info->client_data)->leave("is truncated");
      };
      progress_.progress_monitor = [](j_common_ptr info) {
        if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
          static_cast<JpegReader*>(info->client_data)->leave("has too many scans");
        }
      };
      info_.progress = &progress_;
    });
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  template <typename Call>
  void guarded(const Call& call) {
    if (setjmp(jump_) != 0) throw PictureError(message_.data());
    call();
  }

  jpeg_decompress_struct& info() { return info_; }

 private:
  [[noreturn]] void leave() {
    (*errors_.format_message)(reinterpret_cast<j_common_ptr>(&info_), message_.data());
    std::longjmp(jump_, 1);
  }
  [[noreturn]] void leave(const char* why) {
    std::snprintf(message_.data(), message_.size(), "%s", why);
    std::longjmp(jump_, 1);
  }

  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
};

// What every camera and encoder writes. For anything else all pixels are decoded, which cannot go
// wrong.
bool sampling_is_usual(const jpeg_decompress_struct& info) {
  if (info.num_components == 1) return true;
  if (info.num_components != 3 || info.max_h_samp_factor > 2 || info.max_v_samp_factor > 2)
    return false;
  const auto* parts = info.comp_info;
  return parts[0].h_samp_factor == info.max_h_samp_factor &&
         parts[0].v_samp_factor == info.max_v_samp_factor && parts[1].h_samp_factor == 1 &&
         parts[1].v_samp_factor == 1 && parts[2].h_samp_factor == 1 && parts[2].v_samp_factor == 1;
}

// Restricts decoding to the columns that the crop needs. A block more on either side: smooth
// upsampling of the colours looks at the neighbour, and treats the edge of what is decoded as the
// edge of the picture. Returns the first column.
std::int64_t crop_columns(jpeg_decompress_struct& info, const CropResampler& resampler) {
  const std::int64_t block = std::int64_t{info.max_h_samp_factor} * DCTSIZE;
  const std::int64_t begin = std::max<std::int64_t>(resampler.first_column() - block, 0);
  const std::int64_t end =
      std::min<std::int64_t>(resampler.end_column() + block, info.output_width);
  auto first = static_cast<JDIMENSION>(begin);
  auto width = static_cast<JDIMENSION>(end - begin);
  jpeg_crop_scanline(&info, &first, &width);
  return first;
}

// Whether the last mark is that of the end: within a picture's data no other can look like it, and
// a preview in the header comes before the picture.
bool is_whole(std::span<const std::uint8_t> file) {
  for (std::size_t i = file.size(); i >= 2; --i) {
    if (file[i - 2] != 0xff) continue;
    if (file[i - 1] == 0xd9) return true;   // end of image
    if (file[i - 1] == 0xda) return false;  // start of scan
  }
  return false;
}

// Adobe's CMYK is stored inverted, and every CMYK JPEG is taken for Adobe's. In place: RGB is
// shorter.
void cmyk_to_rgb(std::uint8_t* row, std::int64_t width) {
  for (std::int64_t x = 0; x < width; ++x) {
    const unsigned white = row[4 * x + 3];
    for (int c = 0; c < 3; ++c) {
      const unsigned ink = 255u - row[4 * x + c];
      const unsigned product = ink * white + 128;  // divided by 255, rounded
      row[3 * x + c] = static_cast<std::uint8_t>(white - ((product + (product >> 8)) >> 8));
    }
  }
}

}  // namespace

JpegFacts jpeg_facts(std::span<const std::uint8_t> file) {
  JpegReader reader(file);
  jpeg_decompress_struct& info = reader.info();
  reader.guarded([&] { jpeg_read_header(&info, TRUE); });
  check_picture_size(info.image_width, info.image_height);
  JpegFacts facts{info.image_width, info.image_height, false};
  facts.is_plain = (info.jpeg_color_space == JCS_YCbCr || info.jpeg_color_space == JCS_GRAYSCALE) &&
                   info.data_precision == 8 && info.arith_code == FALSE && is_whole(file);
  return facts;
}

void decode_jpeg(std::span<const std::uint8_t> file, std::int64_t size, CropResampler& resampler,
                 std::vector<std::uint8_t>& pixels) {
  JpegReader reader(file);
  jpeg_decompress_struct& info = reader.info();
  reader.guarded([&] { jpeg_read_header(&info, TRUE); });
  check_picture_size(info.image_width, info.image_height);
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) {
    throw PictureError("has " + std::to_string(info.num_components) +
                       " colour components, expected 1, 3 or 4");
  }
  // Grey, RGB or CMYK; slow integer DCT and smooth upsampling: libjpeg's defaults, and what Pillow
  // uses.
  info.out_color_space = info.num_components == 1   ? JCS_GRAYSCALE
                         : info.num_components == 3 ? JCS_RGB
                                                    : JCS_CMYK;
  resampler.begin(info.image_width, info.image_height, info.num_components == 1 ? 1 : 3, size);
  pixels.resize(static_cast<std::size_t>(info.image_width) *
                    static_cast<std::size_t>(info.num_components) +
                kRowSlack);

  reader.guarded([&] {
    jpeg_start_decompress(&info);
    const bool usual = sampling_is_usual(info);
    const std::int64_t first_column = usual ? crop_columns(info, resampler) : 0;
    const auto first_row = static_cast<JDIMENSION>(resampler.first_row());
    if (usual && first_row > 0) jpeg_skip_scanlines(&info, first_row);
    const std::int64_t offset =
        (resampler.first_column() - first_column) * (info.num_components == 1 ? 1 : 3);
    std::uint8_t* row = pixels.data();
    while (info.output_scanline < info.output_height) {
      const bool needed =
          info.output_scanline >= first_row && info.output_scanline < resampler.end_row();
      jpeg_read_scanlines(&info, &row, 1);
      if (!needed) continue;
      if (info.num_components == 4) cmyk_to_rgb(row, info.output_width);
      resampler.push_row(row + offset);
    }
  });
}

}  // namespace squant::eval
