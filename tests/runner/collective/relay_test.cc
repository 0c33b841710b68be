// Hundreds of simulated nodes with every kind of fault, in simulated time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runner/collective/relay_peer.h"
#include "runner/collective/relay_root.h"

namespace squant::runner {
namespace {

using testing::HasSubstr;

constexpr const char* kFile = "feed";  // stands for its SHA-256
constexpr const char* kPath = "/models/resnet18.pth";

// A disk in memory; whether content is right is known without a digest.
class MemoryStore final : public FileStore {
 public:
  explicit MemoryStore(const Bytes& truth) : truth_(truth) {}

  std::optional<std::string> find(const std::string&) override {
    if (!place || !place->contains(kFile)) return std::nullopt;
    return "/cache/feed";
  }
  bool can_read(const std::string& path) override { return readable.contains(path); }
  void create(const std::string&, std::int64_t) override { draft = Bytes{}; }
  void append(const std::string&, std::span<const std::uint8_t> bytes) override {
    if (std::ssize(*draft) + std::ssize(bytes) > capacity) throw std::runtime_error("disk full");
    draft->insert(draft->end(), bytes.begin(), bytes.end());
  }
  std::optional<std::string> finish(const std::string&) override {
    const Bytes arrived = std::move(*std::exchange(draft, std::nullopt));
    if (arrived != truth_) return std::nullopt;
    whole = arrived;
    if (place) place->insert(kFile);
    return "/cache/feed";
  }
  void abandon(const std::string&) override { draft.reset(); }
  std::optional<std::int64_t> available(const std::string&) override {
    if (!whole && !draft) return std::nullopt;
    return std::ssize(whole ? *whole : *draft);
  }
  Bytes read(const std::string&, std::int64_t offset, std::int64_t count) override {
    if (broken) throw std::runtime_error("input/output error");
    const Bytes& from = whole ? *whole : *draft;
    const auto begin = from.begin() + offset;
    return {begin, begin + std::min(count, std::ssize(from) - offset)};
  }

  std::set<std::string> readable;
  std::shared_ptr<std::set<std::string>> place;  // what its folder has: shared with others
  std::int64_t capacity = std::int64_t{1} << 40;
  std::optional<Bytes> draft, whole;
  bool broken = false;

 private:
  const Bytes& truth_;
};

// Rank 0 is the root. A frame takes a millisecond, a piece of a file in addition 10 ms of its
// sender's time. Frames between two ranks arrive in order.
class Network {
 public:
  explicit Network(int num_peers, std::int64_t file_bytes = 20000, RelayOptions options = small())
      : options_(options) {
    std::mt19937 random(7);
    for (std::int64_t i = 0; i < file_bytes; ++i) {
      truth_.push_back(static_cast<std::uint8_t>(random()));
    }
    root_ = std::make_unique<RelayRoot>(0, "node0", "place0", options);
    root_->offer({kPath, kFile}, file_bytes);
    for (int rank = 0; rank <= num_peers; ++rank) add(rank, "place" + std::to_string(rank));
    stores_[0]->whole = truth_;
  }
  static RelayOptions small() {
    RelayOptions options;
    options.piece_bytes = 1000;
    options.silence_s = 1;
    options.deadline_s = 60;
    return options;
  }
  // Peers of one place share a folder if `shared`.
  void move(int rank, const std::string& place, bool shared) {
    add(rank, place);
    if (!shared) return;
    std::shared_ptr<std::set<std::string>>& folder = places_[place];
    if (!folder) folder = std::make_shared<std::set<std::string>>();
    stores_[rank]->place = folder;
  }

  void want(int rank) { want(std::vector<int>{rank}); }
  void want(const std::vector<int>& ranks) {
    for (const int rank : ranks) {
      peers_.at(rank)->want({kPath, kFile}, now_);
      collect();
    }
  }
  void want_all() {
    for (const auto& [rank, peer] : peers_) {
      if (rank != 0) want(rank);
    }
  }
  void kill(int rank) { dead_.insert(rank); }
  void wake(int rank) { dead_.erase(rank); }
  // As the coordinator's heartbeats do.
  void kill_and_notice(int rank, double after) {
    kill(rank);
    losses_.emplace_back(now_ + after, rank);
  }
  void lost(int rank) {
    root_->lost(rank, now_);
    collect();
  }
  std::function<void(int from, int to, Frame& frame)> tamper;

