// What a worker and its child process say to each other, and what the child does with it.
#include "runner/child.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "runner/channel.h"
#include "runner/log_lines.h"
#include "runner/work_evaluator.h"

namespace squant::runner {
namespace {

using testing::ElementsAre;

std::pair<FileDescriptor, FileDescriptor> sockets() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

void put(const FileDescriptor& fd, std::string_view bytes) {
  ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

TEST(ChannelTest, MessagesArriveInOrderAlsoWhereTheSocketTakesThemInPieces) {
  auto [one, other] = sockets();
  Channel sender(std::move(one));
  Channel receiver(std::move(other));
  const std::string large(3 << 20, 'x');  // more than a socket holds
  sender.send(TaskError{1, large, ""});
  sender.send(Beat{2});
  std::optional<Message> first;
  while (!(first = receiver.receive())) sender.flush();
  EXPECT_EQ(std::get<TaskError>(*first).reason, large);
  std::optional<Message> second;
  while (!(second = receiver.receive())) sender.flush();
  EXPECT_EQ(std::get<Beat>(*second).task, 2);
  EXPECT_FALSE(receiver.receive());
  EXPECT_FALSE(receiver.closed());
}

TEST(ChannelTest, WhatWasSentBeforeTheOtherEndWentIsReceived) {
  auto [one, other] = sockets();
  Channel receiver(std::move(other));
  { Channel(std::move(one)).send(Beat{7}); }
  EXPECT_EQ(std::get<Beat>(*receiver.receive()).task, 7);
  EXPECT_FALSE(receiver.receive());
  EXPECT_TRUE(receiver.closed());
}

TEST(ChannelTest, NonsenseIsRefused) {
  for (const std::string_view nonsense :
       {std::string_view("\x04\0\0\0what", 8), std::string_view("\xff\xff\xff\xff", 4)}) {
    auto [one, other] = sockets();
    put(one, nonsense);
    Channel receiver(std::move(other));
    EXPECT_THROW(receiver.receive(), std::invalid_argument);
  }
}

TEST(LogLinesTest, LinesComeWholeAndALongOneIsCut) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  LogLines lines((FileDescriptor(ends[0])));
  const FileDescriptor in(ends[1]);
  EXPECT_TRUE(lines.read().empty());
  put(in, "one\ntw");
  EXPECT_THAT(lines.read(), ElementsAre("one"));
  put(in, "o\n\nend");
  EXPECT_THAT(lines.read(), ElementsAre("two", ""));
  EXPECT_EQ(lines.rest(), "end");
  put(in, std::string(5000, 'x'));
  ASSERT_EQ(lines.read().size(), 1U);
  EXPECT_FALSE(lines.rest().empty());
}

TEST(ChildTest, ItsCommandLineReadsBack) {
  const auto read = parse_child_arguments(child_arguments({"cpu", 3, 64, {0, 1, 5}}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->device, "cpu");
  EXPECT_EQ(read->num_threads, 3);
  EXPECT_EQ(read->batch_size, 64);
  EXPECT_EQ(read->cpus, (CpuSet{0, 1, 5}));
  EXPECT_FALSE(parse_child_arguments({"squant-sweep", "experiment.json"}));
  auto damaged = child_arguments({});
  damaged.pop_back();
  EXPECT_THROW(parse_child_arguments(damaged), std::invalid_argument);
  damaged = child_arguments({});
  damaged[3] = "many";
  EXPECT_THROW(parse_child_arguments(damaged), std::invalid_argument);
}

TEST(WorkEvaluatorTest, ErrorsOfMemoryAndOfLostDevicesAreTold) {
  // As glibc, LibTorch on a CPU and on a GPU, and cuDNN word them.
  for (const char* memory :
       {"std::bad_alloc",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 400 bytes. Error code 12 (Cannot allocate memory)",
        "CUDA out of memory. Tried to allocate 20.00 MiB", "CUDA error: out of memory",
        "CUDNN_STATUS_ALLOC_FAILED"}) {
    EXPECT_TRUE(tells_of_memory(memory)) << memory;
    EXPECT_FALSE(tells_of_lost_device(memory)) << memory;
  }
  EXPECT_TRUE(tells_of_lost_device("CUDA error: an illegal memory access was encountered"));
  EXPECT_TRUE(tells_of_lost_device(
      "eval/cuda/cuda_device.cc:88: cudaStreamSynchronize(stream()): cudaErrorIllegalAddress: "
      "an illegal memory access was encountered"));
  EXPECT_FALSE(tells_of_lost_device(
      "eval/cuda/device_memory.h:31: cudaMalloc(&memory, size): cudaErrorMemoryAllocation: out of "
      "memory"));
  EXPECT_TRUE(tells_of_lost_device("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"));
  EXPECT_FALSE(tells_of_lost_device("activation ranges must be finite"));
  EXPECT_FALSE(tells_of_memory("CUDA error: an illegal memory access was encountered"));
}

TEST(WorkEvaluatorTest, WhatTheWorkThrowsIsAResult) {
  WorkEvaluator evaluator({.num_threads = 1});
  PreparationWork work;
  work.job.model = "fmnist_resnet";
  work.job.checkpoint = "nowhere.safetensors";
  const WorkResult result = evaluator.run(work, {});
  ASSERT_TRUE(std::holds_alternative<WorkFailed>(result));
  EXPECT_THAT(std::get<WorkFailed>(result).reason, testing::HasSubstr("nowhere.safetensors"));
  EXPECT_EQ(std::get<WorkFailed>(result).kind, FailureKind::kError);
}

// Here there is no nvJPEG, or not this version: another worker may have it.
TEST(WorkEvaluatorTest, AMachineThatLacksTheDecoderIsToBlameAndNotTheJob) {
  WorkEvaluator evaluator({.num_threads = 1});
  TileWork work;
  work.dataset.format = "image_folder";
  work.dataset.images = SQUANT_TESTS_DATA_DIR "/images";
  work.dataset.decoder = eval::kNvjpeg;
  work.dataset.decoder_version = "12.0.99";
  work.count = 1;
  work.jobs.resize(1);
  work.jobs[0].job.model = "resnet18";
  const WorkResult result = evaluator.run(work, {});
  ASSERT_TRUE(std::holds_alternative<WorkFailed>(result));
  EXPECT_THAT(std::get<WorkFailed>(result).reason, testing::StartsWith("decoder nvjpeg: "));
  EXPECT_EQ(std::get<WorkFailed>(result).kind, FailureKind::kWorkerUnusable);
}

}  // namespace
}  // namespace squant::runner
