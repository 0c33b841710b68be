// The scheduler's choices: which idle worker gets what.
#include <algorithm>
#include <utility>

#include "runner/scheduler.h"

namespace squant::runner {
namespace {

constexpr double kMinTileTarget = 0.1;  // seconds: below, messages cost more than balance gains
constexpr double kOverrunFactor = 20;   // a task that takes so many times the expected time hangs

}  // namespace

void Scheduler::dispatch() {
  if (draining_ || paused_ || too_many_failures_ || finished_) return;
  auto next = idle_.begin();
  while (next != idle_.end() && has_work()) assign(*next++);
  if (!options_.repeat_slow_tiles || preparations_left_ > 0) return;
  next = idle_.begin();
  while (next != idle_.end() && assign_repeat(*next)) next = idle_.begin();
}

bool Scheduler::assign(int worker) {
  return assign_retry(worker) || assign_loaded(worker) || assign_preparation(worker) ||
         assign_open(worker);
}

bool Scheduler::assign_retry(int worker) {
  auto queue = retries_.begin();
  while (queue != retries_.end()) {
    if (queue->first == worker && num_alive_ > 1) {
      ++queue;
      continue;
    }
    while (!queue->second.empty()) {
      const RetryCell retry = queue->second.front();
      queue->second.pop_front();
      const Cell& again = cell(retry.job, retry.chunk);
      if (again.done || again.running > 0 || job_state(retry.job).given_up) continue;
      if (queue->second.empty()) retries_.erase(queue);
      if (retry.chunk == kPreparation) {
        start_preparation(worker, retry.job);
      } else {
        start_tile(worker, job_state(retry.job).stream, retry.chunk, {retry.job});
      }
      return true;
    }
    queue = retries_.erase(queue);
  }
  return false;
}

bool Scheduler::assign_loaded(int worker) {
  const WorkerState& state = workers_[worker];
  if (state.chunk == kNone || chunk_state(state.stream, state.chunk).ready.empty()) return false;
  start_tile(worker, state.stream, state.chunk, take_group(worker, state.stream, state.chunk));
  return true;
}

bool Scheduler::assign_preparation(int worker) {
  if (open_models_.empty()) return false;
  const int last = workers_[worker].model;
  const auto same = models_.find(last);
  const int model =
      same != models_.end() && !same->second.jobs.empty() ? last : open_models_.begin()->second;
  const int job = *models_[model].jobs.begin();
  change_model(model, [&](ModelQueue& changed) { changed.jobs.erase(job); });
  start_preparation(worker, job);
  return true;
}

bool Scheduler::assign_open(int worker) {
  if (open_.empty()) return false;
  const OpenKey key = *open_.begin();
  start_tile(worker, key.stream, key.chunk, take_group(worker, key.stream, key.chunk));
  return true;
}

bool Scheduler::assign_repeat(int worker) {
  if (running_tiles_.empty()) return false;
  const auto [started, id] = *running_tiles_.begin();
  if (now_ - started < options_.tile_target_s) return false;
  running_tiles_.erase(running_tiles_.begin());
  const Task& task = tasks_.at(id);
  std::vector<int> jobs;
  for (const int job : task.jobs) {
    if (!cell(job, task.chunk).done && !job_state(job).given_up) jobs.push_back(job);
  }
  if (!jobs.empty()) {
    const int stream = task.stream;
    const int chunk = task.chunk;
    start_tile(worker, stream, chunk, std::move(jobs));
    running_tiles_.erase({now_, workers_[worker].task});  // a repetition is not repeated
  }
  return true;
}

void Scheduler::start_preparation(int worker, int job) {
  WorkerState& state = workers_[worker];
  const int model = job_state(job).model;
  if (state.model != model) {
    if (state.model != kNone)
      change_model(state.model, [](ModelQueue& changed) { --changed.workers; });
    change_model(model, [](ModelQueue& changed) { ++changed.workers; });
    state.model = model;
  }
  const TaskId id = start(worker, Task{.worker = worker, .jobs = {job}, .started = now_});
  commands_.emplace_back(AssignPreparation{worker, id, job});
}

void Scheduler::start_tile(int worker, int stream, int chunk, std::vector<int> jobs) {
  load_chunk(worker, stream, chunk);
  const TaskId id = start(
      worker,
      Task{.worker = worker, .stream = stream, .chunk = chunk, .jobs = jobs, .started = now_});
  running_tiles_.insert({now_, id});
  commands_.emplace_back(AssignTile{worker, id, stream, chunk, std::move(jobs)});
}

TaskId Scheduler::start(int worker, Task task) {
  for (const int job : task.jobs) ++cell(job, task.chunk).running;
  idle_.erase(worker);
  const TaskId id = next_task_++;
  WorkerState& state = workers_[worker];
  state.task = id;
  state.deadline = now_ + task_limit_s(worker, task);
  set_watch(worker);
  tasks_.emplace(id, std::move(task));
  return id;
}

std::vector<int> Scheduler::take_group(int worker, int stream, int chunk) {
  std::vector<int> group;
  const WorkerState& state = workers_[worker];
  const std::size_t max_group =
      state.on_probation ? 1 : std::min(options_.max_group, state.max_group);
  change_chunk(stream, chunk, [&](ChunkState& changed) {
    double expected = 0;
    const double target = target_s();
    while (!changed.ready.empty() && group.size() < max_group) {
      const int job = *changed.ready.begin();
      const bool suspect = job_state(job).suspect;
      if (suspect && !group.empty()) break;
      const std::optional<double> image_s = costs_.expected_s(job, worker);
      expected += image_s.value_or(target) * static_cast<double>(changed.images);
      if (!group.empty() && expected > target) break;
      changed.ready.erase(changed.ready.begin());
      group.push_back(job);
      if (suspect) break;
    }
  });
  return group;
}

double Scheduler::task_limit_s(int worker, const Task& task) const {
  if (task.chunk == kPreparation) return options_.task_limit_s;
  const ChunkState& chunk =
      streams_[static_cast<std::size_t>(task.stream)][static_cast<std::size_t>(task.chunk)];
  double expected = 0;
  for (const int job : task.jobs) {
    expected += costs_.expected_s(job, worker).value_or(0) * static_cast<double>(chunk.images);
  }
  return std::max(options_.task_limit_s, kOverrunFactor * expected);
}

double Scheduler::target_s() const {
  const double share =
      num_alive_ > 0 ? costs_.remaining_s() / (2 * static_cast<double>(num_alive_)) : 0;
  return share == 0 ? options_.tile_target_s
                    : std::clamp(share, std::min(kMinTileTarget, options_.tile_target_s),
                                 options_.tile_target_s);
}

void Scheduler::load_chunk(int worker, int stream, int chunk) {
  WorkerState& state = workers_[worker];
  if (state.stream == stream && state.chunk == chunk) return;
  if (state.chunk != kNone)
    change_chunk(state.stream, state.chunk, [](ChunkState& changed) { --changed.holders; });
  if (chunk != kNone) change_chunk(stream, chunk, [](ChunkState& changed) { ++changed.holders; });
  state.stream = stream;
  state.chunk = chunk;
}

}  // namespace squant::runner
