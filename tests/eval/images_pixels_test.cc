// Decoding, scaling and cropping: equal to Pillow, and errors instead of crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "eval/checkpoint/checkpoint.h"
#include "eval/images/file_bytes.h"
#include "eval/images/picture.h"
#include "eval/images/resample_kernels.h"

namespace squant::eval {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

const std::string kData = std::string(SQUANT_TESTS_DATA_DIR) + "/images/";

Bytes bytes_of(const std::string& path) {
  Bytes bytes;
  read_file(path, bytes);
  return bytes;
}

Bytes preprocess(const Bytes& file, std::int64_t size) {
  Bytes pixels(static_cast<std::size_t>(size * size * 3));
  PictureReader().read(file, size, pixels.data());
  return pixels;
}

std::string reason(const Bytes& file) {
  try {
    preprocess(file, 32);
  } catch (const PictureError& error) {
    return error.what();
  }
  return "";
}

Bytes prefix(const Bytes& file, std::size_t size) {
  return {file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)};
}

TEST(PictureTest, EveryKindOfPictureEqualsPillow) {
  std::ifstream list(kData + "pictures.txt");
  PictureReader reader;  // one for all: nothing of a picture may stay for the next
  int num_checked = 0;
  for (std::string line; std::getline(list, line);) {
    if (line.front() == '#') continue;
    std::istringstream words(line);
    std::string digest, name;
    std::int64_t size = 0;
    ASSERT_TRUE(words >> digest >> size >> name);
    Bytes pixels(static_cast<std::size_t>(size * size * 3));
    reader.read(bytes_of(kData + "pictures/" + name), size, pixels.data());
    EXPECT_EQ(sha256_hex(pixels.data(), pixels.size()), digest) << name << " at " << size;
    ++num_checked;
  }
  EXPECT_EQ(num_checked, 63);
}

TEST(PictureTest, PhotographsEqualTheReference) {
  const char* data = std::getenv("SQUANT_TEST_DATA");
  if (data == nullptr)
    GTEST_SKIP() << "set SQUANT_TEST_DATA to the folder that holds imagenet-sample/WNID/*.JPEG";
  std::ifstream list(kData + "preprocess.sha256");
  int num_checked = 0;
  for (std::string digest, name; list >> digest >> name; ++num_checked) {
    const std::size_t slash = name.find('/');
    const std::string file = std::string(data) + "/imagenet-sample" + name.substr(slash);
    const Bytes pixels = preprocess(bytes_of(file), std::stoi(name.substr(0, slash)));
    EXPECT_EQ(sha256_hex(pixels.data(), pixels.size()), digest) << name;
  }
  EXPECT_EQ(num_checked, 16);
}

// Interlaced PNG cannot be written by Pillow: the same picture both ways must give the same pixels.
Bytes write_png(int width, int height, int interlace, const Bytes& pixels) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep data, std::size_t count) {
        auto* to = static_cast<Bytes*>(png_get_io_ptr(p));
        to->insert(to->end(), data, data + count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
               PNG_COLOR_TYPE_RGB, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const int passes = png_set_interlace_handling(png);
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < height; ++y)
      png_write_row(png, pixels.data() + std::ptrdiff_t{3} * width * y);
  }
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

TEST(PictureTest, InterlacingDoesNotChangePixels) {
  std::mt19937 random(1);
  for (const auto& [width, height] : {std::pair(1, 1), std::pair(3, 70), std::pair(61, 47)}) {
    Bytes pixels(static_cast<std::size_t>(3 * width * height));
    for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(random());
    EXPECT_EQ(preprocess(write_png(width, height, PNG_INTERLACE_ADAM7, pixels), 32),
              preprocess(write_png(width, height, PNG_INTERLACE_NONE, pixels), 32));
  }
}

TEST(PictureTest, TruncatedPicturesAreErrors) {
  for (const char* name :
       {"yuv420_tall.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgb.png", "palette16.png"}) {
    const Bytes whole = bytes_of(kData + "pictures/" + name);
    // Without its last bytes a picture may still be complete (the end marker says nothing about
    // pixels).
    for (std::size_t size = 0; size + 50 < whole.size(); size += 1 + size / 40) {
      EXPECT_NE(reason(prefix(whole, size)), "") << name << " cut to " << size;
    }
  }
}

TEST(PictureTest, DamagedPicturesNeverCrash) {
  std::mt19937 random(7);
  for (const char* name : {"yuv420_wide.jpg", "progressive.jpg", "cmyk.jpg",
                           "palette_transparent.png", "grey16.png"}) {
    const Bytes whole = bytes_of(kData + "pictures/" + name);
    for (int round = 0; round < 200; ++round) {
      Bytes damaged = whole;
      for (int i = 0; i < 3; ++i)
        damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
      reason(damaged);
    }
  }
}

