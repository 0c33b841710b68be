#include "runner/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "scheduler_test_util.h"

namespace squant::runner {
namespace {

TileDone failure(const AssignTile& tile, const std::string& why) {
  return {tile.worker, tile.task, std::vector<CellAnswer>(tile.jobs.size(), CellAnswer{0, 0, why})};
}

// Where nobody but the one that takes over a lost worker's tile may run it.
constexpr SchedulerOptions kNoRepeats{.heartbeat_timeout_s = 10, .repeat_slow_tiles = false};

TEST(SchedulerTest, PreparesEachJobOnceBeforeItsFirstTile) {
  Scheduler scheduler(matrix(1, 2, 1), {});
  const auto first = only<AssignPreparation>(scheduler.handle(WorkerJoined{1}, 0));
  ASSERT_EQ(first.size(), 1U);
  auto commands = scheduler.handle(PreparationDone{1, first[0].task}, 1);
  EXPECT_EQ(only<AcceptPreparation>(commands).size(), 1U);
  const auto second = only<AssignPreparation>(commands);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].job, 1);
  commands = scheduler.handle(PreparationDone{1, second[0].task}, 2);
  EXPECT_EQ(only<AssignTile>(commands).size(), 1U);
}

TEST(SchedulerTest, JobsThatOnlyMeasureQuantizationFinishWhenPrepared) {
  SchedulerInput input = matrix(1, 1, 0);
  Scheduler scheduler(input, {});
  const auto task = only<AssignPreparation>(scheduler.handle(WorkerJoined{1}, 0));
  ASSERT_EQ(task.size(), 1U);
  const auto commands = scheduler.handle(PreparationDone{1, task[0].task}, 1);
  EXPECT_EQ(only<JobFinished>(commands).size(), 1U);
  ASSERT_EQ(only<Finished>(commands).size(), 1U);
}

TEST(SchedulerTest, NothingToDoFinishesAtOnce) {
  Scheduler scheduler(matrix(2, 2, 0, true), {});
  ASSERT_EQ(only<Finished>(scheduler.handle(Tick{}, 0)).size(), 1U);
  EXPECT_TRUE(scheduler.finished());
  EXPECT_TRUE(scheduler.handle(WorkerJoined{1}, 1).empty());
}

TEST(SchedulerTest, TheFirstTileIsOneJobAndLaterOnesFillTheTarget) {
  Scheduler scheduler(matrix(1, 40, 20, true), {});
  auto tiles = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0));
  ASSERT_EQ(tiles.size(), 1U);
  EXPECT_EQ(tiles[0].jobs.size(), 1U);
  tiles = only<AssignTile>(scheduler.handle(answer(tiles[0], 0.1), 1));
  ASSERT_EQ(tiles.size(), 1U);
  EXPECT_EQ(tiles[0].chunk, 0);
  EXPECT_NEAR(static_cast<double>(tiles[0].jobs.size()), 15, 1);
}

TEST(SchedulerTest, AWorkerGoesOnWithTheChunkItHasLoadedAndOthersTakeOtherChunks) {
  Scheduler scheduler(matrix(1, 4, 3, true), {.max_group = 1});
  std::map<int, std::set<int>> workers_of_chunk;
  std::map<int, AssignTile> running;
  for (int worker = 1; worker <= 3; ++worker) {
    for (const AssignTile& tile : only<AssignTile>(scheduler.handle(WorkerJoined{worker}, 0)))
      running[worker] = tile;
  }
  for (int round = 0; round < 4; ++round) {
    for (int worker = 1; worker <= 3; ++worker) {
      ASSERT_TRUE(running.contains(worker));
      workers_of_chunk[running[worker].chunk].insert(worker);
      const auto commands = scheduler.handle(answer(running[worker]), round + 0.1 * worker);
      running.erase(worker);
      for (const AssignTile& tile : only<AssignTile>(commands)) running[tile.worker] = tile;
    }
  }
  EXPECT_TRUE(scheduler.finished());
  ASSERT_EQ(workers_of_chunk.size(), 3U);
  for (const auto& [chunk, workers] : workers_of_chunk)
    EXPECT_EQ(workers.size(), 1U) << "chunk " << chunk;
}

