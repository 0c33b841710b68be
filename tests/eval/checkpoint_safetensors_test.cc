#include "eval/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "eval/checkpoint/checkpoint.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A folder of its own, so that leftovers show.
class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("safetensors_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

std::vector<std::byte> file_of(const std::string& header, std::size_t data_size) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes(sizeof(length) + header.size() + data_size);
  std::memcpy(bytes.data(), &length, sizeof(length));
  std::memcpy(bytes.data() + sizeof(length), header.data(), header.size());
  return bytes;
}

std::string error_of(const std::string& header, std::size_t data_size) {
  const auto bytes = file_of(header, data_size);
  try {
    safetensors_state_dict(parse_safetensors(bytes, "FILE"), "FILE");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

TEST_F(SafetensorsTest, WhatIsWrittenIsReadBack) {
  const std::string path = folder_ / "round_trip.safetensors";
  const StateDict written = {
      {"a", {{2, 3}, {1, 2, 3, 4, 5, 6}}}, {"b.\"\n", {{}, {7}}}, {"none", {{0, 4}, {}}}};
  write_safetensors(path, written, {{"maker", "test"}});
  const Checkpoint read = load_checkpoint(path);
  ASSERT_EQ(read.tensors.size(), 3u);
  for (const auto& [name, tensor] : written) {
    EXPECT_EQ(read.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(read.tensors.at(name).values, tensor.values) << name;
  }
  EXPECT_EQ(read.format, "safetensors");
  EXPECT_EQ(read.sha256, sha256_file(path));
  const MappedFile file(path);
  EXPECT_EQ(parse_safetensors(file.bytes(), path).metadata.at("maker"), "test");
}

TEST_F(SafetensorsTest, WritingReplacesTheFileAndLeavesNothingElse) {
  const fs::path path = folder_ / "weights.safetensors";
  std::ofstream(path) << "old";
  write_safetensors(path, {{"a", {{1}, {1}}}});
  EXPECT_EQ(load_checkpoint(path).tensors.at("a").values, std::vector<float>{1});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  EXPECT_EQ(info.st_mode & 0777u, 0666u & ~mask) << "as readable as any other new file";
}

TEST_F(SafetensorsTest, AFailedWriteLeavesNothing) {
  const fs::path path = folder_ / "is_a_folder";
  fs::create_directories(path / "inside");
  EXPECT_THROW(write_safetensors(path, {{"a", {{1}, {1}}}}), std::system_error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  EXPECT_THROW(write_safetensors(folder_ / "missing" / "w.safetensors", {}), std::system_error);
}

TEST_F(SafetensorsTest, TensorsThatCannotBeWrittenAreNamed) {
  const std::string path = folder_ / "w.safetensors";
  const auto error_of_write = [&](const StateDict& tensors) -> std::string {
    try {
      write_safetensors(path, tensors);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "(accepted)";
  };
  EXPECT_THAT(error_of_write({{"conv", {{2, 2}, {1, 2, 3}}}}), HasSubstr("tensor \"conv\""));
  EXPECT_THAT(error_of_write({{"conv", {{-1}, {}}}}), HasSubstr("tensor \"conv\""));
  EXPECT_THAT(error_of_write({{"__metadata__", {{1}, {1}}}}), HasSubstr("reserved name"));
  EXPECT_THAT(error_of_write({{"\xff", {{1}, {1}}}}), HasSubstr("not UTF-8"));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(SafetensorsTest, HalfBfloat16AndDoubleBecomeFloat32) {
  auto bytes = file_of(R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},)"
                       R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[6,8]},)"
                       R"("d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
                       R"("n":{"dtype":"I64","shape":[],"data_offsets":[16,24]}})",
                       24);
  const std::uint16_t half[] = {0x3c00, 0x0001, 0xfc00};  // 1, 2^-24, -inf
  const std::uint16_t brain = 0xc020;                     // -2.5
  const double wide = 0.1;
  std::byte* data = bytes.data() + bytes.size() - 24;
  std::memcpy(data, half, 6);
  std::memcpy(data + 6, &brain, 2);
  std::memcpy(data + 8, &wide, 8);
  const Checkpoint read = parse_checkpoint(bytes, "FILE");
  EXPECT_THAT(read.tensors.at("h").values,
              testing::ElementsAre(1.0f, 0x1p-24f, -std::numeric_limits<float>::infinity()));
  EXPECT_THAT(read.tensors.at("b").values, testing::ElementsAre(-2.5f));
  EXPECT_THAT(read.tensors.at("d").values, testing::ElementsAre(0.1f));
  EXPECT_FALSE(read.tensors.contains("n"));
  EXPECT_THAT(read.notes, testing::ElementsAre("left out 1 integer tensors"));
}

TEST_F(SafetensorsTest, IntegerEntriesAreInTheViewThough) {
  const auto bytes = file_of(R"({"codes":{"dtype":"I8","shape":[2,2],"data_offsets":[0,4]}})", 4);
  const auto view = parse_safetensors(bytes, "FILE");
  EXPECT_EQ(view.entries.at("codes").data.size(), 4u);
  EXPECT_EQ(view.entries.at("codes").data.data(), bytes.data() + bytes.size() - 4);
}

TEST_F(SafetensorsTest, EveryBadHeaderIsAnErrorThatSaysWhy) {
  const auto one = [](const std::string& fields) { return R"({"t":{)" + fields + "}}"; };
  const struct {
    std::string header;
    std::size_t data_size;
    std::string why;
  } cases[] = {
      {"", 0, "does not start with '{'"},
      {"[]", 0, "does not start with '{'"},
      {"{", 0, "not JSON"},
      {"{\"\xff\":1}", 0, "not JSON"},
      {"{} x", 0, "not JSON"},
      {R"({"t":1})", 0, "\"t\" is not described by an object"},
      {one(R"("dtype":"F32","shape":[1])"), 4, "data_offsets is missing"},
      {one(R"("dtype":"F32","data_offsets":[0,4])"), 4, "shape is missing"},
      {one(R"("shape":[1],"data_offsets":[0,4])"), 4, "dtype is missing"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1)"), 4, "unknown field \"x\""},
      {one(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), 4,
       "\"dtype\" twice"},
      {R"({"t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
       0, "\"t\" twice"},
      {one(R"("dtype":7,"shape":[1],"data_offsets":[0,4])"), 4, "dtype is not a string"},
      {one(R"("dtype":"F12","shape":[1],"data_offsets":[0,4])"), 4, "unknown dtype \"F12\""},
      {one(R"("dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1])"), 1,
       "cannot be read as float32"},
      {one(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"), 4, "shape is not a list"},
      {one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4, "not a non-negative integer"},
      {one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), 4, "not a non-negative integer"},
      {one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"), 4,
       "not a non-negative integer"},
      {one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), 4, "overflows"},
      {one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0,
       "overflows"},
      {one(R"("dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), 0,
       "overflows"},
      {one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"), 0,
       "its shape needs 4611686018427387904"},
      {one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), 4, "nests deeper"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4, "not a pair"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":{"a":0})"), 4, "not a pair"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4, "outside the 4 bytes"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), 4,
       "outside the 4 bytes of data (is the file truncated?)"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615])"),
       4, "outside the 4 bytes"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4,
       "its shape needs 2 elements of 4 bytes, its offsets give 4"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,5])"), 5, "its offsets give 5"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8, "bytes of no tensor before"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 5,
       "bytes of no tensor at the end"},
      {"{}", 1, "bytes of no tensor at the end"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
       4, "\"b\" overlaps"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
       3, "overlaps"},
      {R"({"__metadata__":3})", 0, "__metadata__ is not an object"},
      {R"({"__metadata__":{"a":3}})", 0, "\"a\" is not a string"},
      {std::string(100'000, '{'), 0, "not JSON"},
      {R"({"a":)" + std::string(100'000, '['), 0, "nests deeper"},
  };
  for (const auto& bad : cases) {
    EXPECT_THAT(
        error_of(bad.header, bad.data_size),
        AllOf(testing::StartsWith("FILE: not a valid safetensors file"), HasSubstr(bad.why)))
        << bad.header.substr(0, 200);
  }
}

TEST_F(SafetensorsTest, HeaderLengthsAreChecked) {
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{1} << 20, std::uint64_t{100'000'001}, ~std::uint64_t{0},
        ~std::uint64_t{0} - 7}) {
    auto bytes = file_of("{}", 0);
    std::memcpy(bytes.data(), &length, sizeof(length));
    EXPECT_THROW(parse_safetensors(bytes, "FILE"), std::invalid_argument) << length;
  }
  EXPECT_EQ(parse_safetensors(file_of("{}   ", 0), "FILE").entries.size(), 0u)
      << "padding is part of the format";
}

TEST_F(SafetensorsTest, EveryTruncationIsAnError) {
  const fs::path path = folder_ / "whole.safetensors";
  write_safetensors(path, {{"a", {{2}, {1, 2}}}, {"b", {{1, 1}, {3}}}}, {{"k", "v"}});
  const MappedFile file(path);
  for (std::size_t size = 0; size < file.bytes().size(); ++size) {
    const std::vector<std::byte> part(file.bytes().begin(),
                                      file.bytes().begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(parse_safetensors(part, "FILE"), std::invalid_argument) << size;
    EXPECT_THROW(parse_checkpoint(part, "FILE"), std::invalid_argument) << size;
  }
}

TEST_F(SafetensorsTest, FilesThatCannotBeMappedAreNamed) {
  for (const std::string path : {"/nonexistent/w.safetensors", "/", "/dev/null"}) {
    try {
      const MappedFile file(path);
      ADD_FAILURE() << path;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), testing::StartsWith(path + ": "));
    }
  }
  const fs::path empty = folder_ / "empty";
  std::ofstream{empty};
  EXPECT_TRUE(MappedFile(empty).bytes().empty());
}

}  // namespace
}  // namespace squant::eval
