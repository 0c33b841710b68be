// One suite over both implementations: real files, in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "runner/collective/collective_mpi.h"
#include "runner/collective/collective_nccl.h"
#include "scratch_folder.h"

namespace squant::runner {
namespace {

using testing::HasSubstr;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Ranks of one process.
class Hub {
 public:
  explicit Hub(int size) : inboxes_(static_cast<std::size_t>(size)) {}

  class End final : public Transport {
   public:
    End(Hub& hub, int rank) : hub_(hub), rank_(rank) {}
    void send(int to, Bytes bytes) override {
      if (!hub_.dead[static_cast<std::size_t>(to)])
        hub_.inboxes_[static_cast<std::size_t>(to)].push_back({rank_, std::move(bytes)});
    }
    std::optional<Envelope> receive() override {
      std::deque<Envelope>& inbox = hub_.inboxes_[static_cast<std::size_t>(rank_)];
      if (inbox.empty()) return std::nullopt;
      Envelope envelope = std::move(inbox.front());
      inbox.pop_front();
      return envelope;
    }
    bool flushed() override { return true; }

   private:
    Hub& hub_;
    int rank_;
  };

  std::vector<bool> dead = std::vector<bool>(64);

 private:
  std::vector<std::deque<Envelope>> inboxes_;
};

struct Way {
  const char* name;
  // Why it cannot be tried here; empty: it can.
  std::function<std::string()> obstacle;
  int size;  // ranks; rank 0 is the root
};
std::ostream& operator<<(std::ostream& out, const Way& way) { return out << way.name; }

std::string nccl_obstacle() {
  if (const std::string why = why_no_nccl(); !why.empty()) return why;
  ScratchFolder scratch;
  const SharedFile file = write_file(scratch / "probe", "x");
  NcclGroup group;
  group.hosts = {"here"};
  group.id = make_nccl_id();
  const auto alone = make_nccl_collective(group, scratch / "cache");
  alone->begin(file, 0);
  for (;;) {
    for (const Delivery& one : alone->step(0)) return one.error;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class CollectiveTest : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (const std::string obstacle = GetParam().obstacle(); !obstacle.empty()) {
      GTEST_SKIP() << GetParam().name << " IS NOT TESTED HERE: " << obstacle;
    }
    for (int rank = 0; rank < GetParam().size; ++rank) members_.push_back(make(rank));
  }
  std::unique_ptr<Collective> make(int rank) {
    const std::string cache = scratch_ / ("cache" + std::to_string(rank));
    if (std::string(GetParam().name) == "Nccl") {
      if (rank == 0) id_ = make_nccl_id();
      NcclGroup group;
      group.rank = group.device = rank;
      group.hosts.assign(static_cast<std::size_t>(GetParam().size), "here");
      group.id = id_;
      return make_nccl_collective(group, cache);
    }
    ends_.push_back(std::make_unique<Hub::End>(hub_, rank));
    RelayOptions options;
    options.piece_bytes = 1 << 16;
    return std::make_unique<MpiCollective>(
        *ends_.back(), MpiMember{rank, 0, "node" + std::to_string(rank), cache}, options);
  }
  void begin(const SharedFile& file) {
    for (const auto& member : members_) member->begin(file, seconds());
  }
  void step_all(std::map<int, Delivery>& own) {
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
      if (!ends_.empty()) pump(rank);
      for (const Delivery& one : members_[rank]->step(seconds())) {
        if (one.rank == static_cast<int>(rank)) own[one.rank] = one;
        if (rank == 0) heard_.push_back(one);
      }
    }
  }
  // What each member says of its own file, by rank, once all have spoken.
  std::vector<Delivery> own_results() {
    std::map<int, Delivery> own;
    const double end = seconds() + 100;
    while (own.size() < members_.size() && seconds() < end) {
      step_all(own);
      std::this_thread::yield();
    }
    std::vector<Delivery> results;
    for (auto& [rank, one] : own) results.push_back(std::move(one));
    return results;
  }
  void pump(std::size_t rank) {
    while (const std::optional<Envelope> envelope = ends_[rank]->receive()) {
      static_cast<MpiCollective&>(*members_[rank]).receive(*envelope, seconds());
    }
  }

