// The packed cache: decoded once, and never believed when something happened to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <numeric>

#include "eval/images/dataset.h"
#include "eval/images/packed_cache.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::HasSubstr;

constexpr Shape kShape{3, 64, 64};
constexpr int kNumPictures = 24;

class PackedCacheTest : public ::testing::Test {
 protected:
  PackedCacheTest() {
    const std::vector<std::string> kinds{"yuv420_wide.jpg", "rgb.png", "grey.jpg",
                                         "progressive.jpg"};
    for (int i = 0; i < kNumPictures; ++i) {
      folder_.add_picture(kinds[static_cast<std::size_t>(i) % kinds.size()],
                          "val/n01440764/" + std::to_string(100 + i) + ".JPEG");
    }
    expected_ = load("none").pixels;
  }

  std::string images() const { return folder_.path() + "/val"; }
  std::string cache() const { return folder_.path() + "/cache"; }
  ImageChunk load(const std::string& cache, const Shape& shape = kShape) const {
    const auto dataset = open_dataset({"image_folder", images(), "", cache, kFileOrder});
    return dataset->load(0, dataset->size(), shape, 2);
  }
  std::string cache_file() const {
    for (const auto& entry : std::filesystem::directory_iterator(cache())) {
      if (entry.path().extension() == ".pixels") return entry.path();
    }
    return "";
  }
  // Right pixels, and this many of them decoded.
  void expect_decoded(std::int64_t decoded) const {
    const ImageChunk chunk = load(cache());
    EXPECT_EQ(chunk.pixels, expected_);
    EXPECT_EQ(chunk.stats.decoded, decoded);
    EXPECT_EQ(chunk.stats.from_cache, kNumPictures - decoded);
    EXPECT_EQ(chunk.stats.cache_problem, "");
  }
  void flip(std::uint64_t offset) const {
    std::fstream file(cache_file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
  }

  TestFolder folder_;
  std::vector<std::uint8_t> expected_;
};

TEST_F(PackedCacheTest, ASecondSweepDecodesNothing) {
  expect_decoded(kNumPictures);
  expect_decoded(0);
}

TEST_F(PackedCacheTest, AskingForNoPicturesTouchesNothing) {
  open_dataset({"image_folder", images(), "", cache(), kFileOrder})->load(0, 0, kShape, 1);
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(PackedCacheTest, EachSizeIsItsOwn) {
  expect_decoded(kNumPictures);
  const ImageChunk other = load(cache(), {3, 20, 20});
  EXPECT_EQ(other.stats.decoded, kNumPictures);
  EXPECT_EQ(other.pixels, load("none", {3, 20, 20}).pixels);
  expect_decoded(0);
}

TEST_F(PackedCacheTest, OneSweepFillsWhatAnotherLeftOut) {
  const auto dataset = open_dataset({"image_folder", images(), "", cache(), kFileOrder});
  EXPECT_EQ(dataset->load(5, 10, kShape, 2).stats.decoded, 10);
  EXPECT_EQ(dataset->load(10, 10, kShape, 2).stats.from_cache, 5);
  expect_decoded(kNumPictures - 15);
}

TEST_F(PackedCacheTest, AFlippedBitAnywhereIsNoticed) {
  expect_decoded(kNumPictures);
  const std::uint64_t entries = 4096, pixels = 8192;
  flip(pixels + 3 * 64 * 64 * 3 + 100);  // picture 3
  expect_decoded(1);
  expect_decoded(0);
  flip(entries + 7 * 32);       // its checksum
  flip(entries + 8 * 32 + 31);  // its mark
  expect_decoded(2);
  expect_decoded(0);
  flip(20);  // the header: all is foreign
  expect_decoded(kNumPictures);
  expect_decoded(0);
}

TEST_F(PackedCacheTest, AFileCutShortIsReplaced) {
  expect_decoded(kNumPictures);
  std::filesystem::resize_file(cache_file(), 20000);
  expect_decoded(kNumPictures);
  std::filesystem::resize_file(cache_file(), 0);
  expect_decoded(kNumPictures);
  expect_decoded(0);
}

TEST_F(PackedCacheTest, AFileCutShortUnderAnOpenDataSetIsNotTouched) {
  const auto dataset = open_dataset({"image_folder", images(), "", cache(), kFileOrder});
  dataset->load(0, kNumPictures, kShape, 2);
  std::filesystem::resize_file(cache_file(), 20000);
  const ImageChunk chunk = dataset->load(0, kNumPictures, kShape, 2);
  EXPECT_EQ(chunk.pixels, expected_);
}

TEST_F(PackedCacheTest, AChangedPictureIsDecodedAgain) {
  expect_decoded(kNumPictures);
  const std::string picture = images() + "/n01440764/105.JPEG";
  std::filesystem::last_write_time(
      picture, std::filesystem::last_write_time(picture) + std::chrono::seconds(5));
  expect_decoded(1);
  expect_decoded(0);
}

TEST_F(PackedCacheTest, ABrokenPictureIsTriedAgain) {
  folder_.write("val/n01443537/broken.JPEG", "nonsense");
  EXPECT_EQ(load(cache()).broken.size(), 1u);
  const ImageChunk again = load(cache());
  EXPECT_EQ(again.broken.size(), 1u);
  EXPECT_EQ(again.stats.from_cache, kNumPictures);
  EXPECT_EQ(again.stats.decoded, 0);
}

// Loads in a child process, one picture a call, until it is done or killed.
pid_t load_in_child(const std::string& images, const std::string& cache) {
  const pid_t child = fork();
  if (child == 0) {
    const auto dataset = open_dataset({"image_folder", images, "", cache, kFileOrder});
    for (std::int64_t i = 0; i < dataset->size(); ++i) dataset->load(i, 1, kShape, 1);
    _exit(0);
  }
  return child;
}

TEST_F(PackedCacheTest, TwoProcessesBuildItAtOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) children.push_back(load_in_child(images(), cache()));
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  expect_decoded(0);
}

// Opens the data set in a child process, which loads all of it once `start` is closed for writing;
// its exit code is how many pictures it decoded, or kWrong.
constexpr int kWrong = 255;
pid_t load_when_told(const std::string& images, const std::string& cache,
                     const std::vector<std::uint8_t>& expected, const int start[2]) {
  const pid_t child = fork();
  if (child == 0) {
    close(start[1]);
    const auto dataset = open_dataset({"image_folder", images, "", cache, kFileOrder});
    char nothing = 0;
    if (read(start[0], &nothing, 1) != 0) _exit(kWrong);
    const ImageChunk chunk = dataset->load(0, dataset->size(), kShape, 2);
    const bool is_right =
        chunk.pixels == expected && chunk.stats.decoded + chunk.stats.from_cache == dataset->size();
    _exit(is_right ? static_cast<int>(chunk.stats.decoded) : kWrong);
  }
  return child;
}

TEST_F(PackedCacheTest, ProcessesThatLoadTheSamePicturesAtOnceDecodeEachOnce) {
  for (int round = 0; round < 10; ++round) {
    std::filesystem::remove_all(cache());
    int start[2];
    ASSERT_EQ(pipe(start), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i)
      children.push_back(load_when_told(images(), cache(), expected_, start));
    close(start[0]);
    close(start[1]);
    int decoded = 0;
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      ASSERT_TRUE(WIFEXITED(status));
      ASSERT_NE(WEXITSTATUS(status), kWrong);
      decoded += WEXITSTATUS(status);
    }
    EXPECT_EQ(decoded, kNumPictures) << round;
  }
}

