// The scheduler with thousands of simulated workers and every kind of fault.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "runner/scheduler.h"
#include "scheduler_test_util.h"

namespace squant::runner {
namespace {

struct Faults {
  double cell_error = 0;  // probability that a cell fails
  double task_error = 0;  // ... a whole task
  double death = 0;       // the worker dies at the start of a task, unseen
  double seen_death = 0;  // ... and the transport says so
  double hang = 0;        // the task never ends, the heart beats on
  double freeze =
      0;  // the worker is silent for longer than the timeout, then answers and joins again
  int poisoned_jobs = 0;      // the first so many jobs always fail
  int bad_workers = 0;        // the first so many workers fail every task
  int killing_jobs = 0;       // the first so many jobs kill the child that evaluates their tile
  int childless_workers = 0;  // the first so many workers can start no child
};

// Plays a cluster against the scheduler and checks what must always hold.
class Simulation {
 public:
  Simulation(const SchedulerInput& input, SchedulerOptions options, int workers, Faults faults,
             unsigned seed)
      : input_(input),
        options_(options),
        faults_(faults),
        random_(seed),
        scheduler_(input, options) {
    for (const SchedulerJob& job : input.jobs) {
      prepared_.push_back(job.prepared);
      wanted_.emplace_back(job.chunks.begin(), job.chunks.end());
    }
    accepted_.resize(input.jobs.size());
    for (int worker = 1; worker <= workers; ++worker) {
      speeds_[worker] = std::uniform_real_distribution<>(0.5, 2)(random_);
      push(uniform() * 0.1, worker, Kind::kJoin);
    }
    push(1, 0, Kind::kTick);
  }

  void run() {
    const std::size_t limit = 200 * (100 + num_cells()) + 1000 * speeds_.size();
    for (std::size_t step = 0; !finished_; ++step) {
      ASSERT_LT(step, limit) << "does not end";
      ASSERT_FALSE(queue_.empty());
      const Item item = queue_.top();
      queue_.pop();
      now_ = item.time;
      happen(item);
      if (testing::Test::HasFatalFailure()) return;
    }
    if (reason_ == FinishReason::kComplete) {
      for (std::size_t job = 0; job < wanted_.size(); ++job) {
        if (given_up_.contains(static_cast<int>(job))) continue;
        EXPECT_TRUE(prepared_[job]) << "job " << job;
        EXPECT_EQ(accepted_[job], wanted_[job]) << "job " << job;
      }
    }
  }

  std::size_t num_cells() const {
    std::size_t cells = 0;
    for (const SchedulerJob& job : input_.jobs) cells += job.chunks.size();
    return cells;
  }

  const std::vector<std::string>& log() const { return log_; }
  FinishReason reason() const { return reason_; }
  const std::set<int>& given_up() const { return given_up_; }
  int num_deaths() const { return num_deaths_; }
  std::size_t num_loads() const { return num_loads_; }
  std::size_t num_events() const { return num_events_; }
  double now() const { return now_; }
  void keep_log() { keep_log_ = true; }

 private:
  enum class Kind { kJoin, kHeartbeat, kAnswer, kSeenDeath, kTick };
  struct Item {
    double time = 0;
    std::int64_t order = 0;
    int worker = 0;
    Kind kind = Kind::kTick;
    std::int64_t life = 0;
    std::shared_ptr<Event> event;
    bool operator>(const Item& other) const {
      return std::tie(time, order) > std::tie(other.time, other.order);
    }
  };

  double uniform() { return std::uniform_real_distribution<>(0, 1)(random_); }
  bool chance(double probability) { return probability > 0 && uniform() < probability; }

  void push(double delay, int worker, Kind kind, std::shared_ptr<Event> event = nullptr) {
    queue_.push({now_ + delay, next_order_++, worker, kind, lives_[worker], std::move(event)});
  }

  void happen(const Item& item) {
    const bool dead = item.life != lives_[item.worker];
    switch (item.kind) {
      case Kind::kJoin:
        busy_.erase(item.worker);
        send(WorkerJoined{item.worker});
        push(1, item.worker, Kind::kHeartbeat);
        break;
      case Kind::kHeartbeat:
        if (dead || silent_.contains(item.worker)) return;
        send(Heartbeat{item.worker});
        push(1, item.worker, Kind::kHeartbeat);
        break;
      case Kind::kSeenDeath:
        send(WorkerLost{item.worker, "the connection broke"});
        break;
      case Kind::kAnswer:
        if (dead) return;
        busy_.erase(item.worker);
        send(*item.event);
        if (silent_.erase(item.worker) > 0) push(0.01, item.worker, Kind::kJoin);
        break;
      case Kind::kTick:
        send(Tick{});
        push(1, 0, Kind::kTick);
        break;
    }
  }

