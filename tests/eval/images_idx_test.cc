#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "eval/images/dataset.h"
#include "eval/images/idx.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

Bytes idx(const std::vector<std::uint32_t>& dims, std::size_t num_values) {
  Bytes bytes{0, 0, 8, static_cast<std::uint8_t>(dims.size())};
  for (const std::uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<std::uint8_t>(dim >> shift));
  }
  for (std::size_t i = 0; i < num_values; ++i) bytes.push_back(static_cast<std::uint8_t>(i % 7));
  return bytes;
}

Bytes gzip(const Bytes& plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes out(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string parse_error(const Bytes& bytes) {
  return error_of([&] { parse_idx(bytes, "file.idx"); });
}

TEST(IdxTest, PlainAndGzipGiveTheSameValues) {
  const Bytes plain = idx({3, 4, 5}, 60);
  const IdxArray array = parse_idx(plain, "");
  EXPECT_EQ(array.dims, (std::vector<std::int64_t>{3, 4, 5}));
  EXPECT_EQ(array.values, Bytes(plain.begin() + 16, plain.end()));
  EXPECT_EQ(parse_idx(gzip(plain), "").values, array.values);
}

TEST(IdxTest, GzipMembersAreJoined) {
  const Bytes plain = idx({100}, 100);
  Bytes joined = gzip(Bytes(plain.begin(), plain.begin() + 50));
  const Bytes rest = gzip(Bytes(plain.begin() + 50, plain.end()));
  joined.insert(joined.end(), rest.begin(), rest.end());
  EXPECT_EQ(parse_idx(joined, "").values, Bytes(plain.begin() + 8, plain.end()));
}

TEST(IdxTest, EveryTruncationIsAnError) {
  for (const Bytes& whole : {idx({3, 4, 5}, 60), gzip(idx({3, 4, 5}, 60))}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THAT(
          parse_error(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
          HasSubstr("file.idx: "))
          << size;
    }
  }
}

TEST(IdxTest, HeadersThatPromiseTooMuchTakeNoMemory) {
  for (const Bytes& bytes :
       {idx({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 9),
        gzip(idx({0x80000000, 0x80000000, 4, 1}, 9)), idx({10}, 9), gzip(idx({0xffffffff}, 9))}) {
    EXPECT_THAT(parse_error(bytes), HasSubstr("truncated"));
  }
}

TEST(IdxTest, OtherContentIsRefusedWithItsReason) {
  EXPECT_THAT(parse_error(idx({10}, 11)), HasSubstr("longer than its header"));
  EXPECT_THAT(parse_error({1, 0, 8, 1, 0, 0, 0, 0}), HasSubstr("two zero bytes"));
  EXPECT_THAT(parse_error({0, 0, 13, 1, 0, 0, 0, 0}), HasSubstr("type 13"));
  EXPECT_THAT(parse_error({0, 0, 8, 0}), HasSubstr("0 dimensions"));
  EXPECT_THAT(parse_error({0, 0, 8, 5}), HasSubstr("5 dimensions"));
  Bytes damaged = gzip(idx({1000}, 1000));
  damaged[damaged.size() / 2] ^= 0x55;
  EXPECT_THAT(parse_error(damaged), HasSubstr("gzip"));
}

class IdxDatasetTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const Bytes& bytes) const {
    return folder_.write(name, {bytes.begin(), bytes.end()});
  }
  TestFolder folder_;
};

TEST_F(IdxDatasetTest, LoadsARangeWithItsLabels) {
  const auto dataset = open_dataset(
      {"idx", write("i", idx({6, 2, 3}, 36)), write("l", idx({6}, 6)), "", kFileOrder});
  EXPECT_EQ(dataset->size(), 6);
  EXPECT_EQ(dataset->num_classes(), 6);
  const ImageChunk chunk = dataset->load(2, 3, {1, 2, 3}, 2);
  EXPECT_EQ(chunk.labels, (std::vector<std::int32_t>{2, 3, 4}));
  ASSERT_EQ(chunk.pixels.size(), 18u);
  EXPECT_EQ(chunk.pixels[0], 12 % 7);
  EXPECT_EQ(chunk.pixels[17], 29 % 7);
  EXPECT_EQ(dataset->load(6, 0, {1, 2, 3}, 1).count, 0);
  EXPECT_EQ(dataset->labels(4), (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_THAT(error_of([&] { dataset->labels(7); }), HasSubstr("it has 6"));
  EXPECT_TRUE(dataset->class_names().empty());
}

TEST_F(IdxDatasetTest, RefusesWhatItCannotGive) {
  const auto dataset = open_dataset(
      {"idx", write("i", idx({6, 2, 3}, 36)), write("l", idx({6}, 6)), "", kFileOrder});
  EXPECT_THAT(error_of([&] { dataset->load(0, 7, {1, 2, 3}, 1); }), HasSubstr("it has 6"));
  EXPECT_THAT(error_of([&] { dataset->load(-1, 1, {1, 2, 3}, 1); }), HasSubstr("it has 6"));
  EXPECT_THAT(error_of([&] { dataset->load(7, 0, {1, 2, 3}, 1); }), HasSubstr("it has 6"));
  EXPECT_THAT(error_of([&] {
                dataset->load(0, 1, {3, 2, 3}, 1);
              }),
              HasSubstr("1 x 2 x 3, the network wants 3 x 2 x 3"));
}

TEST_F(IdxDatasetTest, FilesThatDoNotBelongTogetherAreNamed) {
  const std::string images = write("images", idx({6, 2, 3}, 36));
  const std::string labels = write("labels", idx({6}, 6));
  const auto open_error = [](const std::string& i, const std::string& l) {
    return error_of([&] { open_dataset({"idx", i, l, ""}); });
  };
  EXPECT_THAT(open_error(labels, images), HasSubstr("swapped"));
  EXPECT_THAT(open_error(images, write("five", idx({5}, 5))), HasSubstr("6 images"));
  EXPECT_THAT(open_error(write("none", idx({0, 2, 3}, 0)), write("nolabels", idx({0}, 0))),
              HasSubstr("no images"));
  EXPECT_THAT(open_error(images + ".missing", labels),
              HasSubstr(images + ".missing: cannot be opened"));
  EXPECT_THAT(open_error(images, ""), HasSubstr("give both"));
  EXPECT_THAT(error_of([&] {
                open_dataset({"idy", images, labels, ""});
              }),
              HasSubstr("unknown format \"idy\""));
}

TEST_F(IdxDatasetTest, FingerprintIsOfTheContentNotOfItsCompression) {
  const auto fingerprint = [](const std::string& i, const std::string& l) {
    return open_dataset({"idx", i, l, ""})->fingerprint();
  };
  Bytes pixels = idx({6, 2, 3}, 36);
  Bytes labels = idx({6}, 6);
  const std::string first = fingerprint(write("i", pixels), write("l", labels));
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(fingerprint(write("i.gz", gzip(pixels)), write("l.gz", gzip(labels))), first);
  EXPECT_NE(fingerprint(write("turned", idx({6, 3, 2}, 36)), write("l", labels)), first);
  pixels.back() ^= 1;
  EXPECT_NE(fingerprint(write("i2", pixels), write("l", labels)), first);
  labels.back() ^= 1;
  EXPECT_NE(fingerprint(write("i", idx({6, 2, 3}, 36)), write("l2", labels)), first);
}

TEST_F(IdxDatasetTest, RandomOrderKeepsImageAndLabelTogether) {
  const std::string images = write("i", idx({6, 2, 3}, 36));
  const std::string labels = write("l", idx({6}, 6));
  const auto files = open_dataset({"idx", images, labels, "", kFileOrder});
  const auto shuffled = open_dataset({"idx", images, labels, ""});
  EXPECT_NE(shuffled->fingerprint(), files->fingerprint());
  const ImageChunk one = files->load(0, 6, {1, 2, 3}, 1);
  const ImageChunk other = shuffled->load(0, 6, {1, 2, 3}, 1);
  EXPECT_NE(other.labels, one.labels);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto label = static_cast<std::size_t>(other.labels[i]);  // the image's place in the file
    for (std::size_t pixel = 0; pixel < 6; ++pixel)
      EXPECT_EQ(other.pixels[6 * i + pixel], one.pixels[6 * label + pixel]);
  }
}

TEST(ImageOrderTest, IsAPermutationThatNeverChanges) {
  std::vector<std::int64_t> order = image_order(kRandomOrder, 50000);
  // Results are stored by position: another shuffle needs another order_tag().
  EXPECT_EQ(std::vector<std::int64_t>(order.begin(), order.begin() + 3),
            (std::vector<std::int64_t>{42463, 1620, 36261}));
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, image_order(kFileOrder, 50000));
  EXPECT_TRUE(image_order(kRandomOrder, 0).empty());
  EXPECT_THAT(error_of([] { image_order("sorted", 3); }), HasSubstr("\"files\""));
}

TEST_F(IdxDatasetTest, FashionMnistIsFoundInTheCacheFolderFirst) {
  std::filesystem::create_directories(folder_.path() + "/squant-sweep/fashion-mnist");
  write("squant-sweep/fashion-mnist/t10k-images-idx3-ubyte.gz", gzip(idx({2, 28, 28}, 2 * 784)));
  write("squant-sweep/fashion-mnist/t10k-labels-idx1-ubyte.gz", gzip(idx({2}, 2)));
  const ScopedEnv cache("XDG_CACHE_HOME", folder_.path());
  const auto dataset = open_dataset({"fashion-mnist", "test", "", ""});
  EXPECT_EQ(dataset->size(), 2);
  ASSERT_EQ(dataset->class_names().size(), 10U);
  EXPECT_EQ(dataset->class_names()[9], "Ankle boot");
  EXPECT_THAT(error_of([] {
                open_dataset({"fashion-mnist", "validation", "", ""});
              }),
              HasSubstr("\"train\""));
}

TEST(FashionMnistTest, TheTestImagesAreThePublishedOnes) {
  const std::string images = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
  if (!std::filesystem::exists(images)) {
    const std::string error = error_of([] { open_dataset({"fashion-mnist", "test", "", ""}); });
    EXPECT_TRUE(error.empty() ||
                error.find("apt install dataset-fashion-mnist") != std::string::npos)
        << error;
    GTEST_SKIP() << "needs Debian's package dataset-fashion-mnist";
  }
  const auto dataset = open_dataset({"fashion-mnist", "test", "", "", kFileOrder});
  ASSERT_EQ(dataset->size(), 10000);
  EXPECT_EQ(dataset->num_classes(), 10);
  const ImageChunk chunk = dataset->load(0, 10000, {1, 28, 28}, 1);
  std::vector<int> per_class(10);
  for (const std::int32_t label : chunk.labels) ++per_class[static_cast<std::size_t>(label)];
  EXPECT_THAT(per_class, ::testing::Each(1000));
  // The first labels of the published file: ankle boot, pullover, trouser, trouser, shirt.
  EXPECT_EQ(std::vector<std::int32_t>(chunk.labels.begin(), chunk.labels.begin() + 5),
            (std::vector<std::int32_t>{9, 2, 1, 1, 6}));
  // Sum of the test images as numpy gives it over the package's file.
  EXPECT_EQ(std::accumulate(chunk.pixels.begin(), chunk.pixels.end(), std::int64_t{0}), 573469082);
}

}  // namespace
}  // namespace squant::eval
