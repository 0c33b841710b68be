#include "runner/messages.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <stdexcept>

namespace squant::runner {
namespace {

template <typename T>
T round_trip(const T& message) {
  return std::get<T>(decode(encode(message)));
}

TEST(MessagesTest, HelloComesBackAsItWas) {
  const Hello sent{
      "0.1.0 abc",         "node7", 4711, "cpu", "AMD EPYC \"x\" \xC3\xA9", "uuid", "driver", 64,
      "a note\nwith lines"};
  const Hello got = round_trip(sent);
  EXPECT_EQ(got.program, sent.program);
  EXPECT_EQ(got.host, sent.host);
  EXPECT_EQ(got.pid, sent.pid);
  EXPECT_EQ(got.device, sent.device);
  EXPECT_EQ(got.device_name, sent.device_name);
  EXPECT_EQ(got.device_uuid, sent.device_uuid);
  EXPECT_EQ(got.driver, sent.driver);
  EXPECT_EQ(got.num_threads, sent.num_threads);
  EXPECT_EQ(got.note, sent.note);
}

TEST(MessagesTest, AJobAndItsRangesComeBackToTheLastBit) {
  JobInfo sent;
  sent.job = 3;
  sent.spec = {"resnet18",
               "/a b/c.pth",
               "ff00",
               4,
               8,
               quant::Mode::kEC,
               quant::Rounding::kPaper,
               12.5,
               32,
               eval::EngineChoice::kSimulated,
               true};
  sent.repeats = 11;
  sent.ranges = {
      {0, 0.1F}, {-3.1415927F, std::numeric_limits<float>::denorm_min()}, {-0.0F, 3.4e38F}};
  const JobInfo got = round_trip(sent);
  EXPECT_EQ(got.job, 3);
  EXPECT_EQ(got.repeats, 11);
  EXPECT_EQ(got.spec.model, sent.spec.model);
  EXPECT_EQ(got.spec.checkpoint, sent.spec.checkpoint);
  EXPECT_EQ(got.spec.checkpoint_sha256, sent.spec.checkpoint_sha256);
  EXPECT_EQ(got.spec.weight_bits, 4);
  EXPECT_EQ(got.spec.activation_bits, 8);
  EXPECT_EQ(got.spec.mode, sent.spec.mode);
  EXPECT_EQ(got.spec.rounding, sent.spec.rounding);
  EXPECT_EQ(got.spec.sigma, sent.spec.sigma);
  EXPECT_EQ(got.spec.calibration_images, 32);
  EXPECT_EQ(got.spec.engine, sent.spec.engine);
  EXPECT_TRUE(got.spec.keep_predictions);
  ASSERT_EQ(got.ranges.size(), sent.ranges.size());
  for (std::size_t i = 0; i < sent.ranges.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got.ranges[i].min),
              std::bit_cast<std::uint32_t>(sent.ranges[i].min));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got.ranges[i].max),
              std::bit_cast<std::uint32_t>(sent.ranges[i].max));
  }
}

