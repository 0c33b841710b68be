// The streaming view of checkpoints against the one that loads them whole.
#include "eval/checkpoint/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/checkpoint/shard_index.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kData = fs::path(SQUANT_TESTS_DATA_DIR) / "checkpoints";

class TensorFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("tensor_file_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<TensorFile> open(const fs::path& path) const {
    return open_tensor_file(path.string(), folder_.string());
  }
  std::string error_of(const fs::path& path) const {
    try {
      open(path);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "(accepted)";
  }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  // An index beside two shards: a.safetensors with "x" and "extra", b.safetensors with "y".
  fs::path write_shards(const std::string& index) const {
    write_safetensors((folder_ / "a.safetensors").string(),
                      {{"x", {{2, 2}, {1, 2, 3, 4}}}, {"extra", {{1}, {9}}}}, {{"k", "a"}});
    write_safetensors((folder_ / "b.safetensors").string(), {{"y", {{3}, {5, 6, 7}}}},
                      {{"k", "b"}, {"l", "b"}});
    return write(kShardIndexName, index);
  }

  fs::path folder_;
};

// A tensor as float32, read `rows_at_once` rows at a time.
std::vector<float> floats_of(TensorFile& file, std::size_t index, std::int64_t rows_at_once) {
  const StoredTensor& tensor = file.tensors()[index];
  std::vector<float> values(static_cast<std::size_t>(tensor.count));
  for (std::int64_t row = 0; tensor.count > 0 && row < tensor.num_rows(); row += rows_at_once) {
    const std::int64_t num_rows = std::min(rows_at_once, tensor.num_rows() - row);
    to_float32(tensor.type.kind, file.rows(index, row, num_rows).data(),
               num_rows * tensor.row_size(), values.data() + row * tensor.row_size());
  }
  return values;
}

TEST_F(TensorFileTest, StreamsWhatTheLoaderReadsWholeWhateverTheNumberOfRows) {
  std::size_t num_files = 0;
  for (const auto& entry : fs::directory_iterator(kData)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("refused_") ||
        !(name.ends_with(".pth") || name.ends_with(".zip") || name.ends_with(".safetensors"))) {
      continue;
    }
    SCOPED_TRACE(name);
    ++num_files;
    const Checkpoint whole = load_checkpoint(entry.path());
    for (const std::int64_t rows_at_once : {1, 2, 1000}) {
      const auto file = open(entry.path());
      std::size_t num_floats = 0;
      for (std::size_t i = 0; i < file->tensors().size(); ++i) {
        const StoredTensor& tensor = file->tensors()[i];
        if (tensor.type.kind == ElementKind::kInteger) continue;
        ++num_floats;
        const std::string known =
            tensor.name.starts_with("module.") ? tensor.name.substr(7) : tensor.name;
        ASSERT_TRUE(whole.tensors.contains(known)) << known;
        const HostTensor& expected = whole.tensors.at(known);
        EXPECT_EQ(tensor.shape, expected.shape) << known;
        const std::vector<float> values = floats_of(*file, i, rows_at_once);
        ASSERT_EQ(values.size(), expected.values.size()) << known;
        if (!values.empty()) {
          EXPECT_EQ(std::memcmp(values.data(), expected.values.data(), values.size() * 4), 0)
              << known;
        }
      }
      EXPECT_EQ(num_floats, whole.tensors.size());
    }
  }
  EXPECT_EQ(num_files, 28u);
  EXPECT_TRUE(fs::is_empty(folder_)) << "what was unpacked is gone";
}

TEST_F(TensorFileTest, IntegersKeepTheirTypeAndBytes) {
  const auto file = open(kData / "module_old.pth");
  std::size_t num_integers = 0;
  for (std::size_t i = 0; i < file->tensors().size(); ++i) {
    const StoredTensor& tensor = file->tensors()[i];
    if (!tensor.name.ends_with("num_batches_tracked")) continue;
    ++num_integers;
    EXPECT_EQ(tensor.type.dtype, "I64");
    EXPECT_TRUE(tensor.shape.empty());
    EXPECT_EQ(file->rows(i, 0, 1).size(), 8u);
  }
  EXPECT_GT(num_integers, 0u);
}

