#include "runner/collective/frames.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

namespace squant::runner {
namespace {

template <typename T>
T round_trip(const T& frame) {
  const Bytes bytes = encode_frame(frame);
  EXPECT_TRUE(is_frame(bytes));
  return std::get<T>(decode_frame(bytes));
}

TEST(FramesTest, EveryKindComesBackAsItWas) {
  EXPECT_EQ(round_trip(FileWanted{"aa", "node1", "node1:/c"}).place, "node1:/c");
  EXPECT_EQ(round_trip(FileWanted{"aa", "node1", "p"}).host, "node1");
  EXPECT_TRUE(round_trip(SourceFailed{"aa", 7, "why", true}).damaged);
  EXPECT_EQ(round_trip(SourceFailed{"aa", 7, "why", true}).source, 7);
  EXPECT_EQ(round_trip(FileArrived{"aa", std::int64_t{1} << 40}).bytes, std::int64_t{1} << 40);
  EXPECT_EQ(round_trip(FileLost{"aa", "disk \xC3\xA9"}).why, "disk \xC3\xA9");
  EXPECT_EQ(round_trip(FileSource{"aa", 5, 3, "node2"}).host, "node2");
  EXPECT_EQ(round_trip(FileSource{"aa", 5, 3, "node2"}).size, 5);
  EXPECT_EQ(round_trip(FileNearby{"aa"}).sha256, "aa");
  EXPECT_EQ(round_trip(FileRefused{"aa", "no"}).why, "no");
  EXPECT_EQ(round_trip(PullPiece{"aa", 1 << 20}).offset, 1 << 20);
  EXPECT_EQ(round_trip(Piece{"aa", 9, {0, 255, 70}}).bytes, (Bytes{0, 255, 70}));
  EXPECT_EQ(round_trip(StillWaiting{"aa"}).sha256, "aa");
  EXPECT_EQ(round_trip(NotHere{"aa", "gone"}).why, "gone");
}

TEST(FramesTest, NoMessageIsTakenForAFrame) {
  EXPECT_FALSE(is_frame({}));
  EXPECT_FALSE(is_frame(encode(Ack{})));
  EXPECT_FALSE(is_frame(encode(Leave{true, "F"})));
  EXPECT_THROW(decode(encode_frame(FileNearby{"aa"})), std::invalid_argument);
}

TEST(FramesTest, BytesOfNobodyAreRefused) {
  EXPECT_THROW(decode_frame({}), std::invalid_argument);
  const Bytes good = encode_frame(FileSource{"aabb", 5, 3, "node2"});
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(decode_frame(std::span(good).first(size)), std::invalid_argument) << size;
  }
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_THROW(decode_frame(longer), std::invalid_argument);
  std::mt19937 random(1);
  for (int trial = 0; trial < 20000; ++trial) {
    Bytes bytes = good;
    for (int change = 0; change < 2; ++change)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    try {
      decode_frame(bytes);  // may be another valid frame
    } catch (const std::invalid_argument&) {
    }
  }
}

}  // namespace
}  // namespace squant::runner
