#include "runner/file_distribution.h"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <system_error>
#include <utility>

namespace squant::runner {

FileDistribution::FileDistribution(MpiCollective& mpi, GpuBroadcastOptions options, Send send)
    : mpi_(mpi), gpus_(std::move(options)), send_(std::move(send)) {}

void FileDistribution::offer(const SharedFile& file, const std::string& what, double now) {
  tally_.name(file.sha256, what);
  mpi_.begin(file, now);
  std::error_code error;
  const auto size = std::filesystem::file_size(file.path, error);
  if (!error) gpus_.offer(file, static_cast<std::int64_t>(size));
}

void FileDistribution::joined(int worker, const Hello& hello) {
  gpus_.joined({worker, hello.host, hello.device, hello.device_uuid});
}

void FileDistribution::lost(int worker, double now) {
  mpi_.lost(worker, now);
  gpus_.lost(worker);
}

void FileDistribution::receive_frame(const Envelope& envelope, double now) {
  say_way();
  mpi_.receive(envelope, now);
}

// A member tells of itself; the root of all, which they say better themselves.
void FileDistribution::receive(int worker, const BroadcastDone& message, double now) {
  for (const Delivery& one : message.deliveries) {
    if (one.rank == worker) note(one, "NCCL", now);
  }
  gpus_.done(worker, now);
}

void FileDistribution::receive(int worker, const TaskError& message, double now) {
  spdlog::warn("the broadcast over NCCL failed at rank {}: {}", worker, message.reason);
  gpus_.done(worker, now);
}

void FileDistribution::step(double now) {
  for (const Delivery& one : mpi_.step(now)) note(one, mpi_.name(), now);
  const std::vector<GpuBroadcast::Order> orders = gpus_.step(now);
  for (const GpuBroadcast::Order& order : orders) send_(order.worker, order.message);
  if (!orders.empty() && std::holds_alternative<BroadcastTask>(orders.front().message)) say_way();
}

void FileDistribution::say_way() {
  if (std::exchange(said_, true)) return;
  const std::string& story = gpus_.story();
  spdlog::info("files are broadcast {}",
               story.empty() ? "over MPI: to workers that came after the others" : story);
}

void FileDistribution::note(const Delivery& delivery, const char* way, double now) {
  tally_.add(delivery, way, now);
  if (!delivery.error.empty()) {
    spdlog::warn("file {}: {}", delivery.sha256, delivery.error);
  } else if (delivery.bytes > 0) {
    spdlog::info("{} has file {}: {} bytes in {:.2f} s over {}",
                 rank_name(delivery.rank, delivery.host), delivery.sha256, delivery.bytes,
                 delivery.seconds, way);
  }
}

}  // namespace squant::runner
