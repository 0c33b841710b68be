#include "eval/checkpoint/zip_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
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

struct Member {
  std::string name;
  std::string content;
  int method = ZIP_CM_STORE;
};

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string zip_of(const std::vector<Member>& members) {
  const fs::path path =
      fs::path(testing::TempDir()) / ("zip_test_" + std::to_string(::getpid()) + ".zip");
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const Member& member : members) {
    zip_source_t* source =
        zip_source_buffer(archive, member.content.data(), member.content.size(), 0);
    const zip_int64_t index = zip_file_add(archive, member.name.c_str(), source, 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), member.method, 0);
  }
  EXPECT_EQ(zip_close(archive), 0);
  const std::string bytes = read_text(path);
  fs::remove(path);
  return bytes;
}

// Overwrites every occurrence of `from`, of the same length: entries are described twice, and once
// more at the end.
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  std::size_t num_replaced = 0;
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;
       at += to.size(), ++num_replaced) {
    text.replace(at, to.size(), to);
  }
  EXPECT_GT(num_replaced, 0u);
  return text;
}

std::string bytes_of(std::uint32_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string error_of(const std::string& bytes) {
  try {
    const ZipArchive archive(std::as_bytes(std::span(bytes)), "FILE");
    for (const std::string& name : archive.names()) archive.read(name);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

std::string error_of_checkpoint(const std::string& bytes) {
  try {
    parse_checkpoint(std::as_bytes(std::span(bytes)), "FILE");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

TEST(ZipArchiveTest, StoredAndDeflatedEntriesAreRead) {
  const std::string bytes = zip_of({{"a/", ""},
                                    {"a/b", "stored"},
                                    {"c", std::string(1000, 'x'), ZIP_CM_DEFLATE},
                                    {"empty", ""}});
  const ZipArchive archive(std::as_bytes(std::span(bytes)), "FILE");
  EXPECT_THAT(archive.names(), testing::ElementsAre("a/b", "c", "empty"));
  EXPECT_EQ(archive.read("a/b").size(), 6u);
  EXPECT_EQ(archive.read("c"), std::vector<std::byte>(1000, std::byte{'x'}));
  EXPECT_TRUE(archive.read("empty").empty());
  EXPECT_EQ(archive.size_bytes("c"), 1000u);
  EXPECT_EQ(archive.total_bytes(), 1006u);
  EXPECT_THROW(archive.read("nothing"), std::invalid_argument);
}

TEST(ZipArchiveTest, DamageIsAnErrorThatNamesTheEntry) {
  const std::string content = "the content, which has a checksum";
  const auto size = static_cast<std::uint32_t>(content.size());
  const std::string good = zip_of({{"name", content}});
  ASSERT_EQ(error_of(good), "(accepted)");
  EXPECT_THAT(error_of(replaced(good, "checksum", "checksun")),
              AllOf(HasSubstr("zip entry \"name\""), HasSubstr("CRC")));
  EXPECT_THAT(error_of(replaced(good, bytes_of(size) + bytes_of(size),
                                bytes_of(size) + bytes_of(size + 1))),
              HasSubstr("is stored, yet has two sizes"));
  EXPECT_THAT(error_of(good.substr(1)), testing::StartsWith("FILE: "));
  EXPECT_THAT(error_of(good.substr(0, good.size() - 1)),
              testing::StartsWith("FILE: not a readable zip archive (truncated?)"));
}

TEST(ZipArchiveTest, AWrongSizeOfADeflatedEntryIsAnError) {
  const std::string good = zip_of({{"name", std::string(1000, 'x'), ZIP_CM_DEFLATE}});
  EXPECT_THAT(error_of(replaced(good, bytes_of(1000), bytes_of(999))),
              HasSubstr("zip entry \"name\""));
  EXPECT_THAT(error_of(replaced(good, bytes_of(1000), bytes_of(1001))),
              HasSubstr("zip entry \"name\""));
}

TEST(ZipArchiveTest, DuplicateNamesAreRefused) {
  EXPECT_THAT(error_of(replaced(zip_of({{"aa", "1"}, {"ab", "2"}}), "ab", "aa")),
              HasSubstr("\"aa\" stands there twice"));
}

TEST(ZipArchiveTest, BombsAreRefusedBeforeTheyUnpack) {
  // 65 MiB of zeros shrink by a factor of a thousand.
  const std::string bomb =
      zip_of({{"w.pth", std::string(std::size_t{65} << 20, '\0'), ZIP_CM_DEFLATE}});
  EXPECT_THAT(error_of_checkpoint(bomb), AllOf(HasSubstr("FILE: "), HasSubstr("zip bomb")));
  // Sizes that are declared and not true.
  const std::string deflated = zip_of({{"w.pth", std::string(1000, 'x'), ZIP_CM_DEFLATE}});
  EXPECT_THAT(error_of_checkpoint(replaced(deflated, bytes_of(1000), bytes_of(0xfffffff0u))),
              HasSubstr("zip bomb"));
  // Below the limit an entry is read, but yields no more than it declares.
  EXPECT_THAT(error_of_checkpoint(replaced(deflated, bytes_of(1000), bytes_of(10))),
              HasSubstr("zip entry \"w.pth\""));
}

TEST(ZipArchiveTest, EncryptedEntriesAreRefused) {
  std::string bytes = zip_of({{"name", "content"}});
  bytes[6] |= 1;  // general purpose flag of the local header, then of the central one
  bytes[bytes.find("PK\x01\x02") + 8] |= 1;
  EXPECT_THAT(error_of(bytes), HasSubstr("FILE: "));
  EXPECT_THAT(error_of(bytes), HasSubstr("encrypted"));
}

// Files of torch.save's zip format, each with one thing wrong.
class TorchArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string bytes =
        read_text(fs::path(SQUANT_TESTS_DATA_DIR) / "checkpoints" / "module_zip.pth");
    const ZipArchive archive(std::as_bytes(std::span(bytes)), "module_zip.pth");
    for (const std::string& name : archive.names()) {
      const auto content = archive.read(name);
      members_.push_back({name, {reinterpret_cast<const char*>(content.data()), content.size()}});
    }
    ASSERT_EQ(error_of_checkpoint(zip_of(members_)), "(accepted)");
  }
  Member& member(const std::string& end) {
    for (Member& m : members_) {
      if (m.name.ends_with(end)) return m;
    }
    throw std::logic_error("no entry " + end);
  }
  std::vector<Member> members_;
};

TEST_F(TorchArchiveTest, RecompressedArchivesAreReadToo) {
  for (Member& m : members_) m.method = ZIP_CM_DEFLATE;
  EXPECT_EQ(error_of_checkpoint(zip_of(members_)), "(accepted)");
}

TEST_F(TorchArchiveTest, ByteOrderIsChecked) {
  member("/byteorder").content = "big";
  EXPECT_THAT(error_of_checkpoint(zip_of(members_)), HasSubstr("its byte order is \"big\""));
}

TEST_F(TorchArchiveTest, AMissingByteOrderIsLittleEndian) {
  std::erase_if(members_, [](const Member& m) { return m.name.ends_with("/byteorder"); });
  EXPECT_EQ(error_of_checkpoint(zip_of(members_)), "(accepted)") << "torch before 2.1 writes none";
}

TEST_F(TorchArchiveTest, AMissingStorageIsNamed) {
  std::erase_if(members_, [](const Member& m) { return m.name.ends_with("/data/0"); });
  EXPECT_THAT(error_of_checkpoint(zip_of(members_)), AllOf(HasSubstr("/data/0\" is missing")));
}

TEST_F(TorchArchiveTest, AStorageOfAnotherSizeIsNamed) {
  member("/data/0").content += "xxxx";
  EXPECT_THAT(error_of_checkpoint(zip_of(members_)),
              HasSubstr("/data/0\" has 220 bytes, its tensors say 216"));
}

TEST_F(TorchArchiveTest, BytesBehindThePickleAreAnError) {
  member("/data.pkl").content += "x";
  EXPECT_THAT(error_of_checkpoint(zip_of(members_)), HasSubstr("bytes behind the pickle"));
}

TEST_F(TorchArchiveTest, TwoPicklesAreNoFileOfTorch) {
  members_.push_back({"other/data.pkl", "N."});
  EXPECT_THAT(error_of_checkpoint(zip_of(members_)), HasSubstr("neither a file of torch.save"));
}

}  // namespace
}  // namespace squant::eval