TEST(SchedulerTest, AWorkerPreparesJobsOfOneModelInARow) {
  Scheduler scheduler(matrix(2, 3, 1), {});
  std::map<int, std::set<int>> models_of_worker;
  std::map<int, AssignPreparation> running;
  for (int worker = 1; worker <= 2; ++worker) {
    running[worker] = only<AssignPreparation>(scheduler.handle(WorkerJoined{worker}, 0)).at(0);
  }
  for (int round = 0; round < 3; ++round) {
    for (int worker = 1; worker <= 2; ++worker) {
      models_of_worker[worker].insert(running[worker].job / 3);
      const auto commands = scheduler.handle(PreparationDone{worker, running[worker].task}, round);
      for (const auto& next : only<AssignPreparation>(commands)) running[next.worker] = next;
    }
  }
  EXPECT_EQ(models_of_worker[1].size(), 1U);
  EXPECT_EQ(models_of_worker[2].size(), 1U);
}

TEST(SchedulerTest, AFailedCellIsRetriedAloneOnAnotherWorkerAndTheOthersOfItsTileCount) {
  Scheduler scheduler(matrix(1, 3, 2, true), {});
  const auto warm = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  const auto tile = only<AssignTile>(scheduler.handle(answer(warm), 1)).at(0);
  ASSERT_EQ(tile.jobs, (std::vector<int>{1, 2}));
  const auto other = only<AssignTile>(scheduler.handle(WorkerJoined{2}, 1)).at(0);
  TileDone mixed = answer(tile);
  mixed.answers[1].error = "out of memory";
  auto commands = scheduler.handle(mixed, 2);
  EXPECT_EQ(only<AcceptCell>(commands).size(), 1U);
  ASSERT_EQ(only<TryFailed>(commands).size(), 1U);
  EXPECT_EQ(only<TryFailed>(commands)[0].job, 2);
  for (const AssignTile& next : only<AssignTile>(commands))
    EXPECT_EQ(next.chunk, 1) << "the retry waits for worker 2";
  const auto retry = only<AssignTile>(scheduler.handle(answer(other), 3)).at(0);
  EXPECT_EQ(retry.worker, 2);
  EXPECT_EQ(retry.jobs, std::vector<int>{2});
  EXPECT_EQ(retry.chunk, 0);
}

TEST(SchedulerTest, AJobIsGivenUpWithItsReasonAfterTwoRetriesAndTheRestGoesOn) {
  Scheduler scheduler(matrix(1, 2, 3, true), {.max_group = 1});
  auto commands = scheduler.handle(WorkerJoined{1}, 0);
  int tries = 0;
  std::vector<GiveUp> given_up;
  for (double now = 1; !scheduler.finished(); now += 1) {
    const auto tiles = only<AssignTile>(commands);
    ASSERT_EQ(tiles.size(), 1U);
    tries += tiles[0].jobs[0] == 0;
    commands = scheduler.handle(
        tiles[0].jobs[0] == 0 ? failure(tiles[0], "bad checkpoint") : answer(tiles[0]), now);
    for (const GiveUp& one : only<GiveUp>(commands)) given_up.push_back(one);
  }
  EXPECT_EQ(tries, 3);
  ASSERT_EQ(given_up.size(), 1U);
  EXPECT_EQ(given_up[0].job, 0);
  EXPECT_EQ(given_up[0].reason, "bad checkpoint");
  EXPECT_EQ(only<Finished>(commands).at(0).reason, FinishReason::kComplete);
}

TEST(SchedulerTest, ASilentWorkerIsLostAndItsTaskGoesToAnother) {
  Scheduler scheduler(matrix(1, 1, 1, true), kNoRepeats);
  scheduler.handle(WorkerJoined{1}, 0);
  scheduler.handle(WorkerJoined{2}, 0);
  scheduler.handle(Heartbeat{2}, 9);
  EXPECT_TRUE(scheduler.handle(Tick{}, 9.5).empty());
  const auto commands = scheduler.handle(Tick{}, 10.5);
  ASSERT_EQ(only<DropWorker>(commands).size(), 1U);
  EXPECT_EQ(only<DropWorker>(commands)[0].worker, 1);
  ASSERT_EQ(only<AssignTile>(commands).size(), 1U);
  EXPECT_EQ(only<AssignTile>(commands)[0].worker, 2);
}