  // Until nothing happens any more, or `condition` holds.
  void run(double seconds = 1000, const std::function<bool()>& condition = {}) {
    const double end = now_ + seconds;
    double next_tick = now_;
    while (now_ < end && !(condition && condition())) {
      if (!events_.empty() && events_.top().when <= next_tick) {
        const Event event = events_.top();
        events_.pop();
        now_ = event.when;
        deliver(event);
      } else {
        if (events_.empty() && !waiting()) return;
        now_ = next_tick;
        next_tick += 0.25;
        for (const auto& [rank, peer] : peers_) {
          if (!dead_.contains(rank)) peer->tick(now_);
        }
        root_->tick(now_);
        std::erase_if(losses_, [&](const auto& loss) {
          if (loss.first > now_) return false;
          root_->lost(loss.second, now_);
          return true;
        });
      }
      collect();
    }
  }

  bool has(int rank) const { return results_.contains(rank) && results_.at(rank).error.empty(); }
  std::string error(int rank) const {
    return results_.contains(rank) ? results_.at(rank).error : "nothing was heard";
  }
  MemoryStore& store(int rank) { return *stores_.at(rank); }
  double now() const { return now_; }
  std::int64_t sent_by(int rank) { return sent_[rank]; }
  std::int64_t received_by(int rank) { return received_[rank]; }
  const std::vector<Delivery>& heard_by_root() const { return heard_; }
  const std::map<int, Delivery>& results() const { return results_; }

 private:
  struct Event {
    double when;
    std::int64_t number;
    int from, to;
    Frame frame;
    bool operator<(const Event& other) const {
      return std::pair(when, number) > std::pair(other.when, other.number);
    }
  };

  void add(int rank, const std::string& place) {
    stores_[rank] = std::make_unique<MemoryStore>(truth_);
    peers_[rank] = std::make_unique<RelayPeer>(
        RelayPeer::Self{rank, 0, "node" + std::to_string(rank), place}, *stores_[rank], options_);
  }
  bool waiting() const {
    return std::any_of(wanted_.begin(), wanted_.end(),
                       [&](int rank) { return !dead_.contains(rank) && !results_.contains(rank); });
  }
  void collect() {
    for (const auto& [rank, peer] : peers_) {
      if (dead_.contains(rank)) continue;
      for (Outgoing& one : peer->take_outgoing()) post(rank, std::move(one));
      for (const Delivery& one : peer->take_deliveries()) results_[rank] = one;
    }
    for (Outgoing& one : root_->take_outgoing()) post(0, std::move(one));
    for (Delivery& one : root_->take_deliveries()) heard_.push_back(std::move(one));
  }
  void post(int from, Outgoing one) {
    if (std::holds_alternative<FileWanted>(one.frame)) wanted_.insert(from);
    if (tamper) tamper(from, one.to, one.frame);
    double& link = free_at_[from];
    link = std::max(link, now_);
    if (const auto* piece = std::get_if<Piece>(&one.frame)) {
      link += 0.01;
      sent_[from] += std::ssize(piece->bytes);
      received_[one.to] += std::ssize(piece->bytes);
    }
    events_.push({link + 0.001, ++num_events_, from, one.to, std::move(one.frame)});
  }
  void deliver(const Event& event) {
    if (dead_.contains(event.to)) return;
    const bool for_root = std::holds_alternative<FileWanted>(event.frame) ||
                          std::holds_alternative<SourceFailed>(event.frame) ||
                          std::holds_alternative<FileArrived>(event.frame) ||
                          std::holds_alternative<FileLost>(event.frame);
    if (for_root) {
      root_->receive(event.from, event.frame, now_);
    } else {
      peers_.at(event.to)->receive(event.from, event.frame, now_);
    }
  }