  void send(const Event& event) {
    ++num_events_;
    for (const Command& command : scheduler_.handle(event, now_)) {
      std::visit([this](const auto& one) { obey(one); }, command);
      if (testing::Test::HasFatalFailure()) return;
    }
  }

  void note(const std::string& what, std::initializer_list<std::int64_t> numbers) {
    if (!keep_log_) return;
    std::string line = what;
    for (const std::int64_t number : numbers) line += " " + std::to_string(number);
    log_.push_back(line);
  }

  void assigned(int worker) {
    ASSERT_FALSE(finished_) << "an assignment after the end";
    ASSERT_TRUE(scheduler_.alive(worker)) << "worker " << worker << " is dead";
    ASSERT_TRUE(busy_.insert(worker).second) << "worker " << worker << " is busy";
  }

  void obey(const AssignPreparation& command) {
    note("prepare", {command.worker, command.task, command.job});
    assigned(command.worker);
    ASSERT_FALSE(prepared_[static_cast<std::size_t>(command.job)]);
    const bool fails = command.job < faults_.poisoned_jobs ||
                       command.worker <= faults_.bad_workers || chance(faults_.task_error);
    auto event = std::make_shared<Event>(PreparationDone{command.worker, command.task});
    if (fails) *event = TaskFailed{command.worker, command.task, "no"};
    if (command.worker <= faults_.childless_workers)
      *event = TaskFailed{command.worker, command.task, "fork", FailureKind::kWorkerUnusable};
    answer_later(command.worker, 0.5, event);
  }

  void obey(const AssignTile& command) {
    note("tile", {command.worker, command.task, command.chunk,
                  static_cast<std::int64_t>(command.jobs.size())});
    assigned(command.worker);
    ASSERT_FALSE(command.jobs.empty());
    num_loads_ += loaded_[command.worker] != std::pair{command.stream, command.chunk};
    loaded_[command.worker] = {command.stream, command.chunk};
    TileDone done{command.worker, command.task, {}};
    double seconds = 0.05;
    for (const int job : command.jobs) {
      const auto index = static_cast<std::size_t>(job);
      ASSERT_EQ(input_.jobs[index].stream, command.stream);
      ASSERT_TRUE(prepared_[index]) << "job " << job << " is not prepared";
      ASSERT_TRUE(wanted_[index].contains(command.chunk));
      ASSERT_FALSE(accepted_[index].contains(command.chunk))
          << "a finished cell is given away again";
      CellAnswer cell{(0.02 + 0.01 * (job % 7)) * speeds_[command.worker], 1, ""};
      const bool fails = job < faults_.poisoned_jobs || command.worker <= faults_.bad_workers;
      if (fails || chance(faults_.cell_error)) cell.error = "no";
      seconds += cell.compute_s;
      done.answers.push_back(cell);
    }
    auto event = std::make_shared<Event>(done);
    const bool killed = command.jobs.front() < faults_.killing_jobs;  // ascending
    num_deaths_ += killed;
    if (killed) {
      *event = TaskFailed{command.worker, command.task, "SIGSEGV", FailureKind::kDied};
    } else if (chance(faults_.task_error)) {
      *event = TaskFailed{command.worker, command.task, "no", some_kind()};
    }
    if (command.worker <= faults_.childless_workers)
      *event = TaskFailed{command.worker, command.task, "fork", FailureKind::kWorkerUnusable};
    answer_later(command.worker, seconds, event);
  }

  FailureKind some_kind() {
    constexpr FailureKind kKinds[] = {FailureKind::kError, FailureKind::kDied,
                                      FailureKind::kOutOfMemory};
    return kKinds[random_() % std::size(kKinds)];
  }

  void answer_later(int worker, double seconds, const std::shared_ptr<Event>& event) {
    if (chance(faults_.death) || chance(faults_.seen_death)) {
      const bool seen = chance(0.5);
      if (seen) push(0.2, worker, Kind::kSeenDeath);
      ++lives_[worker];
    } else if (chance(faults_.freeze)) {
      silent_.insert(worker);
      push(options_.heartbeat_timeout_s * 1.5, worker, Kind::kAnswer, event);
    } else if (!chance(faults_.hang)) {
      push(seconds, worker, Kind::kAnswer, event);
    }
  }

