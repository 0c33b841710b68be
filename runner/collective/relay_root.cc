#include "runner/collective/relay_root.h"

#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace squant::runner {
namespace {

// A peer's own deadline comes first, and its reason is the better one.
constexpr double kDeadlineMargin = 1.1;

}  // namespace

RelayRoot::RelayRoot(int rank, std::string host, std::string place, RelayOptions options)
    : rank_(rank), host_(std::move(host)), place_(std::move(place)), options_(options) {}

void RelayRoot::offer(const SharedFile& file, std::int64_t size) {
  File& entry = files_[file.sha256];
  entry.file = file;
  entry.size = size;
}

void RelayRoot::receive(int from, const Frame& frame, double now) {
  now_ = now;
  std::visit([&](const auto& one) { on(from, one); }, frame);
}

void RelayRoot::lost(int rank, double now) {
  now_ = now;
  for (auto& [sha256, file] : files_) {
    const auto found = file.peers.find(rank);
    if (found == file.peers.end() || found->second.state == State::kGone) continue;
    const bool had_it = found->second.state == State::kHas;
    const std::string name = rank_name(rank, found->second.host);
    if (!had_it) report(file, rank, 0, name + " was lost before it had the file");
    gone(file, rank, name + " was lost");
  }
}

void RelayRoot::tick(double now) {
  now_ = now;
  for (auto& [sha256, file] : files_) {
    std::vector<int> late;
    for (const auto& [rank, peer] : file.peers) {
      const bool waits = peer.state == State::kFetching || peer.state == State::kNearby;
      if (waits && now - peer.began > options_.deadline_s * kDeadlineMargin) late.push_back(rank);
    }
    for (const int rank : late) {
      const std::string name = rank_name(rank, file.peers.at(rank).host);
      const std::string why = name + " has neither got it nor said why within " +
                              std::to_string(static_cast<int>(options_.deadline_s)) + " s";
      report(file, rank, 0, why);
      gone(file, rank, why);
    }
  }
}

std::vector<Outgoing> RelayRoot::take_outgoing() { return std::exchange(outgoing_, {}); }
std::vector<Delivery> RelayRoot::take_deliveries() { return std::exchange(deliveries_, {}); }

// --- frames

void RelayRoot::on(int from, const FileWanted& frame) {
  File* file = find(frame.sha256);
  if (file == nullptr) {
    send(from, FileRefused{frame.sha256, "the root, " + rank_name(rank_, host_) +
                                             ", has no file of that SHA-256"});
    return;
  }
  if (const auto before = file->peers.find(from);
      before != file->peers.end() &&
      (before->second.state == State::kFetching || before->second.state == State::kHas)) {
    gone(*file, from, "it asked anew");  // it is another process, or has lost what it had
  }
  Peer& peer = file->peers[from] = Peer{};
  peer.host = frame.host;
  peer.place = frame.place;
  peer.began = now_;
  if (!peer.place.empty()) {
    bool arriving = false;
    bool there = peer.place == place_;
    for (const auto& [rank, other] : file->peers) {
      if (rank == from || other.place != peer.place) continue;
      arriving = arriving || other.state == State::kFetching;
      there = there || other.state == State::kHas;
    }
    if (there || arriving) peer.state = State::kNearby;
    if (there) send(from, FileNearby{frame.sha256});
    if (there || arriving) return;
  }
  assign(*file, from);
}

void RelayRoot::on(int from, const SourceFailed& frame) {
  File* file = find(frame.sha256);
  if (file == nullptr || !file->peers.contains(from)) return;
  Peer& peer = file->peers.at(from);
  if (peer.state == State::kGone) {  // it was taken for lost while it received, and is back
    peer = Peer{
        .host = peer.host, .place = peer.place, .began = now_, .failed = {}, .last_problem = ""};
    return assign(*file, from);
  }
  // A source that it was taken from meanwhile does not count against it.
  if (peer.state != State::kFetching || peer.source != frame.source) return;
  peer.failed.insert(frame.source);
  peer.whole_only = peer.whole_only || frame.damaged;
  peer.last_problem = frame.why;
  ++peer.num_failed;
  assign(*file, from);
}

void RelayRoot::on(int from, const FileArrived& frame) {
  File* file = find(frame.sha256);
  if (file == nullptr || !file->peers.contains(from)) return;
  Peer& peer = file->peers.at(from);
  if (peer.state == State::kGone || peer.state == State::kHas) return;
  peer.source = -1;
  // Who found it at its place does not serve: it may have read the path of the plan.
  peer.state = frame.bytes > 0 || file->size == 0 ? State::kHas : State::kGone;
  report(*file, from, frame.bytes, "");
  if (peer.state == State::kHas) wake_place(*file, peer.place);
}

