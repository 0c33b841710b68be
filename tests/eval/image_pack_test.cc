#include "eval/images/image_pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Shape kShape{3, 48, 48};

// A folder of five pictures, the fourth of them broken.
class ImagePackTest : public ::testing::Test {
 protected:
  ImagePackTest() {
    folder_.add_picture("yuv420_wide.jpg", "val/n01440764/1.JPEG");
    folder_.add_picture("rgb.png", "val/n01440764/2.JPEG");
    folder_.add_picture("grey.jpg", "val/n01443537/3.JPEG");
    folder_.write("val/n01443537/4.JPEG", "no picture");
    folder_.add_picture("progressive.jpg", "val/n01443537/5.JPEG");
    dataset_ = open_dataset({"image_folder", folder_.path() + "/val", "", "none", kFileOrder});
  }
  ImagePack pack(const std::string& to = "packs", std::int64_t count = 5) {
    return pack_images(*dataset_, count, kShape, 2, folder_.path() + "/" + to, {});
  }
  static std::unique_ptr<Dataset> open(const std::string& path) {
    return open_dataset({kImagePackFormat, path, "", "", kFileOrder});
  }

  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::array<char, 8> header_size(const std::string& bytes) {
    std::array<char, 8> size{};
    std::copy_n(bytes.begin(), size.size(), size.begin());
    return size;
  }

  TestFolder folder_;
  std::unique_ptr<Dataset> dataset_;
};

TEST_F(ImagePackTest, GivesTheImagesOfTheDataSetUnderItsFingerprint) {
  const ImagePack made = pack();
  EXPECT_EQ(std::filesystem::path(made.path).filename(), made.sha256);
  EXPECT_EQ(static_cast<std::uintmax_t>(made.size_bytes), std::filesystem::file_size(made.path));
  const auto packed = open(made.path);
  EXPECT_EQ(packed->size(), 5);
  EXPECT_EQ(packed->fingerprint(), dataset_->fingerprint());
  EXPECT_EQ(packed->num_classes(), dataset_->num_classes());
  EXPECT_EQ(packed->class_names(), dataset_->class_names());
  EXPECT_EQ(packed->labels(5), dataset_->labels(5));
  const ImageChunk expected = dataset_->load(1, 4, kShape, 1);
  const ImageChunk chunk = packed->load(1, 4, kShape, 1);
  EXPECT_EQ(chunk.pixels, expected.pixels);
  EXPECT_EQ(chunk.labels, expected.labels);
  EXPECT_EQ(chunk.stats.decoded, 0);
}

TEST_F(ImagePackTest, ABrokenPictureStaysBroken) {
  const ImagePack made = pack();
  EXPECT_THAT(made.broken, ElementsAre(HasSubstr("4.JPEG")));
  const ImageChunk chunk = open(made.path)->load(0, 5, kShape, 1);
  EXPECT_THAT(chunk.broken, ElementsAre(3));
  EXPECT_THAT(chunk.broken_why,
              ElementsAre(AllOf(HasSubstr("image 3 of "), HasSubstr("could not be decoded"))));
}

TEST_F(ImagePackTest, TheSameImagesGiveTheSameFile) {
  std::vector<std::int64_t> seen;
  const ImagePack first = pack_images(*dataset_, 5, kShape, 1, folder_.path() + "/a",
                                      [&](std::int64_t done) { seen.push_back(done); });
  EXPECT_THAT(seen, AllOf(Not(IsEmpty()), Each(5)));
  EXPECT_EQ(pack("b").sha256, first.sha256);
  EXPECT_NE(pack("b", 3).sha256, first.sha256);
}

TEST_F(ImagePackTest, ADamagedImageIsNoticedAndTheFileRemoved) {
  const ImagePack made = pack();
  {
    std::fstream file(made.path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(made.size_bytes / 2);
    const int byte = file.get();
    file.seekp(made.size_bytes / 2);
    file.put(static_cast<char>(byte ^ 1));
  }
  EXPECT_TRUE(is_image_pack(made.path));  // does not read all of it
  const auto packed = open(made.path);
  EXPECT_THAT(error_of([&] { packed->load(0, 5, kShape, 1); }), HasSubstr("was damaged"));
  EXPECT_FALSE(std::filesystem::exists(made.path));
}

TEST_F(ImagePackTest, ALabelThatChangedIsNoticed) {
  const ImagePack made = pack();
  std::string bytes = read(made.path);
  // Labels lie behind the checksums, which come first: eight bytes an image.
  const std::size_t data = 8 + std::bit_cast<std::uint64_t>(header_size(bytes));
  bytes[data + 5 * 8] ^= 1;
  std::ofstream(made.path, std::ios::binary) << bytes;
  const auto packed = open(made.path);
  EXPECT_THAT(error_of([&] { packed->load(0, 1, kShape, 1); }), HasSubstr("was damaged"));
}

TEST_F(ImagePackTest, AFileThatWasFetchedAgainMeanwhileStays) {
  const ImagePack made = pack();
  std::string bytes = read(made.path);
  bytes[bytes.size() / 2] ^= 1;
  const std::string damaged = folder_.write("damaged", bytes);
  std::filesystem::copy(made.path, folder_.path() + "/good");
  const auto packed = open(damaged);
  std::filesystem::rename(folder_.path() + "/good", damaged);
  EXPECT_THAT(error_of([&] { packed->load(0, 5, kShape, 1); }), HasSubstr("was damaged"));
  EXPECT_TRUE(std::filesystem::exists(damaged));
}

TEST_F(ImagePackTest, WhatIsNoPackIsRefused) {
  const std::string cut = pack().path;
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) - 1);
  const std::string text = folder_.write("text", "no pack");
  for (const std::string& path : {cut, text, folder_.path() + "/nothing"}) {
    EXPECT_FALSE(is_image_pack(path)) << path;
    EXPECT_THAT(error_of([&] { open(path); }), HasSubstr(path));
  }
}

TEST_F(ImagePackTest, WrongUseIsRefusedBeforeAnythingIsWritten) {
  EXPECT_THROW(pack_images(*dataset_, 5, {1, 48, 48}, 1, folder_.path() + "/c", {}),
               std::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/c"));
  const auto packed = open(pack().path);
  EXPECT_THAT(error_of([&] { packed->load(0, 1, {3, 32, 32}, 1); }), HasSubstr("another input"));
  EXPECT_THAT(error_of([&] { packed->load(4, 2, kShape, 1); }), HasSubstr("it has 5"));
}

TEST_F(ImagePackTest, AFolderThatCannotBeWrittenIsAnErrorThatNamesIt) {
  const std::string file = folder_.write("file", "");
  try {
    pack_images(*dataset_, 5, kShape, 1, file + "/packs", {});
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), HasSubstr(file));
  }
}

}  // namespace
}  // namespace squant::eval
