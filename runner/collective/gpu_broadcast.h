// The coordinator's part in broadcasts over NCCL. Before workers that own GPUs begin with their
// work, the files that their hosts lack are sent from one of them to one of every other host, in
// one go. What does not arrive is fetched over MPI later, as if nothing had been tried.
//
// Pure state machine: no clock, no MPI (`now` in seconds, any origin).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runner/collective/choose.h"
#include "runner/messages.h"

namespace squant::runner {

// BroadcastTask::task: no task of the scheduler's.
inline constexpr std::int64_t kBroadcastTask = -1;

struct GpuBroadcastOptions {
  Broadcast asked = Broadcast::kAuto;
  int num_workers = 1;     // that were started
  std::string host;        // the coordinator's
  std::string no_nccl;     // why this program has no NCCL; empty: it has
  double patience_s = 30;  // for workers that say nothing
  double deadline_s = 120;
  std::function<NcclId()> make_id;  // throws std::runtime_error
};

class GpuBroadcast {
 public:
  explicit GpuBroadcast(GpuBroadcastOptions options) : options_(std::move(options)) {}

  void offer(const SharedFile& file, std::int64_t size_bytes);
  // No more files come.
  void begin(double now);
  void joined(const MemberFacts& worker);
  void lacks(int worker, const std::vector<std::string>& sha256);  // answers WhichFiles
  void done(int worker, double now);  // with its part of the broadcast, however it went
  void lost(int worker);

  struct Order {
    int worker = 0;
    Message message;  // WhichFiles or BroadcastTask
  };
  // What to tell workers now. Throws std::invalid_argument where NCCL is asked for and cannot be.
  std::vector<Order> step(double now);

  // A worker gets no work before its host has what will be sent to it.
  bool may_work(int worker) const;
  // Which way was chosen and why, for the log; empty: NCCL, with nothing to send.
  const std::string& story() const { return story_; }

 private:
  enum class State : std::uint8_t { kGathering, kAsking, kSending, kOver };
  struct Member {  // the one of its host
    int rank = 0;
    std::optional<std::set<std::string>> lacking;  // none: it has not answered
    bool done = false;
  };

  std::vector<MemberFacts> workers() const;
  std::vector<Order> gather(double now);
  std::vector<Order> ask(double now);
  std::vector<Order> send(double now);
  std::vector<Order> orders(const NcclId& id);
  std::size_t choose_root() const;
  std::vector<SharedFile> needed() const;
  double deadline_s() const;
  void watch(double now);
  const Member* member_of(int worker) const;

  const GpuBroadcastOptions options_;
  State state_ = State::kGathering;
  bool begun_ = false;
  double since_ = 0;  // when the state began
  std::optional<double> first_done_;
  std::vector<SharedFile> files_;
  std::int64_t largest_bytes_ = 0;
  std::map<int, MemberFacts> workers_;
  std::vector<Member> members_;  // in the order of their ranks
  std::string story_;
};

}  // namespace squant::runner