  void obey(const AcceptPreparation& command) {
    note("prepared", {command.job});
    ASSERT_FALSE(prepared_[static_cast<std::size_t>(command.job)]);
    prepared_[static_cast<std::size_t>(command.job)] = true;
  }

  void obey(const AcceptCell& command) {
    note("cell", {command.job, command.chunk});
    const auto job = static_cast<std::size_t>(command.job);
    ASSERT_TRUE(wanted_[job].contains(command.chunk));
    ASSERT_TRUE(accepted_[job].insert(command.chunk).second) << "counted twice";
  }

  void obey(const JobFinished& command) {
    note("finished", {command.job});
    ASSERT_TRUE(done_jobs_.insert(command.job).second);
    EXPECT_EQ(accepted_[static_cast<std::size_t>(command.job)],
              wanted_[static_cast<std::size_t>(command.job)]);
  }

  void obey(const TryFailed& command) {
    note("failed", {command.job, command.attempt});
    ASSERT_LE(command.attempt, options_.max_retries);
  }

  void obey(const GiveUp& command) {
    note("give up", {command.job});
    ASSERT_TRUE(given_up_.insert(command.job).second);
    ASSERT_FALSE(done_jobs_.contains(command.job));
  }

  void obey(const DropWorker& command) {
    note("drop", {command.worker});
    loaded_.erase(command.worker);
  }

  void obey(const Contradiction&) { FAIL() << "every simulated answer is the same"; }

  void obey(const Finished& command) {
    note("end", {static_cast<int>(command.reason)});
    ASSERT_FALSE(finished_);
    finished_ = true;
    reason_ = command.reason;
  }

