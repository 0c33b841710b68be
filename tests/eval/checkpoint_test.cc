#include "eval/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "eval/checkpoint/safetensors.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kData = fs::path(SQUANT_TESTS_DATA_DIR) / "checkpoints";

std::vector<std::byte> read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::vector<std::byte> bytes(fs::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

std::string error_of(std::span<const std::byte> bytes) {
  try {
    parse_checkpoint(bytes, "FILE");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

std::string error_of_file(const std::string& name) { return error_of(read_bytes(kData / name)); }

void expect_same_tensors(const StateDict& read, const StateDict& expected) {
  std::set<std::string> names;
  for (const auto& [name, unused] : read) names.insert(name);
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(names.erase(name)) << "missing: " << name;
    EXPECT_EQ(read.at(name).shape, tensor.shape) << name;
    ASSERT_EQ(read.at(name).values.size(), tensor.values.size()) << name;
    for (std::size_t i = 0; i < tensor.values.size();
         ++i) {  // bits: -0 counts, but one NaN is as good as another
      if (std::isnan(read.at(name).values[i]) && std::isnan(tensor.values[i])) continue;
      EXPECT_EQ(std::bit_cast<std::uint32_t>(read.at(name).values[i]),
                std::bit_cast<std::uint32_t>(tensor.values[i]))
          << name << "[" << i << "]";
    }
  }
  EXPECT_THAT(names, testing::IsEmpty()) << "unexpected tensors";
}

// expected.safetensors, by case.
const std::map<std::string, StateDict>& expected_cases() {
  static const auto cases = [] {
    std::map<std::string, StateDict> by_case;
    for (auto& [name, tensor] : load_checkpoint(kData / "expected.safetensors").tensors) {
      const std::size_t slash = name.find('/');
      by_case[name.substr(0, slash)].emplace(name.substr(slash + 1), tensor);
    }
    return by_case;
  }();
  return cases;
}

fs::path file_of_case(const std::string& name) {
  return kData / (name.ends_with(".zip") ? name : name + ".pth");
}

TEST(CheckpointTest, EveryFileOfTorchLoadsAsTorchReadsIt) {
  EXPECT_EQ(expected_cases().size(), 27u);
  for (const auto& [name, expected] : expected_cases()) {
    SCOPED_TRACE(name);
    const Checkpoint read = load_checkpoint(file_of_case(name));
    expect_same_tensors(read.tensors, expected);
    EXPECT_EQ(read.format, name.ends_with(".zip")   ? "pth.zip"
                           : name.ends_with("_old") ? "pickle"
                                                    : "zip");
  }
}

// A path that no other run of this test uses.
fs::path own_path(const std::string& name) {
  return fs::path(testing::TempDir()) / (std::to_string(::getpid()) + "_" + name);
}

TEST(CheckpointTest, FormatIsToldByContentNotByName) {
  const fs::path misnamed = own_path("misnamed.safetensors");
  fs::copy_file(kData / "module_zip.pth", misnamed);
  EXPECT_EQ(load_checkpoint(misnamed).format, "zip");
  fs::remove(misnamed);
}

TEST(CheckpointTest, ReleaseFileKeepsTheSha1OfThePthInside) {
  const Checkpoint inner = load_checkpoint(kData / "module_old.pth");
  const Checkpoint outer = load_checkpoint(kData / "module_old_deflated.pth.zip");
  EXPECT_EQ(outer.sha1, inner.sha1);
  EXPECT_NE(outer.sha256, inner.sha256);
  EXPECT_EQ(outer.sha256, sha256_file(kData / "module_old_deflated.pth.zip"));
}

TEST(CheckpointTest, DigestsAreTheStandardOnes) {
  EXPECT_EQ(sha256_hex("abc", 3),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const fs::path path = own_path("abc");
  std::ofstream(path) << "abc";
  EXPECT_EQ(sha256_file(path), sha256_hex("abc", 3));
  fs::remove(path);
  EXPECT_THROW(sha256_file("/nonexistent"), std::invalid_argument);
  EXPECT_THROW(sha256_file("/"), std::invalid_argument);
}

TEST(CheckpointTest, NotesSayWhatWasLeftOutOrRenamed) {
  EXPECT_THAT(load_checkpoint(kData / "wrapped_old.pth").notes,
              testing::ElementsAre(HasSubstr("\"state_dict\""), "left out 1 integer tensors"));
  EXPECT_THAT(load_checkpoint(kData / "wrapped_model_zip.pth").notes,
              testing::Contains(HasSubstr("\"model\"")));
  EXPECT_THAT(load_checkpoint(kData / "data_parallel_zip.pth").notes,
              testing::Contains(HasSubstr("\"module.\"")));
  EXPECT_THAT(load_checkpoint(kData / "views_zip.pth").notes, testing::IsEmpty());
}

TEST(CheckpointTest, CodeInAPickleIsNamedAndNeverRuns) {
  for (const char* name : {"refused_code_old.pth", "refused_code_zip.pth"}) {
    EXPECT_THAT(error_of_file(name),
                AllOf(HasSubstr("FILE: pickle, byte "), HasSubstr("\"posix.system\" is refused")))
        << name;
  }
  EXPECT_FALSE(fs::exists("squant-checkpoint-ran-code"));
}

TEST(CheckpointTest, WhatIsNoStateDictOfFloatsIsRefusedByName) {
  const std::map<std::string, std::string> refusals = {
      {"refused_whole_model_zip.pth", "\"torch.nn.modules.container.Sequential\" is refused"},
      {"refused_protocol4_old.pth", "a pickle, but not one that torch.save writes by itself"},
      {"refused_protocol4_zip.pth", "pickle protocol 4"},
      {"refused_complex_old.pth", "\"torch.ComplexFloatStorage\" is refused"},
      {"refused_complex_zip.pth", "\"torch.ComplexFloatStorage\" is refused"},
      {"refused_sparse_old.pth", "\"torch._utils._rebuild_sparse_tensor\" is refused"},
      {"refused_sparse_zip.pth", "\"torch._utils._rebuild_sparse_tensor\" is refused"},
      {"refused_float8_zip.pth", "\"torch._utils._rebuild_tensor_v3\" is refused"},
      {"refused_number_old.pth", "the entry \"epoch\" is the number 3, not a tensor"},
      {"refused_number_zip.pth", "the entry \"epoch\" is the number 3, not a tensor"},
      {"refused_list_old.pth", "the file holds a list, not a state dict"},
      {"refused_list_zip.pth", "the file holds a list, not a state dict"},
      {"refused_integers_old.pth", "it holds no float tensor"},
      {"refused_integers_zip.pth", "it holds no float tensor"},
      {"refused_key_old.pth", "the key the number 0, not a name"},
      {"refused_key_zip.pth", "the key the number 0, not a name"},
      {"refused_torchscript.pth", "is refused"},
      {"refused_nested.pth.zip", "zip entry \"net.pth\": a zip archive inside a zip archive"},
      {"refused_two.pth.zip", "it has 2 entries, first \"a.pth\""},
      {"refused_empty.pth.zip", "it has 0 entries"},
      {"refused_lzma.pth.zip", "zip entry \"net.pth\" is compressed by method 14"},
  };
  std::size_t num_files = 0;
  for (const auto& entry : fs::directory_iterator(kData)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("refused_") || name.starts_with("refused_code")) continue;
    ++num_files;
    ASSERT_TRUE(refusals.contains(name)) << name;
    EXPECT_THAT(error_of_file(name),
                AllOf(testing::StartsWith("FILE"), HasSubstr(refusals.at(name))))
        << name;
  }
  EXPECT_EQ(num_files, refusals.size());
}

TEST(CheckpointTest, UnreadablePathsAreNamed) {
  for (const std::string path : {"/nonexistent/weights.pth", "/", "/dev/null"}) {
    try {
      load_checkpoint(path);
      ADD_FAILURE() << path << " was accepted";
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), testing::StartsWith(path + ": "));
    }
  }
}

