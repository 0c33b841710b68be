// How the scheduler gives work away. Whose turn it is: here; what is best by cost:
// scheduler_choices.cc.
#include <utility>

#include "runner/scheduler.h"

namespace squant::runner {
void Scheduler::dispatch() {
  if (draining_ || paused_ || too_many_failures_ || finished_) return;
  auto next = idle_.begin();
  while (next != idle_.end() && has_work()) assign(*next++);
  if (!options_.repeat_slow_tiles || preparations_left_ > 0) return;
  next = idle_.begin();
  while (next != idle_.end() && assign_repeat(*next)) next = idle_.begin();
}

bool Scheduler::assign(int worker) {
  return assign_retry(worker) || assign_pressing(worker) || assign_loaded(worker) ||
         assign_preparation(worker) || assign_open(worker);
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
  if (num_open_ == 0) return false;
  const OpenKey key = best_open_chunk();
  start_tile(worker, key.stream, key.chunk, take_group(worker, key.stream, key.chunk));
  return true;
}

bool Scheduler::assign_pressing(int worker) {
  const CellKey pressing = pressing_cell(worker);
  if (pressing.job == kNone) return false;
  set_ready(pressing.job, pressing.chunk, false);
  start_tile(worker, job_state(pressing.job).stream, pressing.chunk, {pressing.job});
  return true;
}

bool Scheduler::assign_repeat(int worker) {
  const auto found = tasks_.find(worth_repeating(worker));
  if (found == tasks_.end()) return false;
  const Task& task = found->second;
  running_tiles_.erase({task.expected_end, found->first});
  std::vector<int> jobs;
  for (const int job : task.jobs) {
    if (!cell(job, task.chunk).done && !job_state(job).given_up) jobs.push_back(job);
  }
  if (jobs.empty()) return true;
  const int stream = task.stream;
  const int chunk = task.chunk;
  start_tile(worker, stream, chunk, std::move(jobs));
  const TaskId repetition = workers_[worker].task;
  running_tiles_.erase({tasks_.at(repetition).expected_end, repetition});  // is not repeated
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
  const double duration = expected_s(worker, jobs, chunk_state(stream, chunk).images);
  Task task{.worker = worker, .stream = stream, .chunk = chunk, .jobs = jobs, .started = now_};
  task.expected_end = now_ + (duration > 0 ? duration : options_.tile_target_s);
  const double expected_end = task.expected_end;
  const TaskId id = start(worker, std::move(task));
  running_tiles_.insert({expected_end, id});
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