  const SchedulerInput input_;
  SchedulerOptions options_;
  Faults faults_;
  std::mt19937 random_;
  Scheduler scheduler_;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue_;
  std::map<int, std::int64_t> lives_;
  std::map<int, double> speeds_;
  std::map<int, std::pair<int, int>> loaded_;
  std::set<int> busy_, silent_, given_up_, done_jobs_;
  std::vector<bool> prepared_;
  std::vector<std::set<int>> wanted_, accepted_;
  std::vector<std::string> log_;
  double now_ = 0;
  std::int64_t next_order_ = 0;
  std::size_t num_loads_ = 0, num_events_ = 0;
  int num_deaths_ = 0;
  bool keep_log_ = false;
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kNoWorkers;
};

SchedulerInput mixed_streams() {
  SchedulerInput input = matrix(3, 8, 12);
  input.streams.push_back({250, 250, 100});
  for (int job = 0; job < 6; ++job) {
    input.jobs.push_back({.stream = 1,
                          .model = 3,
                          .prepared = job % 2 == 0,
                          .chunks = {job % 3, 2 - (job % 3) / 2}});
    auto& chunks = input.jobs.back().chunks;
    if (chunks[0] == chunks[1]) chunks.pop_back();
  }
  return input;
}

constexpr SchedulerOptions kImpatient{.heartbeat_timeout_s = 5, .task_limit_s = 30};

TEST(SchedulerSimulation, WithoutFaultsEveryCellIsCountedOnceAndChunksAreLoadedRarely) {
  for (const int workers : {1, 2, 3, 7, 50}) {
    Simulation simulation(matrix(5, 16, 40), kImpatient, workers, {}, 1);
    simulation.run();
    EXPECT_EQ(simulation.reason(), FinishReason::kComplete);
    EXPECT_TRUE(simulation.given_up().empty());
    if (workers <= 7) {
      EXPECT_LE(simulation.num_loads(), 40U + 4U * static_cast<unsigned>(workers))
          << workers << " workers";
    }
  }
}

TEST(SchedulerSimulation, EveryKindOfFaultLeavesEachCellCountedOnceOrItsJobGivenUp) {
  for (unsigned seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Faults faults;
    std::mt19937 random(seed);
    const auto some = [&](double most) {
      return random() % 3 == 0 ? std::uniform_real_distribution<>(0, most)(random) : 0;
    };
    faults.cell_error = some(0.1);
    faults.task_error = some(0.1);
    faults.death = some(0.02);
    faults.seen_death = some(0.02);
    faults.hang = some(0.02);
    faults.freeze = some(0.05);
    faults.poisoned_jobs = random() % 3 == 0 ? 2 : 0;
    faults.bad_workers = random() % 3 == 0 ? 1 : 0;
    faults.killing_jobs = random() % 3 == 0 ? 2 : 0;
    faults.childless_workers = random() % 5 == 0 ? 1 : 0;
    SchedulerOptions options = kImpatient;
    options.repeat_slow_tiles = random() % 2 == 0;
    Simulation simulation(mixed_streams(), options, 1 + static_cast<int>(random() % 40), faults,
                          seed);
    simulation.run();
    if (HasFatalFailure()) return;
  }
}

TEST(SchedulerSimulation, PoisonedJobsAloneAreGivenUp) {
  Simulation simulation(matrix(2, 10, 10), kImpatient, 8, {.poisoned_jobs = 3}, 5);
  simulation.run();
  EXPECT_EQ(simulation.reason(), FinishReason::kComplete);
  EXPECT_EQ(simulation.given_up(), (std::set<int>{0, 1, 2}));
}

TEST(SchedulerSimulation, JobsThatKillTheirChildAreFoundAndTheOthersOfTheirTilesAreNotCharged) {
  for (const int workers : {1, 2, 8, 50}) {
    SCOPED_TRACE(std::to_string(workers) + " workers");
    Simulation simulation(matrix(4, 10, 10), kImpatient, workers, {.killing_jobs = 3}, 7);
    simulation.run();
    EXPECT_EQ(simulation.reason(), FinishReason::kComplete);
    EXPECT_EQ(simulation.given_up(), (std::set<int>{0, 1, 2}));
    // Three tries alone, and before them tiles shared at the same time by as many workers.
    EXPECT_LE(simulation.num_deaths(), 3 * 3 + 3 * std::min(workers, 10));
  }
}

TEST(SchedulerSimulation, WorkersThatCanStartNoChildCostNoJob) {
  Simulation some(matrix(2, 10, 10), kImpatient, 8, {.childless_workers = 7}, 8);
  some.run();
  EXPECT_EQ(some.reason(), FinishReason::kComplete);
  EXPECT_TRUE(some.given_up().empty());
  Simulation all(matrix(2, 10, 10), kImpatient, 3, {.childless_workers = 3}, 8);
  all.run();
  EXPECT_EQ(all.reason(), FinishReason::kNoWorkers);
  EXPECT_TRUE(all.given_up().empty());
}

TEST(SchedulerSimulation, OneBadWorkerOfManyCostsNoJob) {
  Simulation simulation(matrix(2, 10, 10), kImpatient, 8, {.bad_workers = 1}, 6);
  simulation.run();
  EXPECT_EQ(simulation.reason(), FinishReason::kComplete);
  EXPECT_TRUE(simulation.given_up().empty());
}

TEST(SchedulerSimulation, TheSameEventsGiveTheSameCommands) {
  const Faults faults{
      .cell_error = 0.02, .task_error = 0.02, .death = 0.005, .hang = 0.002, .freeze = 0.01};
  std::vector<std::string> first;
  for (int run = 0; run < 2; ++run) {
    Simulation simulation(mixed_streams(), kImpatient, 20, faults, 11);
    simulation.keep_log();
    simulation.run();
    if (run == 0) first = simulation.log();
    EXPECT_EQ(simulation.log(), first);
  }
  EXPECT_GT(first.size(), 100U);
}

TEST(SchedulerSimulation, TenThousandWorkersWithEveryFaultTakeSeconds) {
  const Faults faults{.cell_error = 0.002,
                      .task_error = 0.001,
                      .death = 0.002,
                      .seen_death = 0.002,
                      .hang = 0.001,
                      .freeze = 0.002,
                      .poisoned_jobs = 3,
                      .bad_workers = 20};
  const auto start = std::chrono::steady_clock::now();
  Simulation simulation(matrix(10, 16, 200), kImpatient, 10000, faults, 3);
  simulation.run();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(simulation.reason(), FinishReason::kComplete);
  RecordProperty("events", std::to_string(simulation.num_events()));
  std::printf("%zu events for %zu cells in %.2f s\n", simulation.num_events(),
              simulation.num_cells(), seconds);
  EXPECT_LT(seconds, 20) << "an event must cost about O(log n)";
}

}  // namespace
}  // namespace squant::runner
