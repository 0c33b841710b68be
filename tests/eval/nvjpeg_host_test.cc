// An image folder with the decoder nvjpeg: what goes which way, and what is kept apart. By the
// nvJPEG that is made of libjpeg.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "eval/images/dataset.h"
#include "eval/images/nvjpeg_library.h"
#include "eval/shared_library.h"
#include "tests/eval/host_nvjpeg.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const Shape kShape{3, 32, 32};
constexpr int kJpegNotSupported = 4, kAllocatorFailure = 5, kExecutionFailed = 6;

class NvjpegFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    host_nvjpeg_behave(13, 1, 0);
    for (const char* name : {"grey.jpg", "progressive.jpg", "yuv420_large.jpg", "yuv420_tall.jpg",
                             "yuv420_wide.jpg", "yuv422.jpg", "yuv444.jpg"})
      add(name);
  }
  void TearDown() override {
    EXPECT_EQ(host_nvjpeg_objects(), 0);
    EXPECT_EQ(host_cudart_objects(), 0);
  }

  void add(const std::string& name) { folder_.add_picture(name, "val/n01440764/" + name); }
  DatasetSpec spec(const char* decoder, const std::string& cache = "none") const {
    DatasetSpec spec{"image_folder", folder_.path() + "/val", "", cache, kFileOrder};
    spec.decoder = decoder;
    return spec;
  }
  ImageChunk load(const char* decoder, const std::string& cache = "none") const {
    const auto dataset = open_dataset(spec(decoder, cache));
    return dataset->load(0, dataset->size(), kShape, 2);
  }
  std::string load_error() const {
    try {
      load(kNvjpeg);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  TestFolder folder_;
};

TEST_F(NvjpegFolderTest, RowsOfTheGpuReachTheResampler) {
  const ImageChunk chunk = load(kNvjpeg);
  EXPECT_EQ(chunk.stats.decoded_by_gpu, 7);
  EXPECT_EQ(chunk.stats.decoded, 7);
  EXPECT_EQ(chunk.pixels, load(kLibjpeg).pixels);
  EXPECT_EQ(load(kLibjpeg).stats.decoded_by_gpu, 0);
}

TEST_F(NvjpegFolderTest, OtherPicturesAreDecodedByTheCpu) {
  add("cmyk.jpg");
  add("rgb.png");
  std::ifstream whole(folder_.path() + "/val/n01440764/yuv444.jpg", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(whole), {}};
  folder_.write("val/n01440764/truncated.jpg", bytes.substr(0, bytes.size() / 2));
  const ImageChunk chunk = load(kNvjpeg);
  EXPECT_EQ(chunk.stats.decoded_by_gpu, 7);
  EXPECT_EQ(chunk.stats.decoded, 9);
  ASSERT_EQ(chunk.broken_why.size(), 1u);
  EXPECT_THAT(chunk.broken_why[0], HasSubstr("truncated.jpg: is truncated"));
  EXPECT_EQ(chunk.pixels, load(kLibjpeg).pixels);
}

TEST_F(NvjpegFolderTest, WhatNvjpegRefusesIsDecodedByTheCpu) {
  host_nvjpeg_behave(13, 1, kJpegNotSupported);
  const ImageChunk chunk = load(kNvjpeg);
  EXPECT_EQ(chunk.stats.decoded_by_gpu, 0);
  EXPECT_EQ(chunk.stats.decoded, 7);
  EXPECT_EQ(chunk.pixels, load(kLibjpeg).pixels);
}

// Else pixels would depend on how a machine feels.
TEST_F(NvjpegFolderTest, AGpuThatFailsIsAnErrorAndNoReasonToTakeTheCpu) {
  for (const int status : {kAllocatorFailure, kExecutionFailed}) {
    host_nvjpeg_behave(13, 1, status);
    EXPECT_THAT(load_error(), HasSubstr(".jpg: CUDA error: decoding a picture: nvJPEG status " +
                                        std::to_string(status)));
  }
}

TEST_F(NvjpegFolderTest, AMachineWithoutGpuSaysSo) {
  host_nvjpeg_behave(13, 0, 0);
  EXPECT_THROW(load(kNvjpeg), NvjpegUnavailable);
  EXPECT_EQ(load_error(),
            "decoder nvjpeg: nvJPEG 13.3.2 finds no GPU to work on (nvJPEG status 6)");
  EXPECT_EQ(open_dataset(spec(kNvjpeg))->size(), 7) << "planning needs none";
}

TEST_F(NvjpegFolderTest, ThreadsKeepTheirDecodersFromChunkToChunk) {
  const auto dataset = open_dataset(spec(kNvjpeg));
  const int before = host_nvjpeg_states_made();
  for (int i = 0; i < 5; ++i) dataset->load(0, dataset->size(), kShape, 2);
  EXPECT_LE(host_nvjpeg_states_made() - before, 2);
  EXPECT_GE(host_nvjpeg_states_made() - before, 1);
}

TEST_F(NvjpegFolderTest, TheCacheIsOfItsOwn) {
  const std::string cache = folder_.path() + "/cache";
  EXPECT_EQ(load(kLibjpeg, cache).stats.decoded, 7);
  EXPECT_EQ(load(kNvjpeg, cache).stats.decoded_by_gpu, 7);
  EXPECT_EQ(load(kLibjpeg, cache).stats.from_cache, 7);
  host_nvjpeg_behave(13, 0, 0);
  EXPECT_EQ(load(kNvjpeg, cache).stats.from_cache, 7) << "no GPU is needed where all is there";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cache))
    files += entry.path().extension() == ".pixels";
  EXPECT_EQ(files, 2);
}

TEST_F(NvjpegFolderTest, TheFingerprintNamesTheDecoder) {
  EXPECT_NE(open_dataset(spec(kNvjpeg))->fingerprint(),
            open_dataset(spec(kLibjpeg))->fingerprint());
}

TEST_F(NvjpegFolderTest, AnotherVersionThanThePlansIsRefused) {
  DatasetSpec planned = spec(kNvjpeg);
  planned.decoder_version = "13.3.2";
  EXPECT_EQ(open_dataset(planned)->size(), 7);
  planned.decoder_version = "12.4.0";
  EXPECT_THROW(open_dataset(planned), NvjpegUnavailable);
  EXPECT_THAT(error_of([&] { open_dataset(planned); }),
              AllOf(HasSubstr("has nvJPEG 13.3.2"), HasSubstr("was made for 12.4.0")));
}

TEST_F(NvjpegFolderTest, AnUnknownDecoderIsNamed) {
  EXPECT_EQ(error_of([&] { open_dataset(spec("nvjpg")); }),
            "data set: unknown decoder \"nvjpg\", expected \"libjpeg\" or \"nvjpeg\"");
}

TEST(SharedLibraryTest, OneThatIsMissingIsNamedWithTheLoadersReasons) {
  try {
    SharedLibrary("Nothing", {"libsquant-nothing.so.1", "/nowhere/libsquant-nothing.so"});
    ADD_FAILURE();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("Nothing cannot be loaded: libsquant-nothing.so.1: "),
                                    HasSubstr("; /nowhere/libsquant-nothing.so: ")));
  }
}

TEST(SharedLibraryTest, OneThatLacksASymbolIsTooOld) {
  const SharedLibrary library("nvJPEG", {"libnvjpeg.so.13"});
  int (*function)() = nullptr;
  try {
    library.find("nvjpegNothing", function);
    ADD_FAILURE();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "nvJPEG is too old here: it has no nvjpegNothing");
  }
}

}  // namespace
}  // namespace squant::eval