TEST(MessagesTest, APreparationComesBackAsItWas) {
  Prepared sent{9, {}};
  sent.preparation.ranges = {{0, 1.5F}};
  const quant::StageErrors errors{{1.25, 2.5, 3.75}, quant::SquantErrors{1.5, 0.5, 0.75}, {}};
  sent.preparation.layers = {
      {"conv1", {64, 3, 49}, 0.25, errors, {-1, 2}, quant::Saturation{0.125, 0.0625}, 1e7, "int8"},
      {"conv2", {8, 64, 9}, 0, {}, {}, {}, 0, "float"}};
  sent.preparation.quantize_ms = 1.25;
  sent.preparation.quantize_device = "cuda, cpu";
  sent.preparation.calibrate_ms = 2.5;
  sent.preparation.num_weights = std::int64_t{1} << 40;
  sent.preparation.engine = "integer";
  sent.preparation.exact = true;
  const Prepared got = round_trip(sent);
  EXPECT_EQ(got.task, 9);
  ASSERT_EQ(got.preparation.layers.size(), 2U);
  const eval::LayerFacts& layer = got.preparation.layers[0];
  EXPECT_EQ(layer.name, "conv1");
  EXPECT_EQ(layer.shape.out, 64);
  EXPECT_EQ(layer.shape.kernel, 49);
  ASSERT_TRUE(layer.errors);
  EXPECT_EQ(layer.errors->e.squared, 1.25);
  EXPECT_EQ(layer.errors->e.max_kernel, 2.5);
  EXPECT_EQ(layer.errors->e.max_channel, 3.75);
  ASSERT_TRUE(layer.errors->k);
  EXPECT_EQ(layer.errors->k->max_channel, 0.75);
  EXPECT_FALSE(layer.errors->c);
  ASSERT_TRUE(layer.saturation);
  EXPECT_EQ(layer.saturation->low, 0.125);
  EXPECT_EQ(layer.saturation->high, 0.0625);
  EXPECT_FALSE(got.preparation.layers[1].errors);
  EXPECT_FALSE(got.preparation.layers[1].saturation);
  EXPECT_EQ(layer.input_range.min, -1);
  EXPECT_EQ(layer.sum_bound, 1e7);
  EXPECT_EQ(layer.kernel, "int8");
  EXPECT_EQ(got.preparation.num_weights, std::int64_t{1} << 40);
  EXPECT_EQ(got.preparation.engine, "integer");
  EXPECT_TRUE(got.preparation.exact);
}

TEST(MessagesTest, CountsAndDigestsOfATileComeBackAsTheyWere) {
  TileAnswer sent{5, {}, "tail"};
  sent.tile.load_ms = 3.5;
  sent.tile.broken = {"a.jpg: truncated"};
  sent.tile.results.resize(2);
  sent.tile.results[0].counts = {250, 200, 240, 1, true, {~std::uint64_t{0}, 1}, 17.5, {}, {}};
  sent.tile.results[0].counts.outcomes = std::string(249, '1') + 'x';
  sent.tile.results[0].counts.predictions = {999, 0, -1};
  sent.tile.results[1].error = "out of memory";
  const TileAnswer got = round_trip(sent);
  EXPECT_EQ(got.task, 5);
  EXPECT_EQ(got.log_tail, "tail");
  EXPECT_EQ(got.tile.broken, sent.tile.broken);
  ASSERT_EQ(got.tile.results.size(), 2U);
  EXPECT_EQ(got.tile.results[0].counts.num_top5, 240);
  EXPECT_TRUE(got.tile.results[0].counts.has_digest);
  EXPECT_EQ(got.tile.results[0].counts.digest, sent.tile.results[0].counts.digest);
  EXPECT_EQ(got.tile.results[0].counts.outcomes, sent.tile.results[0].counts.outcomes);
  EXPECT_EQ(got.tile.results[0].counts.predictions, (std::vector<std::int32_t>{999, 0, -1}));
  EXPECT_TRUE(got.tile.results[1].counts.predictions.empty());
  EXPECT_EQ(got.tile.results[1].error, "out of memory");
}

TEST(MessagesTest, TasksAndTheRestComeBackAsTheyWere) {
  EXPECT_EQ(round_trip(Beat{77}).task, 77);
  EXPECT_EQ(round_trip(Beat{77, 3}).jobs_done, 3);
  const TaskError error = round_trip(TaskError{1, "why", "tail", FailureKind::kDied});
  EXPECT_EQ(error.reason, "why");
  EXPECT_EQ(error.kind, FailureKind::kDied);
  EXPECT_EQ(round_trip(PrepareTask{4, 2}).job, 2);
  const TileTask tile = round_trip(TileTask{8, 1, 500, 250, {3, 1, 2}});
  EXPECT_EQ(tile.first, 500);
  EXPECT_EQ(tile.jobs, (std::vector<int>{3, 1, 2}));
  EXPECT_EQ(round_trip(DatasetInfo{2, {"idx", "i", "l", "c"}}).spec.labels, "l");
  EXPECT_EQ(round_trip(DatasetInfo{2, {"idx", "i", "l", "c", "files"}}).spec.order, "files");
  EXPECT_TRUE(round_trip(Leave{true, "done"}).abort_follows);
  round_trip(Ack{});
  round_trip(Farewell{});
}