TEST_F(PackedCacheTest, TwoOpeningsInOneProcessExcludeEachOtherPictureByPicture) {
  const PackedCache one(cache(), std::string(64, 'f'), kNumPictures, kShape.height);
  const PackedCache other(cache(), std::string(64, 'f'), kNumPictures, kShape.height);
  {
    const PackedCache::Claim claim(one, 3);
    EXPECT_TRUE(claim.is_held());
    PackedCache::Claim same(other, 3);
    EXPECT_FALSE(same.is_held());
    EXPECT_FALSE(same.try_again());
    EXPECT_TRUE(PackedCache::Claim(other, 2).is_held());
    EXPECT_TRUE(PackedCache::Claim(other, 4).is_held());
  }
  EXPECT_TRUE(PackedCache::Claim(other, 3).is_held());
}

// A child process that claims pictures 3 to 5 and then stops itself.
pid_t claim_in_child_that_stops(const std::string& images, const std::string& cache) {
  const pid_t child = fork();
  if (child == 0) {
    const auto dataset = open_dataset({"image_folder", images, "", cache, kFileOrder});
    const PackedCache opened(cache, dataset->fingerprint(), dataset->size(), kShape.height);
    const PackedCache::Claim claims[]{{opened, 3}, {opened, 4}, {opened, 5}};
    raise(SIGSTOP);
    _exit(0);
  }
  waitpid(child, nullptr, WUNTRACED);
  return child;
}

