#include "runner/collective/gpu_broadcast.h"

#include <algorithm>
#include <exception>
#include <tuple>
#include <utility>

namespace squant::runner {
namespace {

constexpr double kSlowestBytesPerSecond = 50e6;  // of a network that is worth a broadcast

}  // namespace

void GpuBroadcast::offer(const SharedFile& file, std::int64_t size_bytes) {
  files_.push_back(file);
  largest_bytes_ = std::max(largest_bytes_, size_bytes);
}

void GpuBroadcast::begin(double now) {
  begun_ = true;
  since_ = now;
}

void GpuBroadcast::joined(const MemberFacts& worker) { workers_.emplace(worker.rank, worker); }

void GpuBroadcast::lacks(int worker, const std::vector<std::string>& sha256) {
  for (Member& member : members_) {
    if (member.rank == worker) member.lacking.emplace(sha256.begin(), sha256.end());
  }
}

void GpuBroadcast::done(int worker, double now) {
  for (Member& member : members_) {
    if (member.rank != worker) continue;
    member.done = true;
    if (!first_done_) first_done_ = now;
  }
}

void GpuBroadcast::lost(int worker) {
  workers_.erase(worker);
  if (state_ == State::kAsking)
    std::erase_if(members_, [&](const Member& member) { return member.rank == worker; });
  for (Member& member : members_) member.done = member.done || member.rank == worker;
}

std::vector<GpuBroadcast::Order> GpuBroadcast::step(double now) {
  if (!begun_) return {};
  switch (state_) {
    case State::kGathering:
      return gather(now);
    case State::kAsking:
      return ask(now);
    case State::kSending:
      watch(now);
      return {};
    case State::kOver:
      break;
  }
  return {};
}

std::vector<MemberFacts> GpuBroadcast::workers() const {
  std::vector<MemberFacts> workers;
  for (const auto& [rank, facts] : workers_) workers.push_back(facts);
  return workers;
}

// One worker that cannot take part decides for MPI at once; for NCCL all of them must be known.
std::vector<GpuBroadcast::Order> GpuBroadcast::gather(double now) {
  if (workers_.empty()) return {};
  const CollectiveChoice choice = choose_collective(workers(), options_.asked, options_.no_nccl);
  if (choice.way != Broadcast::kNccl || files_.empty()) {
    if (choice.way != Broadcast::kNccl) story_ = choice.why;
    state_ = State::kOver;
    return {};
  }
  const bool complete = static_cast<int>(workers_.size()) >= options_.num_workers;
  if (!complete && now - since_ < options_.patience_s) return {};
  std::set<std::string> hosts;
  std::vector<Order> orders;
  for (const auto& [rank, facts] : workers_) {
    if (!hosts.insert(facts.host).second) continue;
    members_.push_back({rank, std::nullopt, false});
    orders.push_back({rank, WhichFiles{files_}});
  }
  story_ = choice.why;
  since_ = now;
  state_ = State::kAsking;
  return orders;
}

std::vector<GpuBroadcast::Order> GpuBroadcast::ask(double now) {
  if (now - since_ >= options_.patience_s)
    std::erase_if(members_, [](const Member& member) { return !member.lacking; });
  for (const Member& member : members_) {
    if (!member.lacking) return {};
  }
  return send(now);
}

std::vector<GpuBroadcast::Order> GpuBroadcast::send(double now) {
  since_ = now;
  state_ = State::kOver;
  const bool worth_it = members_.size() > 1 && !needed().empty();
  if (!worth_it) {
    story_.clear();
    return {};
  }
  try {
    const NcclId id = options_.make_id();
    state_ = State::kSending;
    return orders(id);
  } catch (const std::exception& error) {
    story_ = std::string("over MPI: ") + error.what();
    return {};
  }
}

std::vector<GpuBroadcast::Order> GpuBroadcast::orders(const NcclId& id) {
  BroadcastTask task{kBroadcastTask, {}, needed(), ""};
  task.group.id = id;
  task.group.root = static_cast<int>(choose_root());
  task.group.deadline_s = deadline_s();
  for (const Member& member : members_) {
    task.group.hosts.push_back(workers_.at(member.rank).host);
    task.group.names.push_back(member.rank);
  }
  std::vector<Order> orders;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    task.group.rank = static_cast<int>(i);
    orders.push_back({members_[i].rank, task});
  }
  return orders;
}

// Who has most of the files already; what it lacks it gets over MPI first, for which the
// coordinator's own host is the best place.
std::size_t GpuBroadcast::choose_root() const {
  const auto cost = [&](const Member& member) {
    return std::pair(member.lacking->size(), workers_.at(member.rank).host != options_.host);
  };
  const auto best =
      std::min_element(members_.begin(), members_.end(),
                       [&](const Member& a, const Member& b) { return cost(a) < cost(b); });
  return static_cast<std::size_t>(best - members_.begin());
}

// What any host lacks.
std::vector<SharedFile> GpuBroadcast::needed() const {
  std::vector<SharedFile> needed;
  for (const SharedFile& file : files_) {
    if (std::any_of(members_.begin(), members_.end(),
                    [&](const Member& member) { return member.lacking->contains(file.sha256); })) {
      needed.push_back(file);
    }
  }
  return needed;
}

double GpuBroadcast::deadline_s() const {
  return options_.deadline_s + static_cast<double>(largest_bytes_) / kSlowestBytesPerSecond;
}

// A member that never answers must not keep the others of its host from work: where it died, the
// rest of the group has noticed within the deadline.
void GpuBroadcast::watch(double now) {
  const bool all_done =
      std::all_of(members_.begin(), members_.end(), [](const Member& one) { return one.done; });
  const double rounds = static_cast<double>(files_.size()) + 1;
  const bool overdue = (first_done_ && now - *first_done_ > deadline_s() + options_.patience_s) ||
                       now - since_ > rounds * deadline_s() + options_.patience_s;
  if (all_done || overdue) state_ = State::kOver;
}

const GpuBroadcast::Member* GpuBroadcast::member_of(int worker) const {
  const auto facts = workers_.find(worker);
  if (facts == workers_.end()) return nullptr;
  for (const Member& member : members_) {
    const auto other = workers_.find(member.rank);
    if (other != workers_.end() && other->second.host == facts->second.host) return &member;
  }
  return nullptr;
}

bool GpuBroadcast::may_work(int worker) const {
  if (state_ == State::kOver) return true;
  if (state_ != State::kSending) return false;
  const Member* member = member_of(worker);
  return member == nullptr || member->done;
}

}  // namespace squant::runner