TEST(CheckpointTest, OtherFilesAreRecognisedAsSuch) {
  const auto error_of_text = [](const std::string& text) {
    return error_of(std::as_bytes(std::span(text)));
  };
  EXPECT_THAT(error_of_text(""), HasSubstr("the file is empty"));
  EXPECT_THAT(error_of_text("version https://git-lfs.github.com/spec/v1\noid"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(error_of_text("<!DOCTYPE html>"), HasSubstr("web page"));
  EXPECT_THAT(error_of_text("\x80\x04."),
              HasSubstr("a pickle, but not one that torch.save writes"));
  EXPECT_THAT(error_of_text("\x89PNG\r\n"), HasSubstr("begins with \"\\x89PNG\\x0d\\x0a\""));
}

// A sample of every format, for damage below.
const char* const kSamples[] = {"views_old.pth",
                                "module_old.pth",
                                "views_zip.pth",
                                "module_old_deflated.pth.zip",
                                "module_zip_stored.pth.zip",
                                "zip64.pth.zip"};

TEST(CheckpointTest, EveryTruncationIsAnError) {
  for (const char* name : kSamples) {
    const std::vector<std::byte> whole = read_bytes(kData / name);
    ASSERT_EQ(error_of(whole), "(accepted)");
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // A copy of its own, so that a sanitizer sees a read behind the end.
      const std::vector<std::byte> part(whole.begin(),
                                        whole.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_NE(error_of(part), "(accepted)")
          << name << " cut to " << size << " of " << whole.size() << " bytes";
    }
  }
}

TEST(CheckpointTest, NoDamagedByteCrashesTheReader) {
  for (const char* name : kSamples) {
    std::vector<std::byte> bytes = read_bytes(kData / name);
    std::size_t num_refused = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::byte original = bytes[i];
      for (const int flip : {0x01, 0xff}) {
        bytes[i] = original ^ static_cast<std::byte>(flip);
        num_refused += error_of(bytes) != "(accepted)";
      }
      bytes[i] = original;
    }
    EXPECT_GT(num_refused, bytes.size() / 2) << name;
  }
}

TEST(CheckpointTest, BytesBehindTheEndAreAnError) {
  std::vector<std::byte> bytes = read_bytes(kData / "module_old.pth");
  bytes.push_back(std::byte{0});
  EXPECT_THAT(error_of(bytes), HasSubstr("1 bytes behind the last storage"));
}

TEST(CheckpointTest, BigEndianFilesAreRefused) {
  std::vector<std::byte> old_file = read_bytes(kData / "module_old.pth");
  const std::string key = "little_endian";
  auto flag = std::search(old_file.begin(), old_file.end(), std::as_bytes(std::span(key)).begin(),
                          std::as_bytes(std::span(key)).end());
  ASSERT_NE(flag, old_file.end());
  flag = std::find(flag, old_file.end(), std::byte{0x88});  // NEWTRUE
  *flag = std::byte{0x89};
  EXPECT_THAT(error_of(old_file), HasSubstr("big-endian"));
}

// The real thing: EfficientNet-Lite0 as its PyPI package ships it, a file of the old format.
TEST(CheckpointTest, EfficientNetLite0Loads) {
  const char* folder = std::getenv("SQUANT_TEST_DATA");
  const std::string name = "models/efficientnet-lite0-57934424.pth";
  if (folder == nullptr || !fs::exists(fs::path(folder) / name)) {
    GTEST_SKIP() << "set SQUANT_TEST_DATA to a folder with " << name;
  }
  const Checkpoint read = load_checkpoint(fs::path(folder) / name);
  EXPECT_EQ(read.format, "pickle");
  EXPECT_EQ(read.sha1, "d65e840fdef58fa792288eacee91ff28eacd3f4b");
  EXPECT_EQ(read.sha256, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db");
  EXPECT_EQ(read.tensors.size(), 247u);
  EXPECT_EQ(read.tensors.at("_conv_stem.weight").shape, (std::vector<std::int64_t>{32, 3, 3, 3}));
  // Its convolutions stand in the file in another order than row-major. The digest is of
  // torch.load's tensors, contiguous: name and float32 bytes, sorted by name.
  std::string all;
  for (const auto& [tensor_name, tensor] : read.tensors) {
    all += tensor_name;
    all.append(reinterpret_cast<const char*>(tensor.values.data()),
               tensor.values.size() * sizeof(float));
  }
  EXPECT_EQ(sha256_hex(all.data(), all.size()),
            "3918c27c5c39fd6eeb5d32ee16330bbedb3a37533a6b4c39a3992b5865971845");
}

}  // namespace
}  // namespace squant::eval