  ScratchFolder scratch_;
  Hub hub_{64};
  NcclId id_{};
  std::vector<std::unique_ptr<Hub::End>> ends_;
  std::vector<std::unique_ptr<Collective>> members_;
  std::vector<Delivery> heard_;  // by the root
};

TEST_P(CollectiveTest, EveryMemberHoldsTheRootsFileToTheLastByte) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1} << 16, std::size_t{20'000'001}}) {
    const std::string bytes = made_up_bytes(size, 3);
    const SharedFile file = write_file(scratch_ / "weights.pth", bytes);
    begin(file);
    const std::vector<Delivery> results = own_results();
    ASSERT_EQ(results.size(), members_.size());
    for (const Delivery& one : results) {
      ASSERT_EQ(one.error, "");
      EXPECT_EQ(one.sha256, file.sha256);
      EXPECT_TRUE(content(one.path) == bytes) << one.path;
      EXPECT_EQ(one.bytes, one.rank == 0 ? 0 : static_cast<std::int64_t>(size));
    }
  }
}

TEST_P(CollectiveTest, TheRootHearsOfEveryMember) {
  const SharedFile file = write_file(scratch_ / "weights.pth", made_up_bytes(1000, 4));
  begin(file);
  ASSERT_EQ(own_results().size(), members_.size());
  std::map<int, Delivery> own;
  for (int more = 0; more < 3; ++more) step_all(own);  // the last peer's word is on its way
  std::set<int> ranks;
  for (const Delivery& one : heard_) {
    EXPECT_EQ(one.error, "");
    ranks.insert(one.rank);
  }
  EXPECT_EQ(ranks.size(), members_.size());
}

TEST_P(CollectiveTest, AMissingFileIsAnErrorThatNamesItAndTheNextOneArrives) {
  begin({scratch_ / "nowhere.pth", std::string(64, 'a')});
  const std::vector<Delivery> results = own_results();
  ASSERT_EQ(results.size(), members_.size());
  for (const Delivery& one : results) EXPECT_THAT(one.error, HasSubstr("nowhere.pth"));
  begin(write_file(scratch_ / "weights.pth", made_up_bytes(1000, 5)));
  for (const Delivery& one : own_results()) EXPECT_EQ(one.error, "");
}

TEST_P(CollectiveTest, AFileThatIsNotWhatItsDigestSaysIsRefused) {
  SharedFile file = write_file(scratch_ / "weights.pth", made_up_bytes(100'000, 6));
  write_file(file.path, made_up_bytes(100'000, 7));  // changed since the plan was made
  begin(file);
  const std::vector<Delivery> results = own_results();
  ASSERT_EQ(results.size(), members_.size());
  for (const Delivery& one : results) {
    // Over MPI the root does not read what nobody asks for: it vouches for nothing.
    if (one.rank != 0 || std::string(GetParam().name) == "Nccl") {
      EXPECT_THAT(one.error, HasSubstr(file.sha256));
    }
    EXPECT_FALSE(std::filesystem::exists(scratch_ /
                                         ("cache" + std::to_string(one.rank) + "/" + file.sha256)));
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, CollectiveTest,
                         testing::Values(Way{"Mpi", [] { return std::string(); }, 9},
                                         Way{"Nccl", nccl_obstacle, 1}),
                         [](const auto& way) { return std::string(way.param.name); });

TEST(CollectiveNcclTest, WithoutADeviceTheErrorSaysSoAndComesAtOnce) {
  if (const std::string why = why_no_nccl(); !why.empty()) {
    EXPECT_THROW(make_nccl_id(), std::runtime_error);
    GTEST_SKIP() << "NCCL IS NOT TESTED HERE: " << why;
  }
  ScratchFolder scratch;
  NcclGroup group;
  group.hosts = {"here"};
  group.device = 1000;  // nowhere are so many
  const auto member = make_nccl_collective(group, scratch / "cache");
  const SharedFile file = write_file(scratch / "weights.pth", "x");
  for (const char* expected : {"no CUDA device", "the group broke earlier: no CUDA device"}) {
    member->begin(file, seconds());
    std::vector<Delivery> results;
    for (int i = 0; results.empty() && i < 60'000; ++i) {
      results = member->step(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(results.size(), 1U);
    EXPECT_THAT(results[0].error, HasSubstr(expected));
    EXPECT_THAT(results[0].error, HasSubstr("weights.pth was not received by rank 0 on here"));
  }
}

}  // namespace
}  // namespace squant::runner