TEST_F(TensorFileTest, RefusedFilesAreRefusedHereToo) {
  for (const auto& entry : fs::directory_iterator(kData)) {
    const std::string name = entry.path().filename();
    // A file of integers alone is no checkpoint to evaluate, but one whose tensors can be copied.
    if (!name.starts_with("refused_") || name.starts_with("refused_integers")) continue;
    EXPECT_NE(error_of(entry.path()), "(accepted)") << name;
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(TensorFileTest, ShardsAreOneCheckpoint) {
  const fs::path index = write_shards(
      R"({"metadata":{"total_size":28},"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  for (const fs::path& path : {index, folder_}) {
    const auto file = open(path);
    ASSERT_EQ(file->tensors().size(), 2u);
    EXPECT_EQ(file->tensors()[0].name, "x");
    EXPECT_EQ(floats_of(*file, 0, 1), (std::vector<float>{1, 2, 3, 4}));
    EXPECT_EQ(file->tensors()[1].name, "y");
    EXPECT_EQ(floats_of(*file, 1, 2), (std::vector<float>{5, 6, 7}));
    EXPECT_EQ(file->metadata(), (std::map<std::string, std::string>{{"k", "a"}, {"l", "b"}}));
    EXPECT_THAT(file->notes(), testing::ElementsAre(HasSubstr("left out 1 tensors")));
    EXPECT_THAT(file->paths(), testing::ElementsAre(index.string(), folder_ / "a.safetensors",
                                                    folder_ / "b.safetensors"));
  }
}

TEST_F(TensorFileTest, BadShardsAreNamed) {
  const auto error_with = [&](const std::string& map) {
    return error_of(write_shards(R"({"weight_map":{)" + map + "}}"));
  };
  EXPECT_THAT(error_with(R"("x":"c.safetensors")"),
              AllOf(HasSubstr("c.safetensors: this file is missing"), HasSubstr(kShardIndexName)));
  EXPECT_THAT(error_with(R"("z":"a.safetensors")"),
              AllOf(HasSubstr("a.safetensors: tensor \"z\" is missing"), HasSubstr("index.json")));
  EXPECT_THAT(error_with(R"("x":"model.safetensors.index.json")"),
              HasSubstr("an index of shards, named as one of another's shards"));
  EXPECT_THAT(error_of(kData), HasSubstr("is a folder without a model.safetensors.index.json"));
  EXPECT_THAT(error_of(folder_ / "none"), HasSubstr("cannot be opened"));
}

TEST_F(TensorFileTest, AnIndexNeverLeadsOutOfItsFolder) {
  for (const std::string name : {"../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", ".",
                                 "", "a\\\\b", "a\\u0000b"}) {
    EXPECT_THAT(error_of(write_shards(R"({"weight_map":{"x":")" + name + R"("}})")),
                AllOf(HasSubstr("tensor \"x\" is said to be in"), HasSubstr("no plain file name")))
        << name;
  }
}

TEST_F(TensorFileTest, EveryBadIndexIsAnErrorThatSaysWhy) {
  const std::map<std::string, std::string> cases = {
      {"{", "it is not JSON"},
      {"{} {}", "it is not JSON"},
      {"{\"weight_map\":{\"\xff\":\"a\"}}", "it is not JSON"},
      {"{}", "no object weight_map"},
      {R"({"weight_map":[]})", "no object weight_map"},
      {R"({"weight_map":{}})", "its weight_map is empty"},
      {R"({"weight_map":{"x":1}})", "the file of tensor \"x\" is no string"},
      {R"({"weight_map":{"x":"a","x":"b"}})", "tensor \"x\" stands there twice"},
      {R"({"weight_map":{"x":"a"},"weight_map":{"x":"b"}})", "weight_map stands there twice"},
      {R"({"a":)" + std::string(100'000, '['), "it nests too deep"},
  };
  for (const auto& [text, why] : cases) {
    try {
      parse_shard_index(text, "FILE");
      ADD_FAILURE() << text << " was accepted";
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), AllOf(testing::StartsWith("FILE: "), HasSubstr(why))) << text;
    }
  }
  // What another key holds does not matter, whatever it is called inside.
  EXPECT_EQ(parse_shard_index(R"({"m":{"weight_map":1,"x":2},"weight_map":{"x":"a"},"n":{"x":3}})",
                              "FILE"),
            (std::map<std::string, std::string>{{"x", "a"}}));
}

}  // namespace
}  // namespace squant::eval
