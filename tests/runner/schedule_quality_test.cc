// How good the schedule is, on simulated clusters: simulated time only, so the figures are exact.
#include <gtest/gtest.h>

#include <tuple>

#include "runner/schedule_simulation.h"

namespace squant::runner {
namespace {

SimulatedCluster cluster_of(int workers) {
  SimulatedCluster cluster;
  cluster.num_workers = workers;
  cluster.decode_s = 1 / (4 * 540.0);
  cluster.cached_s = 1 / 20000.0;
  cluster.deaths_per_hour = 0.01;
  return cluster;
}

double excess(const ScheduleOutcome& outcome) { return outcome.makespan_s / outcome.ideal_s - 1; }

TEST(ScheduleQuality, AThousandWorkersComeWithinFivePercentOfTheIdeal) {
  const ScheduleOutcome outcome =
      simulate_schedule(full_matrix(WorkerKind::kFourCores), cluster_of(1000), {});
  ASSERT_TRUE(outcome.complete);
  EXPECT_LT(excess(outcome), 0.05);
}

TEST(ScheduleQuality, AHundredWorkersOfTwoSpeedsComeWithinTwoPercentOfTheIdeal) {
  SimulatedCluster cluster = cluster_of(100);
  cluster.slow_share = 0.1;
  cluster.slow_factor = 4;
  const ScheduleOutcome outcome =
      simulate_schedule(full_matrix(WorkerKind::kFourCores), cluster, {});
  ASSERT_TRUE(outcome.complete);
  EXPECT_LT(excess(outcome), 0.02);
}

TEST(ScheduleQuality, FewWorkersDecodeEveryChunkAboutOnce) {
  const ScheduleOutcome outcome =
      simulate_schedule(full_matrix(WorkerKind::kFourCores), cluster_of(10), {});
  ASSERT_TRUE(outcome.complete);
  EXPECT_LT(outcome.loads_per_chunk, 1.05);
  EXPECT_LT(excess(outcome), 0.01);
}

TEST(ScheduleQuality, AStragglerAtTheEndIsRepeatedByIdleWorkers) {
  SimulatedCluster cluster = cluster_of(20);
  cluster.deaths_per_hour = 0;
  cluster.slow_share = 0.05;
  cluster.slow_factor = 50;
  SimulatedWork work = full_matrix(WorkerKind::kFourCores);
  work.num_images = 1000;
  SchedulerOptions without;
  without.repeat_slow_tiles = false;
  const ScheduleOutcome patient = simulate_schedule(work, cluster, without);
  const ScheduleOutcome repeating = simulate_schedule(work, cluster, {});
  ASSERT_TRUE(patient.complete && repeating.complete);
  EXPECT_GT(repeating.num_repeated, 0);
  EXPECT_LT(repeating.makespan_s, 0.9 * patient.makespan_s);
}

TEST(ScheduleQuality, TheSameSeedGivesTheSameSchedule) {
  SimulatedWork work = full_matrix(WorkerKind::kGpu);
  work.num_images = 5000;
  const auto figures = [&] {
    const ScheduleOutcome outcome = simulate_schedule(work, cluster_of(30), {});
    return std::tuple(outcome.makespan_s, outcome.num_messages, outcome.num_commits);
  };
  EXPECT_EQ(figures(), figures());
}

}  // namespace
}  // namespace squant::runner