TEST(MessagesTest, BytesOfNobodyAreRefused) {
  EXPECT_THROW(decode({}), std::invalid_argument);
  const Bytes good = encode(TileTask{8, 1, 500, 250, {3, 1, 2}});
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(decode(std::span(good).first(size)), std::invalid_argument) << size;
  }
  std::mt19937 random(1);
  for (int trial = 0; trial < 20000; ++trial) {
    Bytes bytes = good;
    for (int change = 0; change < 2; ++change)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    try {
      decode(bytes);  // may be another valid message
    } catch (const std::invalid_argument&) {
    }
  }
}

TEST(MessagesTest, WhatIsSaidAboutFilesComesBackAsItWas) {
  DatasetInfo dataset{3, {"image_pack", "/cache/x", "labels", "none", "files", "ab12"}};
  EXPECT_EQ(round_trip(dataset).spec.sha256, "ab12");
  EXPECT_EQ(round_trip(dataset).spec.order, "files");
  EXPECT_EQ(round_trip(dataset).spec.decoder, "libjpeg");
  dataset.spec.decoder = "nvjpeg";
  dataset.spec.decoder_version = "13.3.2";
  EXPECT_EQ(round_trip(dataset).spec.decoder, "nvjpeg");
  EXPECT_EQ(round_trip(dataset).spec.decoder_version, "13.3.2");

  const PackTask packing =
      round_trip(PackTask{5, dataset.spec, 50000, {3, 224, 299}, "/home/a b/.cache"});
  EXPECT_EQ(packing.task, 5);
  EXPECT_EQ(packing.dataset.images, "/cache/x");
  EXPECT_EQ(packing.count, 50000);
  EXPECT_EQ(packing.shape, (eval::Shape{3, 224, 299}));
  EXPECT_EQ(packing.folder, "/home/a b/.cache");
  const Packed packed = round_trip(Packed{5, {"/p", "ff", std::int64_t{1} << 40, {"x: broken"}}});
  EXPECT_EQ(packed.pack.path, "/p");
  EXPECT_EQ(packed.pack.sha256, "ff");
  EXPECT_EQ(packed.pack.size_bytes, std::int64_t{1} << 40);
  EXPECT_EQ(packed.pack.broken, std::vector<std::string>{"x: broken"});

  EXPECT_EQ(round_trip(WhichFiles{{{"/a", "aa"}, {"/b", "bb"}}}).files.at(1).sha256, "bb");
  EXPECT_EQ(round_trip(FilesLacking{{"aa"}}).sha256, std::vector<std::string>{"aa"});
  BroadcastTask sent{-1, {}, {{"/a", "aa"}}, "/cache"};
  sent.group.rank = 1;
  sent.group.root = 2;
  sent.group.hosts = {"n0", "n1", "n2"};
  sent.group.names = {1, 4, 9};
  sent.group.device = 3;
  for (std::size_t i = 0; i < sent.group.id.size(); ++i)
    sent.group.id[i] = static_cast<std::uint8_t>(2 * i);
  sent.group.deadline_s = 0.1;
  const BroadcastTask task = round_trip(sent);
  EXPECT_EQ(task.task, -1);
  EXPECT_EQ(task.group.rank, 1);
  EXPECT_EQ(task.group.root, 2);
  EXPECT_EQ(task.group.hosts, sent.group.hosts);
  EXPECT_EQ(task.group.names, sent.group.names);
  EXPECT_EQ(task.group.device, 3);
  EXPECT_EQ(task.group.id, sent.group.id);
  EXPECT_EQ(task.group.deadline_s, 0.1);
  EXPECT_EQ(task.files.at(0).path, "/a");
  EXPECT_EQ(task.cache, "/cache");
  const BroadcastDone done =
      round_trip(BroadcastDone{-1, {{"aa", 4, "n1", 12, 0.5, "/cache/aa", "why"}}});
  const Delivery& one = done.deliveries.at(0);
  EXPECT_EQ(one.sha256, "aa");
  EXPECT_EQ(one.rank, 4);
  EXPECT_EQ(one.host, "n1");
  EXPECT_EQ(one.bytes, 12);
  EXPECT_EQ(one.seconds, 0.5);
  EXPECT_EQ(one.path, "/cache/aa");
  EXPECT_EQ(one.error, "why");
}

}  // namespace
}  // namespace squant::runner