TEST(SchedulerTest, AHangingTaskLosesItsWorkerThoughItsHeartGoesOn) {
  Scheduler scheduler(matrix(1, 1, 1, true), {.heartbeat_timeout_s = 10, .task_limit_s = 100});
  scheduler.handle(WorkerJoined{1}, 0);
  for (double now = 5; now < 100; now += 5)
    EXPECT_TRUE(scheduler.handle(Heartbeat{1}, now).empty());
  const auto dropped = only<DropWorker>(scheduler.handle(Tick{}, 101));
  ASSERT_EQ(dropped.size(), 1U);
  EXPECT_NE(dropped[0].why.find("limit"), std::string::npos);
}

TEST(SchedulerTest, TheLateAnswerOfALostWorkerCountsOnce) {
  Scheduler scheduler(matrix(1, 1, 1, true), kNoRepeats);
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  scheduler.handle(WorkerJoined{2}, 9);
  const auto again = only<AssignTile>(scheduler.handle(Tick{}, 11)).at(0);
  auto commands = scheduler.handle(answer(tile), 12);
  EXPECT_EQ(only<AcceptCell>(commands).size(), 1U);
  EXPECT_EQ(only<Finished>(commands).size(), 1U);
  commands = scheduler.handle(answer(again), 13);
  EXPECT_TRUE(commands.empty());
}

TEST(SchedulerTest, DifferentAnswersToOneCellAreAContradiction) {
  Scheduler scheduler(matrix(1, 1, 1, true), kNoRepeats);
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  scheduler.handle(WorkerJoined{2}, 9);
  const auto again = only<AssignTile>(scheduler.handle(Tick{}, 11)).at(0);
  scheduler.handle(answer(tile), 12);
  TileDone other = answer(again);
  other.answers[0].fingerprint = 8;
  const auto found = only<Contradiction>(scheduler.handle(other, 13));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].first_worker, 1);
  EXPECT_EQ(found[0].second_worker, 2);
}

TEST(SchedulerTest, AWorkerWhoseFailuresSucceedElsewhereIsDropped) {
  Scheduler scheduler(matrix(1, 20, 1, true), {.max_group = 1});
  std::map<int, AssignTile> running;
  std::vector<DropWorker> dropped;
  const auto take = [&](const std::vector<Command>& commands) {
    for (const AssignTile& tile : only<AssignTile>(commands)) running[tile.worker] = tile;
    for (const DropWorker& one : only<DropWorker>(commands)) dropped.push_back(one);
  };
  take(scheduler.handle(WorkerJoined{1}, 0));
  take(scheduler.handle(WorkerJoined{2}, 0));
  for (double now = 1; !scheduler.finished() && now < 100; now += 1) {
    for (const int worker : {1, 2}) {
      if (!running.contains(worker)) continue;
      const AssignTile tile = running[worker];
      running.erase(worker);
      take(scheduler.handle(worker == 1 ? failure(tile, "broken GPU") : answer(tile), now));
    }
  }
  EXPECT_TRUE(scheduler.finished());
  ASSERT_EQ(dropped.size(), 1U);
  EXPECT_EQ(dropped[0].worker, 1);
  EXPECT_TRUE(only<AssignTile>(scheduler.handle(WorkerJoined{1}, 200)).empty());
}

// The worker's child died.
TaskFailed death(const AssignTile& tile) {
  return {tile.worker, tile.task, "SIGSEGV", FailureKind::kDied};
}