TEST_F(PackedCacheTest, AStoppedProcessIsNotWaitedForForEver) {
  const pid_t child = claim_in_child_that_stops(images(), cache());
  expect_decoded(kNumPictures);
  expect_decoded(0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(PackedCacheTest, AKilledProcessIsNotWaitedForAtAll) {
  const pid_t child = claim_in_child_that_stops(images(), cache());
  const std::string fingerprint =
      open_dataset({"image_folder", images(), "", cache(), kFileOrder})->fingerprint();
  const PackedCache opened(cache(), fingerprint, kNumPictures, kShape.height);
  PackedCache::Claim claim(opened, 3);
  EXPECT_FALSE(claim.is_held());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(claim.try_again());
}

TEST_F(PackedCacheTest, AKillAtAnyTimeLeavesNothingWrong) {
  for (int round = 0; round < 20; ++round) {
    std::filesystem::remove_all(cache());
    const pid_t child = load_in_child(images(), cache());
    usleep(static_cast<useconds_t>(500 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const ImageChunk chunk = load(cache());
    ASSERT_EQ(chunk.pixels, expected_) << round;
    ASSERT_EQ(chunk.stats.cache_problem, "");
    expect_decoded(0);
  }
}

// As a full disk: writing beyond this offset of a file fails.
class ScopedFileLimit {
 public:
  explicit ScopedFileLimit(std::uint64_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~ScopedFileLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  ScopedFileLimit(const ScopedFileLimit&) = delete;
  ScopedFileLimit& operator=(const ScopedFileLimit&) = delete;

 private:
  rlimit old_{};
  void (*old_handler_)(int) = nullptr;
};

TEST_F(PackedCacheTest, AFullDiskCostsTheCacheNotTheSweep) {
  const auto load_limited = [&](std::uint64_t bytes) {
    const ScopedFileLimit limit(bytes);
    return load(cache());
  };
  // No room for the file at all.
  ImageChunk chunk = load_limited(10000);
  EXPECT_EQ(chunk.pixels, expected_);
  EXPECT_THAT(chunk.stats.cache_problem, HasSubstr("cannot be written"));
  EXPECT_EQ(cache_file(), "");
  // The file is there, and the disk fills up while it is filled.
  const auto dataset = open_dataset({"image_folder", images(), "", cache(), kFileOrder});
  dataset->load(0, 1, kShape, 1);
  chunk = load_limited(8192 + 10 * 64 * 64 * 3 + 100);
  EXPECT_EQ(chunk.pixels, expected_);
  EXPECT_THAT(chunk.stats.cache_problem, HasSubstr(cache() + "/"));
  // What got in before counts, the torn picture does not; with room again the rest is added.
  const ImageChunk after = load(cache());
  EXPECT_EQ(after.pixels, expected_);
  EXPECT_GE(after.stats.from_cache, 1);
  EXPECT_LE(after.stats.from_cache, 10);
  expect_decoded(0);
}

// Gives this process, which must be a child, a file system of `bytes` at `folder`. False where the
// system does not let us.
bool mount_small_disk(const std::string& folder, int bytes) {
  if (unshare(CLONE_NEWNS) != 0) {
    const std::string users = "0 " + std::to_string(getuid()) + " 1";
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << users;
  }
  const std::string options = "size=" + std::to_string(bytes);
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

TEST_F(PackedCacheTest, AFullMemoryDiskCostsTheCacheNotTheSweep) {
  constexpr int kNotAllowed = 77;
  std::filesystem::create_directories(cache());
  // Entries on several pages, so that some of those stay holes.
  for (int i = 0; i < 200; ++i) {
    folder_.add_picture("one_pixel.jpg", "val/n15075141/" + std::to_string(i) + ".JPEG");
  }
  const pid_t child = fork();
  if (child == 0) {
    if (!mount_small_disk(cache(), 100'000)) _exit(kNotAllowed);
    const std::vector<std::uint8_t> expected = load("none").pixels;
    const ImageChunk first = load(cache());
    const ImageChunk second = load(cache());
    const bool right = first.pixels == expected && second.pixels == expected &&
                       second.stats.from_cache > 0 &&
                       first.stats.cache_problem.find("No space left") != std::string::npos;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotAllowed) {
    GTEST_SKIP() << "this system does not let a test mount a file system";
  }
  EXPECT_EQ(status, 0);
}

TEST_F(PackedCacheTest, AFolderThatCannotBeMadeCostsTheCacheNotTheSweep) {
  const std::string in_the_way = folder_.write("file", "");
  const ImageChunk chunk = load(in_the_way + "/cache");
  EXPECT_EQ(chunk.pixels, expected_);
  EXPECT_EQ(chunk.stats.decoded, kNumPictures);
  EXPECT_THAT(chunk.stats.cache_problem, HasSubstr(in_the_way));
}

TEST_F(PackedCacheTest, TheUsersCacheFolderIsTheDefault) {
  const ScopedEnv xdg("XDG_CACHE_HOME", folder_.path() + "/xdg");
  EXPECT_EQ(load("").stats.decoded, kNumPictures);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/xdg/squant-sweep/images"));
  EXPECT_EQ(load("").stats.from_cache, kNumPictures);
}

}  // namespace
}  // namespace squant::eval