TEST(PictureTest, ReasonsSayWhatIsWrong) {
  EXPECT_EQ(reason({}), "is empty");
  EXPECT_EQ(reason({'G', 'I', 'F', '8', '9', 'a'}), "is neither JPEG nor PNG");
  const Bytes jpeg = bytes_of(kData + "pictures/yuv444.jpg");
  EXPECT_EQ(reason(prefix(jpeg, jpeg.size() / 2)), "is truncated");
  const Bytes png = bytes_of(kData + "pictures/rgb.png");
  EXPECT_EQ(reason(prefix(png, png.size() / 2)), "is truncated");

  // A frame header that claims 65500 x 65500 pixels.
  Bytes bomb = jpeg;
  const std::array<std::uint8_t, 4> frame{0xff, 0xc0, 0x00, 0x11};
  const auto at = std::search(bomb.begin(), bomb.end(), frame.begin(), frame.end());
  ASSERT_NE(at, bomb.end());
  for (const int offset : {5, 7}) {
    at[offset] = 0xff;
    at[offset + 1] = 0xdc;
  }
  EXPECT_THAT(reason(bomb), HasSubstr("65500 x 65500 pixels"));
}

Bytes resample(std::int64_t width, std::int64_t height, int channels, std::int64_t size,
               bool portable) {
  CropResampler resampler;
  if (portable) resampler.use_portable_kernels();
  resampler.begin(width, height, channels, size);
  const auto row_bytes =
      static_cast<std::size_t>((resampler.end_column() - resampler.first_column()) * channels);
  std::mt19937 random(static_cast<unsigned>(width + 1000 * height));
  for (std::int64_t y = resampler.first_row(); y < resampler.end_row(); ++y) {
    Bytes row(row_bytes + kRowSlack, 0xaa);
    // Extremes as well: the largest sums must not overflow.
    for (std::size_t x = 0; x < row_bytes; ++x)
      row[x] = static_cast<std::uint8_t>(y % 3 == 0 ? 255 : random());
    resampler.push_row(row.data());
  }
  Bytes out(static_cast<std::size_t>(size * size * 3));
  resampler.finish(out.data());
  return out;
}

TEST(ResampleTest, VectorAndPortableKernelsGiveTheSameBits) {
  if (!have_resample_avx2()) GTEST_SKIP() << "this machine has no AVX2";
  std::mt19937 random(3);
  for (int round = 0; round < 80; ++round) {
    const int limit = round % 10 == 0 ? 2000 : 200;
    const std::int64_t width =
        1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(limit));
    const std::int64_t height =
        1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(limit));
    const std::int64_t size = 1 + static_cast<std::int64_t>(random() % 120);
    for (const int channels : {1, 3}) {
      ASSERT_EQ(resample(width, height, channels, size, false),
                resample(width, height, channels, size, true))
          << width << " x " << height << " x " << channels << " to " << size;
    }
  }
}

TEST(ResampleTest, WeightsOfAnAxisSumToOne) {
  for (const auto& [from, to] :
       {std::pair(500, 341), std::pair(100, 341), std::pair(341, 341), std::pair(9001, 9)}) {
    const AxisWeights axis = axis_weights(from, to, 0, to);
    EXPECT_EQ(axis.begin, 0);
    EXPECT_EQ(axis.end, from);
    for (int i = 0; i < to; ++i) {
      std::int64_t sum = 0;
      for (int j = 0; j < axis.taps; ++j)
        sum += axis.weights[static_cast<std::size_t>(i * axis.taps + j)];
      // Each weight is rounded: off by at most half a unit for each tap.
      EXPECT_NEAR(static_cast<double>(sum), 1 << kWeightBits,
                  0.5 * axis.count[static_cast<std::size_t>(i)]);
      EXPECT_LE(axis.first[static_cast<std::size_t>(i)] + axis.count[static_cast<std::size_t>(i)],
                from);
    }
  }
}

TEST(ResampleTest, CropOffsetsAreRoundedHalfToEven) {
  // 256 high and 341 wide: (341 - 224) / 2 = 58.5 is column 58; unscaled, so the first weight is on
  // that column.
  CropResampler resampler;
  resampler.begin(341, 256, 3, 224);
  EXPECT_EQ(resampler.first_column(), 58);
  EXPECT_EQ(resampler.first_row(), 16);
  resampler.begin(256, 343, 3, 224);  // 59.5 is row 60
  EXPECT_EQ(resampler.first_row(), 60);
}

}  // namespace
}  // namespace squant::eval