TEST(SchedulerTest, AfterTheDeathOfAChildTheJobsOfItsTileAreTriedAloneUntilTheOneToBlameIsFound) {
  Scheduler scheduler(matrix(1, 4, 3, true), {});
  const auto warm = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  auto commands = scheduler.handle(answer(warm), 1);
  ASSERT_EQ(only<AssignTile>(commands).at(0).jobs, (std::vector<int>{1, 2, 3}));
  int deaths_of_several = 0;
  int deaths_alone = 0;
  std::vector<GiveUp> given_up;
  for (double now = 2; !scheduler.finished(); now += 1) {
    const auto tiles = only<AssignTile>(commands);
    ASSERT_EQ(tiles.size(), 1U);
    const std::vector<int>& jobs = tiles[0].jobs;
    const bool kills = std::find(jobs.begin(), jobs.end(), 2) != jobs.end();
    if (kills) ++(jobs.size() > 1 ? deaths_of_several : deaths_alone);
    commands =
        kills ? scheduler.handle(death(tiles[0]), now) : scheduler.handle(answer(tiles[0]), now);
    for (const GiveUp& one : only<GiveUp>(commands)) given_up.push_back(one);
  }
  EXPECT_EQ(deaths_of_several, 1);
  EXPECT_EQ(deaths_alone, 3);
  ASSERT_EQ(given_up.size(), 1U);
  EXPECT_EQ(given_up[0].job, 2);
}

TEST(SchedulerTest, AWorkerWhoseChildrenAlwaysDieIsDroppedAndNoJobIsGivenUp) {
  Scheduler scheduler(matrix(1, 10, 20, true), {});
  std::map<int, AssignTile> running;
  std::vector<DropWorker> dropped;
  const auto take = [&](const std::vector<Command>& commands) {
    for (const AssignTile& tile : only<AssignTile>(commands)) running[tile.worker] = tile;
    for (const DropWorker& one : only<DropWorker>(commands)) dropped.push_back(one);
    EXPECT_TRUE(only<GiveUp>(commands).empty());
  };
  take(scheduler.handle(WorkerJoined{1}, 0));
  take(scheduler.handle(WorkerJoined{2}, 0));
  for (double now = 1; !scheduler.finished() && now < 500; now += 1) {
    for (const int worker : {1, 2}) {
      if (!running.contains(worker)) continue;
      const AssignTile tile = running[worker];
      running.erase(worker);
      const Event event = worker == 1 ? Event(death(tile)) : Event(answer(tile));
      take(scheduler.handle(event, now));
    }
  }
  EXPECT_TRUE(scheduler.finished());
  ASSERT_EQ(dropped.size(), 1U);
  EXPECT_EQ(dropped[0].worker, 1);
}

TEST(SchedulerTest, WhereMemoryDidNotSufficeTheWorkerGetsHalfAsManyJobsATile) {
  Scheduler scheduler(matrix(1, 9, 20, true), {});
  auto commands =
      scheduler.handle(answer(only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0)), 1);
  const auto full = only<AssignTile>(commands).at(0);
  ASSERT_EQ(full.jobs.size(), 8U);
  commands = scheduler.handle(TaskFailed{1, full.task, "no memory", FailureKind::kOutOfMemory}, 2);
  EXPECT_TRUE(only<GiveUp>(commands).empty());
  std::size_t largest = 0;
  for (double now = 3; !scheduler.finished(); now += 1) {
    const auto tile = only<AssignTile>(commands).at(0);
    largest = std::max(largest, tile.jobs.size());
    commands = scheduler.handle(answer(tile), now);
  }
  EXPECT_EQ(largest, 4U);
}

TEST(SchedulerTest, AWorkerThatCannotWorkIsDroppedAtOnceAndItsJobIsNotCharged) {
  Scheduler scheduler(matrix(1, 1, 1, true), {.max_retries = 0});
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  const auto commands = scheduler.handle(
      TaskFailed{1, tile.task, "no process could be started", FailureKind::kWorkerUnusable}, 1);
  EXPECT_TRUE(only<GiveUp>(commands).empty());
  ASSERT_EQ(only<DropWorker>(commands).size(), 1U);
  EXPECT_TRUE(only<DropWorker>(commands)[0].for_good);
  EXPECT_EQ(only<AssignTile>(scheduler.handle(WorkerJoined{2}, 2)).at(0).jobs, tile.jobs);
}

TEST(SchedulerTest, DrainWaitsForWhatRunsAndHandsOutNothing) {
  Scheduler scheduler(matrix(1, 2, 5, true), {});
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  EXPECT_TRUE(scheduler.handle(Drain{}, 1).empty());
  const auto commands = scheduler.handle(answer(tile), 2);
  EXPECT_EQ(only<AcceptCell>(commands).size(), 1U);
  EXPECT_TRUE(only<AssignTile>(commands).empty());
  ASSERT_EQ(only<Finished>(commands).size(), 1U);
  EXPECT_EQ(only<Finished>(commands)[0].reason, FinishReason::kDrained);
}