  const RelayOptions options_;
  Bytes truth_;
  double now_ = 0;
  std::int64_t num_events_ = 0;
  std::unique_ptr<RelayRoot> root_;
  std::map<int, std::unique_ptr<MemoryStore>> stores_;
  std::map<int, std::unique_ptr<RelayPeer>> peers_;
  std::map<std::string, std::shared_ptr<std::set<std::string>>> places_;
  std::priority_queue<Event> events_;
  std::map<int, double> free_at_;  // when a rank's link is free to send
  std::map<int, std::int64_t> sent_, received_;
  std::set<int> dead_, wanted_;
  std::vector<std::pair<double, int>> losses_;  // when, and of whom, the root will hear
  std::map<int, Delivery> results_;
  std::vector<Delivery> heard_;
};

TEST(RelayTest, OnePeerGetsTheFileAndBothEndsSaySo) {
  Network network(1);
  network.want(1);
  network.run();
  ASSERT_TRUE(network.has(1)) << network.error(1);
  EXPECT_EQ(network.results().at(1).bytes, 20000);
  EXPECT_EQ(network.results().at(1).path, "/cache/feed");
  ASSERT_EQ(network.heard_by_root().size(), 1U);
  EXPECT_EQ(network.heard_by_root()[0].rank, 1);
  EXPECT_EQ(network.heard_by_root()[0].host, "node1");
  EXPECT_EQ(network.heard_by_root()[0].bytes, 20000);
  EXPECT_EQ(network.received_by(1), 20000) << "no piece twice";
}

TEST(RelayTest, SizesAroundAPieceAndTheEmptyFileArrive) {
  for (const std::int64_t size : {0, 1, 999, 1000, 1001, 4000, 5001}) {
    Network network(3, size);
    network.want_all();
    network.run();
    for (int rank = 1; rank <= 3; ++rank) EXPECT_TRUE(network.has(rank)) << size;
  }
}

TEST(RelayTest, ATreeSparesTheRootAndServesHundredsInAFewTimesTheTimeOfOne) {
  Network alone(1, 200000);
  alone.want(1);
  alone.run();
  Network network(300, 200000);
  network.want_all();
  network.run();
  for (int rank = 1; rank <= 300; ++rank) ASSERT_TRUE(network.has(rank)) << network.error(rank);
  EXPECT_EQ(network.sent_by(0), 2 * 200000) << "two readers and no more";
  for (int rank = 1; rank <= 300; ++rank) EXPECT_LE(network.sent_by(rank), 2 * 200000);
  EXPECT_LT(network.now(), 4 * alone.now());
}

TEST(RelayTest, APlaceIsSentTheFileOnceAndItsOthersFindIt) {
  Network network(9);
  for (int rank = 1; rank <= 9; ++rank) {
    network.move(rank, "node" + std::to_string((rank - 1) / 3), true);
  }
  network.want_all();
  network.run();
  std::int64_t travelled = 0;
  for (int rank = 1; rank <= 9; ++rank) {
    ASSERT_TRUE(network.has(rank)) << network.error(rank);
    travelled += network.results().at(rank).bytes;
  }
  EXPECT_EQ(travelled, 3 * 20000);
}

TEST(RelayTest, WhereAPlaceDoesNotShareItsFolderAfterAllEachGetsItsOwn) {
  Network network(4);
  for (int rank = 1; rank <= 4; ++rank) network.move(rank, "container", false);
  network.want_all();
  network.run();
  for (int rank = 1; rank <= 4; ++rank) {
    ASSERT_TRUE(network.has(rank)) << network.error(rank);
    EXPECT_EQ(network.results().at(rank).bytes, 20000);
  }
}

TEST(RelayTest, AtTheRootsPlaceThePathItselfIsRead) {
  Network network(2);
  network.move(1, "place0", false);
  network.move(2, "place0", false);
  network.store(1).readable.insert(kPath);
  network.want_all();
  network.run();
  EXPECT_EQ(network.results().at(1).path, kPath);
  EXPECT_EQ(network.results().at(1).bytes, 0);
  EXPECT_EQ(network.results().at(2).bytes, 20000) << "it cannot read the path";
}

TEST(RelayTest, ADeadPeerIsOneErrorAndItsSubtreeIsServedByOthers) {
  for (const bool noticed : {true, false}) {  // by the root, or by its readers alone
    SCOPED_TRACE(noticed);
    Network network(60, 50000);
    network.want_all();
    network.run(1000, [&] { return network.received_by(1) > 10000; });
    ASSERT_GT(network.sent_by(1), 0) << "others read from it";
    network.kill(1);
    if (noticed) network.lost(1);
    network.run();
    for (int rank = 2; rank <= 60; ++rank) {
      ASSERT_TRUE(network.has(rank)) << rank << ": " << network.error(rank);
    }
    network.run(100, [&] { return network.heard_by_root().size() >= 60; });
    for (const Delivery& one : network.heard_by_root()) {
      EXPECT_EQ(one.error.empty(), one.rank != 1) << one.rank << ": " << one.error;
    }
  }
}

TEST(RelayTest, AfterAChangeOfSourceNothingIsSentTwice) {
  Network network(3, 50000);
  network.want(1);
  network.run(0.1);
  network.want({2, 3});
  network.run(0.1);
  ASSERT_GT(network.received_by(3), 0);
  network.kill(1);
  network.run();
  ASSERT_TRUE(network.has(2));
  ASSERT_TRUE(network.has(3));
  // At most a window of pieces was under way.
  EXPECT_LE(network.received_by(2) + network.received_by(3), 2 * 50000 + 2 * 4 * 1000);
}

TEST(RelayTest, OfThePeersOfADeadOnesPlaceAnotherGetsTheFile) {
  Network network(3);
  for (int rank = 1; rank <= 3; ++rank) network.move(rank, "shared", true);
  network.want_all();
  network.run(0.05);
  network.kill(1);
  network.lost(1);
  network.run();
  EXPECT_TRUE(network.has(2)) << network.error(2);
  EXPECT_TRUE(network.has(3)) << network.error(3);
  EXPECT_EQ(network.results().at(2).bytes + network.results().at(3).bytes, 20000);
}

TEST(RelayTest, WhoWasLostWhileItReceivedAndIsBackGetsTheRestAtOnce) {
  Network network(1);
  network.want(1);
  network.run(1000, [&] { return network.received_by(1) > 10000; });
  network.kill(1);
  network.lost(1);
  network.run(5);
  network.wake(1);
  const double woken = network.now();
  network.run(1000, [&] { return network.has(1); });
  EXPECT_TRUE(network.has(1)) << network.error(1);
  EXPECT_LT(network.now() - woken, 5);
}

TEST(RelayTest, ASourceThatDamagesPiecesIsLeftForAWholeCopy) {
  Network network(40);
  network.tamper = [](int from, int, Frame& frame) {
    auto* piece = std::get_if<Piece>(&frame);
    if (piece != nullptr && from == 1) piece->bytes[0] ^= 1;
  };
  network.want_all();
  network.run();
  for (int rank = 1; rank <= 40; ++rank) {
    EXPECT_TRUE(network.has(rank)) << rank << ": " << network.error(rank);
  }
}

TEST(RelayTest, AFileThatChangedAtTheRootIsAnErrorEverywhereThatSaysSo) {
  Network network(5);
  (*network.store(0).whole)[17] ^= 1;
  network.want_all();
  network.run();
  for (int rank = 1; rank <= 5; ++rank) {
    EXPECT_FALSE(network.has(rank));
    EXPECT_THAT(network.error(rank), HasSubstr("SHA-256"));
    EXPECT_THAT(network.error(rank),
                HasSubstr("/models/resnet18.pth was not received by rank " + std::to_string(rank) +
                          " on node" + std::to_string(rank)));
  }
}

TEST(RelayTest, AFileThatTheRootCannotReadIsAnErrorThatNamesIt) {
  Network network(2);
  network.store(0).broken = true;
  network.want_all();
  network.run();
  for (int rank = 1; rank <= 2; ++rank) {
    EXPECT_THAT(network.error(rank), HasSubstr("rank 0 on node0: input/output error"));
  }
}

TEST(RelayTest, AFullDiskIsThatPeersErrorAloneAlsoWhereOthersReadFromIt) {
  Network network(30);
  network.store(1).capacity = 7000;
  network.want_all();
  network.run();
  EXPECT_THAT(network.error(1), HasSubstr("disk full"));
  for (int rank = 2; rank <= 30; ++rank) EXPECT_TRUE(network.has(rank)) << network.error(rank);
  for (const Delivery& one : network.heard_by_root()) {
    EXPECT_EQ(one.error.empty(), one.rank != 1) << one.error;
  }
}

TEST(RelayTest, AFileOfNobodyIsRefused) {
  Network network(1);
  network.tamper = [](int, int, Frame& frame) {
    if (auto* wanted = std::get_if<FileWanted>(&frame)) wanted->sha256 = "beef";
    if (auto* refused = std::get_if<FileRefused>(&frame)) refused->sha256 = kFile;
  };
  network.want(1);
  network.run();
  EXPECT_THAT(network.error(1), HasSubstr("the root, rank 0 on node0, has no file"));
}

TEST(RelayTest, ASilentRootIsATimeoutAndNoHang) {
  Network network(2);
  network.kill(0);
  network.tamper = [](int from, int, Frame& frame) {
    if (from == 0) frame = StillWaiting{"other"};
  };
  network.want_all();
  network.run();
  EXPECT_THAT(network.error(1), HasSubstr("did not arrive within 60 s"));
  EXPECT_THAT(network.error(1), HasSubstr("rank 0 (the root) named no source"));
  EXPECT_LT(network.now(), 100);
}

TEST(RelayTest, WhoAsksAgainAfterARestartIsServedAgain) {
  Network network(3);
  network.want_all();
  network.run();
  ASSERT_TRUE(network.has(1));
  network.move(1, "place1", false);  // a new process without what the old one had
  network.want(1);
  network.run(20);
  EXPECT_EQ(network.received_by(1), 2 * 20000);
}

// Peers die, are damaged and have full disks at random; the root survives. Whoever is alive and has
// room gets the file.
TEST(RelayTest, RandomFaultsCostNobodyElseTheFile) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const int num_peers = 20 + static_cast<int>(random() % 100);
    Network network(num_peers, 5000 + static_cast<std::int64_t>(random() % 30000));
    std::set<int> damaging, dead, full;
    for (int rank = 1; rank <= num_peers; ++rank) {
      if (random() % 3 == 0) {
        network.move(rank, "node" + std::to_string(random() % 10), random() % 2 == 0);
      }
      if (random() % 20 == 0) damaging.insert(rank);
      if (random() % 20 == 0) full.insert(rank);
      if (full.contains(rank)) network.store(rank).capacity = 3000;
    }
    network.tamper = [&](int from, int, Frame& frame) {
      auto* piece = std::get_if<Piece>(&frame);
      if (piece != nullptr && damaging.contains(from)) piece->bytes.back() ^= 1;
    };
    for (int rank = 1; rank <= num_peers; ++rank) {
      network.want(rank);
      network.run(0.001 * static_cast<double>(random() % 20));
      if (random() % 15 != 0) continue;
      const int victim = 1 + static_cast<int>(random() % static_cast<unsigned>(rank));
      network.kill_and_notice(victim, static_cast<double>(random() % 5));
      dead.insert(victim);
    }
    network.run();
    EXPECT_LT(network.now(), 60) << "nobody ran into the deadline";
    for (int rank = 1; rank <= num_peers; ++rank) {
      if (dead.contains(rank)) continue;
      const bool alright = network.has(rank) || full.contains(rank);
      EXPECT_TRUE(alright) << "rank " << rank << ": " << network.error(rank);
    }
  }
}

}  // namespace
}  // namespace squant::runner
