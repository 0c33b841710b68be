// The scheduler's choices that depend on costs.
#include <algorithm>
#include <utility>

#include "runner/scheduler.h"

namespace squant::runner {
namespace {

constexpr double kMinTileTarget = 0.1;  // seconds: below, messages cost more than balance gains
constexpr double kOverrunFactor = 20;   // a task that takes so many times the expected time hangs
constexpr double kSuspectFactor = 1.5;  // ... and so many times: another worker may repeat it
constexpr double kRepeatGain = 1.25;    // a repetition is worth it if it takes so much less time
constexpr double kUrgentShare = 0.2;    // of the time left: a cell that takes longer cannot wait
constexpr double kLoadedBonus = 1.5;    // ... nor one so much longer than those at hand
constexpr double kFittingShare = 0.7;   // ... and so much is left for a slow worker, to be safe
constexpr double kSlowFactor = 1.25;    // times the average worker's time: a slow worker

}  // namespace

double Scheduler::time_left_s() const { return num_alive_ > 0 ? costs_.remaining_s() / speed_ : 0; }

void Scheduler::measured(int worker, int job, std::int64_t images, double seconds) {
  const bool counts = alive(worker);
  if (counts) speed_ -= 1 / costs_.slowness(worker);
  costs_.measured(job, worker, images, seconds);
  if (counts) speed_ += 1 / costs_.slowness(worker);
}

// What a job costs and how slow a worker is are known up to a common factor alone.
bool Scheduler::is_slow(int worker) const {
  return costs_.slowness(worker) * speed_ > kSlowFactor * static_cast<double>(num_alive_);
}

// 0 where nothing was measured.
double Scheduler::expected_s(int worker, const std::vector<int>& jobs, std::int64_t images) const {
  double seconds = 0;
  for (const int job : jobs) seconds += costs_.expected_s(job, worker).value_or(0);
  return seconds * static_cast<double>(images);
}

double Scheduler::task_limit_s(int worker, const Task& task) const {
  if (task.chunk == kPreparation) return options_.task_limit_s;
  const std::int64_t images = chunk_state(task.stream, task.chunk).images;
  return std::max(options_.task_limit_s, kOverrunFactor * expected_s(worker, task.jobs, images));
}

double Scheduler::target_s() const {
  const double share = time_left_s() / 2;
  return share == 0 ? options_.tile_target_s
                    : std::clamp(share, std::min(kMinTileTarget, options_.tile_target_s),
                                 options_.tile_target_s);
}

// Where the end is near, chunks come second. A worker begins the longest cell there is, if that
// could hold up the end; a slow worker, who would hold it up, the longest that it can finish by
// then, else the shortest.
Scheduler::CellKey Scheduler::pressing_cell(int worker) const {
  const double left = time_left_s();
  if (left == 0 || num_open_ == 0 || num_alive_ < 2) return {};
  CellCost longest, shortest, fitting;
  for (std::size_t index = 0; index < jobs_.size(); ++index) {
    if (jobs_[index].ready.empty()) continue;
    const CellCost cell = first_ready_cell(worker, static_cast<int>(index));
    if (cell.seconds > longest.seconds) longest = cell;
    if (shortest.job == kNone || cell.seconds < shortest.seconds) shortest = cell;
    if (cell.seconds <= kFittingShare * left && cell.seconds > fitting.seconds) fitting = cell;
  }
  if (!is_slow(worker)) {
    const bool waits = longest.seconds > kUrgentShare * left &&
                       longest.seconds > kLoadedBonus * longest_loaded_s(worker);
    return waits ? in_loaded_chunk(worker, longest) : CellKey{};
  }
  if (longest.seconds <= kFittingShare * left) return {};
  return in_loaded_chunk(worker, fitting.job == kNone ? shortest : fitting);
}

Scheduler::CellCost Scheduler::first_ready_cell(int worker, int job) const {
  const JobState& state = job_state(job);
  const int chunk = *state.ready.begin();
  return {{job, chunk}, expected_s(worker, {job}, chunk_state(state.stream, chunk).images)};
}

double Scheduler::longest_loaded_s(int worker) const {
  const WorkerState& state = workers_.at(worker);
  if (state.chunk == kNone) return 0;
  const ChunkState& chunk = chunk_state(state.stream, state.chunk);
  double longest = 0;
  for (const int job : chunk.ready) {
    longest = std::max(longest, expected_s(worker, {job}, chunk.images));
  }
  return longest;
}

Scheduler::CellKey Scheduler::in_loaded_chunk(int worker, CellKey cell) const {
  const WorkerState& state = workers_.at(worker);
  const JobState& job = job_state(cell.job);
  if (state.stream == job.stream && job.ready.contains(state.chunk)) cell.chunk = state.chunk;
  return cell;
}

Scheduler::OpenKey Scheduler::best_open_chunk() const {
  OpenKey best;
  double most_s = -1;
  for (const std::set<OpenKey>& open : open_) {
    if (open.empty()) continue;
    const OpenKey& first = *open.begin();
    if (!first.held) {
      const bool earlier =
          best.chunk == kNone || best.held ||
          std::pair(first.chunk, first.stream) < std::pair(best.chunk, best.stream);
      if (earlier) best = first;
      continue;
    }
    if (best.chunk != kNone && !best.held) continue;
    const ChunkState& chunk = chunk_state(first.stream, first.chunk);
    double seconds = 0;
    for (const int job : chunk.ready) seconds += costs_.image_s(job).value_or(1);
    seconds *= static_cast<double>(chunk.images) / (chunk.holders + 1);
    if (seconds > most_s) {
      most_s = seconds;
      best = first;
    }
  }
  return best;
}

// The chunk's ready jobs; equal ones as they are numbered.
std::vector<int> Scheduler::longest_first(int worker, const ChunkState& chunk) const {
  std::vector<std::pair<double, int>> order;
  for (const int job : chunk.ready) {
    order.emplace_back(-costs_.expected_s(job, worker).value_or(0), job);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> jobs;
  for (const auto& [less_seconds, job] : order) jobs.push_back(job);
  return jobs;
}

std::vector<int> Scheduler::take_group(int worker, int stream, int chunk) {
  const ChunkState& state = chunk_state(stream, chunk);
  const WorkerState& taker = workers_.at(worker);
  const std::size_t max_group =
      taker.on_probation ? 1 : std::min(options_.max_group, taker.max_group);
  std::vector<int> group;
  double expected = 0;
  for (const int job : longest_first(worker, state)) {
    const bool suspect = job_state(job).suspect;  // shares no tile
    if (suspect && !group.empty()) continue;
    expected += costs_.expected_s(job, worker).value_or(options_.tile_target_s) *
                static_cast<double>(state.images);
    if (!group.empty() && expected > target_s()) break;
    group.push_back(job);
    if (suspect || group.size() >= max_group) break;
  }
  for (const int job : group) set_ready(job, chunk, false);
  return group;
}

// The tile that is overdue, else the one that will end last, if this worker would end it sooner.
TaskId Scheduler::worth_repeating(int worker) const {
  if (running_tiles_.empty()) return 0;
  const TaskId first = running_tiles_.begin()->second;
  const Task& due = tasks_.at(first);
  const double expected = due.expected_end - due.started;
  if (now_ - due.started > kSuspectFactor * expected + options_.tile_target_s) return first;
  const TaskId last = running_tiles_.rbegin()->second;
  const Task& slow = tasks_.at(last);
  const double own = expected_s(worker, slow.jobs, chunk_state(slow.stream, slow.chunk).images);
  return own > 0 && kRepeatGain * own < slow.expected_end - now_ ? last : 0;
}

}  // namespace squant::runner