TEST(SchedulerTest, PauseHoldsWorkBackUntilItIsLifted) {
  Scheduler scheduler(matrix(1, 2, 5, true), {});
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  scheduler.handle(Pause{true}, 1);
  EXPECT_TRUE(only<AssignTile>(scheduler.handle(answer(tile), 2)).empty());
  EXPECT_FALSE(scheduler.finished());
  EXPECT_EQ(only<AssignTile>(scheduler.handle(Pause{false}, 3)).size(), 1U);
}

TEST(SchedulerTest, MaxFailuresStopsTheSweep) {
  Scheduler scheduler(matrix(1, 5, 1, true), {.max_group = 1, .max_retries = 0, .max_failures = 2});
  auto commands = scheduler.handle(WorkerJoined{1}, 0);
  for (int tries = 1; tries <= 2; ++tries) {
    const auto tiles = only<AssignTile>(commands);
    ASSERT_EQ(tiles.size(), 1U);
    commands = scheduler.handle(failure(tiles[0], "no"), tries);
  }
  EXPECT_TRUE(only<AssignTile>(commands).empty());
  ASSERT_EQ(only<Finished>(commands).size(), 1U);
  EXPECT_EQ(only<Finished>(commands)[0].reason, FinishReason::kTooManyFailures);
}

TEST(SchedulerTest, WithoutWorkersItEndsAfterTheTimeout) {
  Scheduler scheduler(matrix(1, 1, 1, true), {.heartbeat_timeout_s = 10});
  scheduler.handle(WorkerJoined{1}, 0);
  scheduler.handle(WorkerLost{1, "the connection broke"}, 1);
  EXPECT_FALSE(scheduler.finished());
  const auto finished = only<Finished>(scheduler.handle(Tick{}, 12));
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished[0].reason, FinishReason::kNoWorkers);
}

TEST(SchedulerTest, NobodyIsWaitedForWhereAllWorkersAreDroppedForGood) {
  Scheduler scheduler(matrix(1, 1, 2, true), {.heartbeat_timeout_s = 60, .num_workers = 3});
  scheduler.handle(WorkerRefused{3}, 0);
  auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  scheduler.handle(TaskFailed{1, tile.task, "no", FailureKind::kWorkerUnusable}, 1);
  EXPECT_FALSE(scheduler.finished()) << "worker 2 may still join";
  tile = only<AssignTile>(scheduler.handle(WorkerJoined{2}, 2)).at(0);
  const auto finished = only<Finished>(
      scheduler.handle(TaskFailed{2, tile.task, "no", FailureKind::kWorkerUnusable}, 3));
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished[0].reason, FinishReason::kNoWorkers);
}

TEST(SchedulerTest, AWorkerThatWasLostIsWaitedForWhereTheOthersAreDroppedForGood) {
  Scheduler scheduler(matrix(1, 1, 2, true), {.heartbeat_timeout_s = 60, .num_workers = 2});
  const auto tile = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  scheduler.handle(WorkerJoined{2}, 0);
  scheduler.handle(WorkerLost{2, "silent"}, 100);
  scheduler.handle(TaskFailed{1, tile.task, "no", FailureKind::kWorkerUnusable}, 110);
  scheduler.handle(Tick{}, 159);
  EXPECT_FALSE(scheduler.finished());
  scheduler.handle(Tick{}, 160);
  EXPECT_TRUE(scheduler.finished());
}

TEST(SchedulerTest, WorkersThatAreHeardOfAreWaitedForBeforeTheyJoin) {
  Scheduler scheduler(matrix(1, 1, 2, true), {.heartbeat_timeout_s = 60, .num_workers = 1});
  for (int now = 0; now < 300; now += 50) {
    scheduler.handle(Heartbeat{1}, now);
    scheduler.handle(Tick{}, now + 45);
    ASSERT_FALSE(scheduler.finished()) << now;
  }
  scheduler.handle(Tick{}, 310);
  EXPECT_TRUE(scheduler.finished());
}

