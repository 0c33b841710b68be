#include "runner/collective/node_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>

#include "scratch_folder.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::size_t num_files(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

class NodeCacheTest : public testing::Test {
 protected:
  void receive(NodeCache& cache, const std::string& sha256, const std::string& bytes) {
    cache.create(sha256, static_cast<std::int64_t>(bytes.size()));
    cache.append(sha256, bytes_of(bytes.substr(0, 10)));
    cache.append(sha256, bytes_of(bytes.substr(10)));
  }
  ScratchFolder scratch_;
  const std::string bytes_ = made_up_bytes(1000, 1);
  const std::string sha256_ = eval::sha256_hex(bytes_.data(), bytes_.size());
};

TEST_F(NodeCacheTest, AFileAppearsWholeAndIsFoundByTheNextProcess) {
  const std::string folder = scratch_ / "a/b";
  NodeCache cache(folder);
  EXPECT_FALSE(cache.find(sha256_));
  receive(cache, sha256_, bytes_);
  EXPECT_FALSE(cache.find(sha256_)) << "before it was verified";
  const auto path = cache.finish(sha256_);
  ASSERT_EQ(path, folder + "/" + sha256_);
  EXPECT_EQ(content(*path), bytes_);
  EXPECT_EQ(num_files(folder), 1U);
  EXPECT_EQ(NodeCache(folder).find(sha256_), path);
}

TEST_F(NodeCacheTest, DamagedBytesLeaveNothingBehind) {
  NodeCache cache(scratch_.path());
  std::string damaged = bytes_;
  damaged[500] = static_cast<char>(damaged[500] ^ 1);
  receive(cache, sha256_, damaged);
  EXPECT_EQ(cache.finish(sha256_), std::nullopt);
  EXPECT_EQ(num_files(scratch_.path()), 0U);
}

TEST_F(NodeCacheTest, ACopyThatRottedOnTheDiskIsNotFound) {
  write_file(scratch_ / sha256_, "something else");
  EXPECT_EQ(NodeCache(scratch_.path()).find(sha256_), std::nullopt);
}

TEST_F(NodeCacheTest, WhatIsAbandonedIsRemovedAndOldDraftsOfKilledProcessesToo) {
  const std::string old_draft = scratch_ / "ff.node1.123.new";
  const std::string young_draft = scratch_ / "ee.node1.124.new";
  write_file(old_draft, "x");
  write_file(young_draft, "x");
  fs::last_write_time(old_draft, fs::file_time_type::clock::now() - std::chrono::hours(25));
  NodeCache cache(scratch_.path());
  receive(cache, sha256_, bytes_);
  cache.abandon(sha256_);
  EXPECT_FALSE(fs::exists(old_draft));
  EXPECT_TRUE(fs::exists(young_draft)) << "another process may be writing it";
  EXPECT_EQ(num_files(scratch_.path()), 1U);
}

TEST_F(NodeCacheTest, WhatIsArrivingCanBeReadUpToWhereItIs) {
  NodeCache cache(scratch_.path());
  EXPECT_EQ(cache.available(sha256_), std::nullopt);
  receive(cache, sha256_, bytes_.substr(0, 600));
  EXPECT_EQ(cache.available(sha256_), 600);
  EXPECT_EQ(cache.read(sha256_, 590, 100), bytes_of(bytes_.substr(590, 10)));
  cache.append(sha256_, bytes_of(bytes_.substr(600)));
  ASSERT_TRUE(cache.finish(sha256_));
  EXPECT_EQ(cache.available(sha256_), 1000);
  EXPECT_EQ(cache.read(sha256_, 990, 100), bytes_of(bytes_.substr(990)));
}

TEST_F(NodeCacheTest, TheRootsOwnFileIsServedFromWhereItLies) {
  const SharedFile file = write_file(scratch_ / "weights.pth", bytes_);
  NodeCache cache(scratch_ / "cache");
  cache.add_original(file);
  EXPECT_EQ(cache.available(file.sha256), 1000);
  EXPECT_EQ(cache.read(file.sha256, 0, 1000), bytes_of(bytes_));
  EXPECT_FALSE(fs::exists(scratch_ / "cache"));
}

TEST_F(NodeCacheTest, WhatCannotBeDoneNamesPathAndReason) {
  const auto message = [](auto function) {
    try {
      function();
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  write_file(scratch_ / "file", "x");
  EXPECT_THAT(message([&] { NodeCache(scratch_ / "file/cache").create(sha256_, 1); }),
              HasSubstr(scratch_ / "file/cache: cannot be created"));
  EXPECT_THAT(message([&] { NodeCache("").create(sha256_, 1); }), HasSubstr("XDG_CACHE_HOME"));
  NodeCache cache(scratch_ / "cache");
  cache.add_original({scratch_ / "nowhere", sha256_});
  EXPECT_THAT(message([&] { cache.available(sha256_); }),
              HasSubstr(scratch_ / "nowhere: cannot be opened: No such file"));
}

}  // namespace
}  // namespace squant::runner
