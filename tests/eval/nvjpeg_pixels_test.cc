// What nvJPEG makes of pictures, beside libjpeg: on a GPU, and by the nvJPEG that is made of
// libjpeg (host_nvjpeg.h).
#include <gtest/gtest.h>

#include <cstdio>  // jpeglib.h needs it

#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>
#include <thread>

#include "eval/images/file_bytes.h"
#include "eval/images/picture.h"

namespace squant::eval {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Of a picture as a network sees it: levels of 255, the mean over its samples. Another inverse DCT
// and another rounding of colours are off by one here and there; colours that are not interpolated,
// a picture that is shifted by one, or red for blue are off by more.
constexpr double kMeanDifference = 1.0;

// A smooth picture with edges, some noise, and strong colours.
Bytes drawn(int width, int height, std::uint32_t seed) {
  std::mt19937 random(seed);
  Bytes pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool edge = (x / 37 + y / 23) % 2 == 0;
      for (const int value : {255 * x / width, 255 * y / height, edge ? 200 : 40}) {
        const int noise = static_cast<int>(random() % 9) - 4;
        pixels.push_back(static_cast<std::uint8_t>(std::clamp(value + noise, 0, 255)));
      }
    }
  }
  return pixels;
}

struct Kind {
  const char* name;
  int width, height;
  int h_factor, v_factor;  // of the brightness
  bool progressive;
};

Bytes encoded(const Kind& kind) {
  Bytes pixels = drawn(kind.width, kind.height, 1);
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(kind.width);
  info.image_height = static_cast<JDIMENSION>(kind.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  info.comp_info[0].h_samp_factor = kind.h_factor;
  info.comp_info[0].v_samp_factor = kind.v_factor;
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    unsigned char* row = pixels.data() + std::size_t{3} * info.image_width * info.next_scanline;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes file(memory, memory + size);
  std::free(memory);
  return file;
}

constexpr Kind kKinds[] = {
    {"4:2:0", 500, 375, 2, 2, false},         {"4:2:2", 375, 500, 2, 1, false},
    {"4:4:4", 333, 251, 1, 1, false},         {"progressive 4:2:0", 640, 427, 2, 2, true},
    {"large 4:2:0", 2001, 1501, 2, 2, false},
};

double mean_difference(const Bytes& a, const Bytes& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(a.size());
}

class NvjpegPixelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      device_.emplace(nvjpeg());
      device_->handle();
      std::printf("nvJPEG %s\n", device_->library().version.c_str());
    } catch (const NvjpegUnavailable& error) {
      GTEST_SKIP() << "no GPU to run on: " << error.what();
    }
  }
  static Bytes read(PictureReader& reader, const Bytes& file, DecodedBy by, const std::string& name,
                    std::int64_t size = 224) {
    Bytes pixels(static_cast<std::size_t>(size * size * 3));
    EXPECT_EQ(reader.read(file, size, pixels.data()), by) << name;
    return pixels;
  }
  static void expect_near(const Bytes& gpu, const Bytes& cpu, const std::string& name) {
    const double difference = mean_difference(gpu, cpu);
    std::printf("%-20s mean difference %.4f levels\n", name.c_str(), difference);
    EXPECT_LT(difference, kMeanDifference) << name;
  }

  std::optional<NvjpegDevice> device_;
};

TEST_F(NvjpegPixelsTest, AreNearLibjpegs) {
  PictureReader by_gpu(&*device_);
  PictureReader by_cpu;
  for (const Kind& kind : kKinds) {
    const Bytes file = encoded(kind);
    expect_near(read(by_gpu, file, DecodedBy::kGpu, kind.name),
                read(by_cpu, file, DecodedBy::kCpu, kind.name), kind.name);
  }
}

TEST_F(NvjpegPixelsTest, PicturesOfEveryKindAreNearLibjpegs) {
  PictureReader by_gpu(&*device_);
  PictureReader by_cpu;
  for (const std::string name :
       {"exif_turned.jpg", "grey.jpg", "progressive.jpg", "yuv420_large.jpg", "yuv420_tall.jpg",
        "yuv420_wide.jpg", "yuv422.jpg", "yuv444.jpg"}) {
    Bytes file;
    read_file(std::string(SQUANT_TESTS_DATA_DIR) + "/images/pictures/" + name, file);
    for (const std::int64_t size : {32, 100}) {
      expect_near(read(by_gpu, file, DecodedBy::kGpu, name, size),
                  read(by_cpu, file, DecodedBy::kCpu, name, size), name);
    }
  }
}

TEST_F(NvjpegPixelsTest, AreTheSameBitsForEveryThreadAndInEveryOrder) {
  std::vector<Bytes> files, expected;
  PictureReader alone(&*device_);
  for (const Kind& kind : kKinds) {
    files.push_back(encoded(kind));
    expected.push_back(read(alone, files.back(), DecodedBy::kGpu, kind.name));
  }
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kRounds = 10;
  std::vector<int> wrong(kThreads, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        PictureReader reader(&*device_);
        for (std::size_t i = 0; i < kRounds * files.size(); ++i) {
          const std::size_t at = (i * (t + 1) + t) % files.size();
          wrong[t] += read(reader, files[at], DecodedBy::kGpu, kKinds[at].name) != expected[at];
        }
      });
    }
  }
  EXPECT_EQ(wrong, std::vector<int>(kThreads, 0));
}

TEST_F(NvjpegPixelsTest, WhatIsNotPlainIsDecodedByTheCpu) {
  PictureReader by_gpu(&*device_);
  PictureReader by_cpu;
  for (const std::string name : {"cmyk.jpg", "rgb.png"}) {
    Bytes file;
    read_file(std::string(SQUANT_TESTS_DATA_DIR) + "/images/pictures/" + name, file);
    EXPECT_EQ(read(by_gpu, file, DecodedBy::kCpu, name), read(by_cpu, file, DecodedBy::kCpu, name))
        << name;
  }
}

// A picture that is cut off is broken for both, and the next one is decoded as if nothing had been.
TEST_F(NvjpegPixelsTest, TruncatedPicturesAreBrokenAsForLibjpeg) {
  const Bytes whole = encoded(kKinds[0]);
  PictureReader by_gpu(&*device_);
  const Bytes expected = read(by_gpu, whole, DecodedBy::kGpu, "whole");
  Bytes pixels(expected.size());
  for (const std::size_t size : {whole.size() / 8, whole.size() / 2, whole.size() - 1}) {
    const Bytes file(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(by_gpu.read(file, 224, pixels.data()), PictureError) << size;
    EXPECT_EQ(read(by_gpu, whole, DecodedBy::kGpu, "whole"), expected) << size;
  }
}

// Changed bytes: whoever decodes it, the outcome is the same the next time.
TEST_F(NvjpegPixelsTest, DamagedPicturesHaveOneOutcome) {
  const Bytes whole = encoded(kKinds[0]);
  std::mt19937 random(3);
  PictureReader once(&*device_);
  PictureReader again(&*device_);
  const auto outcome = [](PictureReader& reader, const Bytes& file) {
    Bytes pixels(std::size_t{224} * 224 * 3);
    try {
      reader.read(file, 224, pixels.data());
      return pixels;
    } catch (const PictureError&) {
      return Bytes{};
    }
  };
  for (int trial = 0; trial < 50; ++trial) {
    Bytes file = whole;
    file[700 + random() % (file.size() - 702)] = static_cast<std::uint8_t>(random());
    EXPECT_EQ(outcome(once, file), outcome(again, file)) << "trial " << trial;
  }
}

}  // namespace
}  // namespace squant::eval
