#include "runner/collective/relay_peer.h"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

namespace squant::runner {

RelayPeer::RelayPeer(Self self, FileStore& store, RelayOptions options)
    : self_(std::move(self)), store_(store), options_(options) {}

void RelayPeer::want(const SharedFile& file, double now) {
  now_ = now;
  if (arrivals_.contains(file.sha256)) return;
  Arrival arrival;
  arrival.file = file;
  arrival.began = now;
  if (const std::optional<std::string> path = store_.find(file.sha256)) {
    conclude(arrival, *path, 0);
    return;
  }
  ask(arrival);
  arrivals_[file.sha256] = std::move(arrival);
}

void RelayPeer::receive(int from, const Frame& frame, double now) {
  now_ = now;
  std::visit([&](const auto& one) { on(from, one); }, frame);
}

void RelayPeer::tick(double now) {
  now_ = now;
  std::vector<std::string> late;
  for (auto& [sha256, arrival] : arrivals_) {
    if (now - arrival.began > options_.deadline_s) {
      late.push_back(sha256);
    } else if (arrival.source >= 0 && now - arrival.heard > options_.silence_s) {
      source_failed(arrival,
                    "nothing was heard of " + rank_name(arrival.source, arrival.source_host) +
                        " for " + std::to_string(static_cast<int>(options_.silence_s)) + " s",
                    false);
    }
  }
  for (const std::string& sha256 : late) {
    Arrival& arrival = arrivals_.at(sha256);
    const std::string from = arrival.source < 0
                                 ? rank_name(self_.root, "") + " (the root) named no source"
                                 : rank_name(arrival.source, arrival.source_host) + " had sent " +
                                       std::to_string(arrival.received) + " of " +
                                       std::to_string(arrival.size) + " bytes";
    give_up(arrival, "it did not arrive within " +
                         std::to_string(static_cast<int>(options_.deadline_s)) + " s: " + from);
  }
  if (now - last_sign_ < options_.silence_s / 4) return;
  last_sign_ = now;
  for (const auto& [sha256, pulls] : pulls_) {
    std::set<int> waiting;
    for (const Pull& one : pulls) waiting.insert(one.to);
    for (const int to : waiting) send(to, StillWaiting{sha256});
  }
}

std::vector<Outgoing> RelayPeer::take_outgoing() { return std::exchange(outgoing_, {}); }
std::vector<Delivery> RelayPeer::take_deliveries() { return std::exchange(deliveries_, {}); }

// --- receiving

void RelayPeer::on(int, const FileSource& frame) {
  Arrival* arrival = find(frame.sha256);
  if (arrival == nullptr) return;
  arrival->source = frame.source;
  arrival->source_host = frame.host;
  arrival->heard = now_;
  try {
    if (arrival->size < 0) {
      arrival->size = frame.size;
      store_.create(frame.sha256, frame.size);
    }
    arrival->requested = arrival->received;
    if (arrival->received == arrival->size) {
      finish(*arrival);
    } else {
      pull(*arrival);
    }
  } catch (const std::runtime_error& error) {
    give_up(*arrival, error.what());
  }
}

void RelayPeer::on(int, const FileNearby& frame) {
  Arrival* arrival = find(frame.sha256);
  if (arrival == nullptr) return;
  std::optional<std::string> path = store_.find(frame.sha256);
  if (!path && store_.can_read(arrival->file.path)) path = arrival->file.path;
  if (path) {
    send(self_.root, FileArrived{frame.sha256, 0});
    conclude(*arrival, *path, 0);
    arrivals_.erase(frame.sha256);
  } else {  // its folder is not the one of the rank that got the file, whatever its name
    arrival->alone = true;
    ask(*arrival);
  }
}

void RelayPeer::on(int, const FileRefused& frame) {
  if (Arrival* arrival = find(frame.sha256)) give_up(*arrival, frame.why);
}

void RelayPeer::on(int from, const Piece& frame) {
  Arrival* arrival = find(frame.sha256);
  // What an earlier source still had on its way is asked for again, of the present one.
  if (arrival == nullptr || from != arrival->source || frame.offset != arrival->received) return;
  const auto count = static_cast<std::int64_t>(frame.bytes.size());
  arrival->heard = now_;
  if (count == 0 || count > arrival->size - arrival->received) {
    source_failed(*arrival,
                  rank_name(from, arrival->source_host) + " sent a piece of " +
                      std::to_string(count) + " bytes where " +
                      std::to_string(arrival->size - arrival->received) + " are missing",
                  true);
    return;
  }
  try {
    store_.append(frame.sha256, frame.bytes);
    arrival->received += count;
    if (arrival->received == arrival->size) {
      finish(*arrival);
    } else {
      arrival->requested = std::max(arrival->requested, arrival->received);
      pull(*arrival);
      serve(frame.sha256);
    }
  } catch (const std::runtime_error& error) {
    give_up(*arrival, error.what());
  }
}

void RelayPeer::on(int from, const StillWaiting& frame) {
  Arrival* arrival = find(frame.sha256);
  if (arrival != nullptr && from == arrival->source) arrival->heard = now_;
}

void RelayPeer::on(int from, const NotHere& frame) {
  Arrival* arrival = find(frame.sha256);
  if (arrival == nullptr || from != arrival->source) return;
  source_failed(*arrival, rank_name(from, arrival->source_host) + ": " + frame.why, false);
}

template <typename Other>
void RelayPeer::on(int, const Other&) {
  throw std::logic_error("a peer received a frame that is meant for the root");
}

void RelayPeer::ask(const Arrival& arrival) {
  send(self_.root,
       FileWanted{arrival.file.sha256, self_.host, arrival.alone ? std::string() : self_.place});
}

void RelayPeer::pull(Arrival& arrival) {
  const std::int64_t end =
      std::min(arrival.size, arrival.received + options_.window * options_.piece_bytes);
  for (; arrival.requested < end; arrival.requested += options_.piece_bytes) {
    send(arrival.source, PullPiece{arrival.file.sha256, arrival.requested});
  }
}

void RelayPeer::finish(Arrival& arrival) {
  const std::string sha256 = arrival.file.sha256;
  const std::optional<std::string> path = store_.finish(sha256);
  if (!path) {
    source_failed(arrival,
                  "what " + rank_name(arrival.source, arrival.source_host) +
                      " sent does not have the SHA-256 " + sha256,
                  true);
    return;
  }
  send(self_.root, FileArrived{sha256, arrival.size});
  conclude(arrival, *path, arrival.size);
  arrivals_.erase(sha256);
  serve(sha256);
}

void RelayPeer::source_failed(Arrival& arrival, const std::string& why, bool damaged) {
  const std::string& sha256 = arrival.file.sha256;
  send(self_.root, SourceFailed{sha256, arrival.source, why, damaged});
  arrival.source = -1;
  if (!damaged) return;
  // Whoever pulled from here has the same damage, and begins anew as well.
  refuse(sha256, "it has to begin anew: " + why);
  store_.abandon(sha256);
  arrival.size = -1;
  arrival.received = arrival.requested = 0;
}

void RelayPeer::give_up(Arrival& arrival, const std::string& why) {
  const std::string sha256 = arrival.file.sha256;
  send(self_.root, FileLost{sha256, why});
  deliveries_.push_back({sha256, self_.rank, self_.host, 0, now_ - arrival.began, "",
                         arrival.file.path + " was not received by " +
                             rank_name(self_.rank, self_.host) + ": " + why});
  store_.abandon(sha256);
  arrivals_.erase(sha256);
  refuse(sha256, "it gave up: " + why);
}

void RelayPeer::conclude(const Arrival& arrival, const std::string& path, std::int64_t bytes) {
  deliveries_.push_back(
      {arrival.file.sha256, self_.rank, self_.host, bytes, now_ - arrival.began, path, ""});
}

RelayPeer::Arrival* RelayPeer::find(const std::string& sha256) {
  const auto found = arrivals_.find(sha256);
  return found == arrivals_.end() ? nullptr : &found->second;
}

// --- serving

void RelayPeer::on(int from, const PullPiece& frame) {
  pulls_[frame.sha256].push_back({from, frame.offset});
  serve(frame.sha256);
}

void RelayPeer::serve(const std::string& sha256) {
  const auto found = pulls_.find(sha256);
  if (found == pulls_.end()) return;
  try {
    const std::optional<std::int64_t> available = store_.available(sha256);
    const bool arriving = arrivals_.contains(sha256);
    if (!available && !arriving) return refuse(sha256, "it does not have the file");
    const std::int64_t there = available.value_or(0);
    const Arrival* arrival = find(sha256);
    std::vector<Pull> waiting;
    for (const Pull& one : found->second) {
      // A whole piece, or the rest of the file: no piece shrinks because it is asked for early.
      const bool ready = arrival == nullptr || one.offset + options_.piece_bytes <= there;
      if (ready && (one.offset < 0 || one.offset >= there)) {
        send(one.to, NotHere{sha256, "the file ends at " + std::to_string(there) + " there"});
      } else if (ready) {
        send(one.to,
             Piece{sha256, one.offset, store_.read(sha256, one.offset, options_.piece_bytes)});
      } else {
        waiting.push_back(one);
      }
    }
    found->second = std::move(waiting);
    if (found->second.empty()) pulls_.erase(found);
  } catch (const std::runtime_error& error) {
    refuse(sha256, error.what());
  }
}

void RelayPeer::refuse(const std::string& sha256, const std::string& why) {
  const auto found = pulls_.find(sha256);
  if (found == pulls_.end()) return;
  std::set<int> waiting;
  for (const Pull& one : found->second) waiting.insert(one.to);
  pulls_.erase(found);
  for (const int to : waiting) send(to, NotHere{sha256, why});
}

}  // namespace squant::runner