TEST(SchedulerTest, ALostWorkerThatIsHeardOfIsWaitedForNoLongerThanItsTaskMayTake) {
  Scheduler scheduler(matrix(1, 1, 2, true), {.heartbeat_timeout_s = 60, .num_workers = 1});
  ASSERT_EQ(only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).size(), 1U);
  scheduler.handle(Tick{}, 60);  // silent: lost
  double now = 60;
  for (; now < 1e6 && !scheduler.finished(); now += 10) {
    scheduler.handle(Heartbeat{1}, now);
    scheduler.handle(Tick{}, now);
  }
  EXPECT_GT(now, 150) << "it is there";
  EXPECT_LT(now, 1e6) << "it does not come to an end";
}

TEST(SchedulerTest, AnIdleWorkerRepeatsTheSlowestTileAndTheFirstAnswerCounts) {
  Scheduler scheduler(matrix(1, 1, 1, true), {.repeat_slow_tiles = true});
  const auto slow = only<AssignTile>(scheduler.handle(WorkerJoined{1}, 0)).at(0);
  EXPECT_TRUE(only<AssignTile>(scheduler.handle(WorkerJoined{2}, 0.5)).empty());
  const auto repeated = only<AssignTile>(scheduler.handle(Tick{}, 5));
  ASSERT_EQ(repeated.size(), 1U);
  EXPECT_EQ(repeated[0].worker, 2);
  const auto commands = scheduler.handle(answer(repeated[0]), 6);
  EXPECT_EQ(only<AcceptCell>(commands).size(), 1U);
  EXPECT_EQ(only<Finished>(commands).size(), 1U);
  EXPECT_TRUE(scheduler.handle(answer(slow), 7).empty());
}

TEST(SchedulerTest, AFastWorkerRepeatsWhatASlowOneWouldFinishLater) {
  Scheduler scheduler(matrix(1, 1, 30, true), {});
  std::map<int, AssignTile> running;
  std::map<int, double> ends{{1, 0}, {2, 0}};
  const auto take = [&](const std::vector<Command>& commands, double now) {
    for (const AssignTile& tile : only<AssignTile>(commands)) {
      running[tile.worker] = tile;
      ends[tile.worker] = now + (tile.worker == 1 ? 1 : 20);
    }
  };
  take(scheduler.handle(WorkerJoined{1}, 0), 0);
  take(scheduler.handle(WorkerJoined{2}, 0), 0);
  double now = 0;
  while (!scheduler.finished()) {
    const int next = ends[1] <= ends[2] ? 1 : 2;
    now = ends[next];
    ends[next] = 1e9;
    ASSERT_LT(now, 100);
    take(scheduler.handle(answer(running[next], next == 1 ? 1 : 20), now), now);
    if (!scheduler.finished()) take(scheduler.handle(Tick{}, now), now);
  }
  EXPECT_LT(now, 35) << "the slow worker's last tile takes until 40";
}

TEST(SchedulerTest, OfAChunkTheLongestJobsComeFirst) {
  Scheduler scheduler(matrix(1, 3, 3, true), {.max_group = 1});
  std::vector<int> order;
  auto commands = scheduler.handle(WorkerJoined{1}, 0);
  for (double now = 1; !scheduler.finished(); now += 1) {
    const AssignTile tile = only<AssignTile>(commands).at(0);
    order.push_back(tile.jobs[0]);
    commands = scheduler.handle(answer(tile, 1 + tile.jobs[0]), now);
  }
  EXPECT_EQ(std::vector<int>(order.begin() + 3, order.begin() + 6), (std::vector<int>{2, 1, 0}));
}

TEST(SchedulerTest, InputOutOfRangeIsRefused) {
  SchedulerInput input = matrix(1, 1, 2);
  input.jobs[0].chunks = {0, 2};
  EXPECT_THROW(Scheduler(input, {}), std::invalid_argument);
  input.jobs[0].chunks = {1, 1};
  EXPECT_THROW(Scheduler(input, {}), std::invalid_argument);
  input.jobs[0].stream = 1;
  EXPECT_THROW(Scheduler(input, {}), std::invalid_argument);
}

}  // namespace
}  // namespace squant::runner