void RelayRoot::on(int from, const FileLost& frame) {
  File* file = find(frame.sha256);
  if (file == nullptr || !file->peers.contains(from)) return;
  const Peer& peer = file->peers.at(from);
  if (peer.state == State::kGone) return;
  report(*file, from, 0, rank_name(from, peer.host) + ": " + frame.why);
  gone(*file, from, rank_name(from, peer.host) + " gave up: " + frame.why);
}

template <typename Other>
void RelayRoot::on(int, const Other&) {
  throw std::logic_error("the root received a frame that is meant for a peer");
}

// --- choices

void RelayRoot::assign(File& file, int rank) {
  Peer& peer = file.peers.at(rank);
  peer.state = State::kFetching;
  peer.source = -1;
  const int source = peer.num_failed < options_.max_sources ? choose_source(file, rank) : -1;
  if (source < 0) {
    const std::string why = "no source is left after " + std::to_string(peer.num_failed) +
                            " failed; the last: " + peer.last_problem;
    send(rank, FileRefused{file.file.sha256, why});  // its FileLost ends the matter
    return;
  }
  peer.source = source;
  const std::string& host = source == rank_ ? host_ : file.peers.at(source).host;
  send(rank, FileSource{file.file.sha256, file.size, source, host});
}

// The nearest to the root that has a place free, of these the least busy; where none has, the least
// busy. Never one that itself waits for `rank`.
int RelayRoot::choose_source(const File& file, int rank) const {
  const Peer& peer = file.peers.at(rank);
  std::map<int, int> readers;  // by source
  for (const auto& [other, one] : file.peers) readers[one.source] += one.state == State::kFetching;
  using Rating = std::tuple<bool, int, int, int>;  // overloaded, hops or load, load, rank
  std::optional<Rating> best;
  const auto consider = [&](int source, int hops) {
    const int load = readers[source];
    const bool overloaded = load >= options_.fan_out;
    const Rating rating{overloaded, overloaded ? load : hops, load, source};
    if (!best || rating < *best) best = rating;
  };
  if (!peer.failed.contains(rank_)) consider(rank_, 0);
  for (const auto& [source, other] : file.peers) {
    if (source == rank || peer.failed.contains(source)) continue;
    const bool arriving = other.state == State::kFetching && other.source >= 0;
    if (other.state != State::kHas && (!arriving || peer.whole_only)) continue;
    const int hops = depth(file, source, rank);
    if (hops >= 0) consider(source, hops);
  }
  return best ? std::get<3>(*best) : -1;
}

int RelayRoot::depth(const File& file, int rank, int avoid) const {
  int hops = 0;
  while (rank != rank_) {
    const auto found = file.peers.find(rank);
    if (rank == avoid || found == file.peers.end()) return -1;
    ++hops;
    if (found->second.state == State::kHas) return hops;
    rank = found->second.source;
  }
  return hops;
}

void RelayRoot::gone(File& file, int rank, const std::string& why) {
  Peer& peer = file.peers.at(rank);
  const std::string place = peer.place;
  peer.state = State::kGone;
  peer.source = -1;
  std::vector<int> orphans;
  for (auto& [other, one] : file.peers) {
    if (one.state != State::kFetching || one.source != rank) continue;
    one.failed.insert(rank);
    one.last_problem = why;
    one.source = -1;
    orphans.push_back(other);
  }
  for (const int orphan : orphans) assign(file, orphan);
  // Another of its place gets the file for the rest.
  for (auto& [other, one] : file.peers) {
    if (one.state != State::kNearby || one.place != place) continue;
    assign(file, other);
    return;
  }
}

void RelayRoot::wake_place(File& file, const std::string& place) {
  if (place.empty()) return;
  for (const auto& [rank, peer] : file.peers) {
    if (peer.state == State::kNearby && peer.place == place) {
      send(rank, FileNearby{file.file.sha256});
    }
  }
}

void RelayRoot::report(const File& file, int rank, std::int64_t bytes, const std::string& error) {
  const Peer& peer = file.peers.at(rank);
  deliveries_.push_back({file.file.sha256, rank, peer.host, bytes, now_ - peer.began, "", error});
}

RelayRoot::File* RelayRoot::find(const std::string& sha256) {
  const auto found = files_.find(sha256);
  return found == files_.end() ? nullptr : &found->second;
}

}  // namespace squant::runner
