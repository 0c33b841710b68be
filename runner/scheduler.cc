#include "runner/scheduler.h"

#include <algorithm>
#include <stdexcept>

namespace squant::runner {
namespace {

constexpr int kMaxStrikes = 3;  // failures that succeeded elsewhere

std::vector<int> models_of(const SchedulerInput& input) {
  std::vector<int> models;
  for (const SchedulerJob& job : input.jobs) models.push_back(job.model);
  return models;
}

}  // namespace

Scheduler::Scheduler(const SchedulerInput& input, const SchedulerOptions& options)
    : options_(options), costs_(models_of(input)) {
  for (const std::vector<std::int64_t>& chunks : input.streams) {
    std::vector<ChunkState>& stream = streams_.emplace_back();
    for (const std::int64_t images : chunks) stream.push_back({images, 0, {}});
  }
  open_.resize(streams_.size());
  for (std::size_t index = 0; index < input.jobs.size(); ++index) {
    const int job = static_cast<int>(index);
    const SchedulerJob& given = input.jobs[index];
    if (given.stream < 0 || static_cast<std::size_t>(given.stream) >= streams_.size()) {
      throw std::invalid_argument("Scheduler: job " + std::to_string(job) + " has no stream");
    }
    JobState& state = jobs_.emplace_back();
    state.stream = given.stream;
    state.model = given.model;
    state.preparation.wanted = !given.prepared;
    state.preparation.done = given.prepared;
    state.cells.resize(streams_[static_cast<std::size_t>(given.stream)].size());
    for (const int chunk : given.chunks) {
      if (chunk < 0 || static_cast<std::size_t>(chunk) >= state.cells.size() ||
          cell(job, chunk).wanted) {
        throw std::invalid_argument("Scheduler: job " + std::to_string(job) + " names chunk " +
                                    std::to_string(chunk) +
                                    ", which its stream does not have, or names it twice");
      }
      cell(job, chunk).wanted = true;
      costs_.add_remaining(job, chunk_state(given.stream, chunk).images);
    }
    state.cells_left = static_cast<std::int64_t>(given.chunks.size());
    work_left_ += state.cells_left;
    if (given.prepared) {
      for (const int chunk : given.chunks) set_ready(job, chunk, true);
    } else {
      ++work_left_;
      ++preparations_left_;
      change_model(given.model, [&](ModelQueue& changed) { changed.jobs.insert(job); });
    }
  }
}

std::vector<Command> Scheduler::handle(const Event& event, double now) {
  if (!began_) began_ = now;
  now_ = std::max(now_, now);
  commands_.clear();
  std::visit([this](const auto& one) { on(one); }, event);
  dispatch();
  finish_if_done();
  return std::move(commands_);
}

bool Scheduler::alive(int worker) const {
  const auto found = workers_.find(worker);
  return found != workers_.end() && found->second.alive;
}

std::optional<double> Scheduler::remaining_s() const {
  const double left = time_left_s();
  if (num_alive_ == 0 || (left == 0 && work_left_ > 0)) return std::nullopt;
  return left;
}

// --- events

void Scheduler::on(const WorkerJoined& event) {
  WorkerState& worker = workers_[event.worker];
  if (worker.banned) return;
  if (!worker.alive) {
    worker = WorkerState{.alive = true, .strikes = worker.strikes};
    ++num_alive_;
    speed_ += 1 / costs_.slowness(event.worker);
    idle_.insert(event.worker);
  }
  heard(worker, event.worker);
}

void Scheduler::on(const WorkerLost& event) { lose(event.worker, event.why); }

void Scheduler::on(const WorkerRefused& event) { workers_[event.worker].banned = true; }

void Scheduler::on(const Heartbeat& event) {
  WorkerState& worker = workers_[event.worker];
  if (worker.alive) {
    heard(worker, event.worker);
  } else if (!worker.banned && now_ < worker.deadline) {
    worker.may_come_since = now_;  // not where it still is at a task that takes too long
  }
}

void Scheduler::on(const PreparationDone& event) {
  const std::optional<Ended> ended = end_task(event.worker, event.task);
  if (!ended || ended->task.chunk != kPreparation) return;
  succeeded(event.worker, ended->task, ended->task.jobs.front());
  preparation_done(event.worker, event.task, ended->task.jobs.front());
}

void Scheduler::on(const TileDone& event) {
  const std::optional<Ended> ended = end_task(event.worker, event.task);
  if (!ended || ended->task.chunk == kPreparation) return;
  const Task& task = ended->task;
  const std::int64_t images = chunk_state(task.stream, task.chunk).images;
  for (std::size_t index = 0; index < task.jobs.size(); ++index) {
    const int job = task.jobs[index];
    const CellAnswer answer = index < event.answers.size()
                                  ? event.answers[index]
                                  : CellAnswer{.error = "the worker's answer leaves this job out"};
    if (answer.error.empty()) {
      measured(event.worker, job, images, answer.compute_s);
      succeeded(event.worker, task, job);
      cell_done(event.worker, job, task.chunk, index, answer.fingerprint);
    } else if (!ended->late) {
      cell_failed(event.worker, job, task.chunk, Charge::kJobAndWorker, answer.error);
    }
  }
}

void Scheduler::on(const TaskFailed& event) {
  const std::optional<Ended> ended = end_task(event.worker, event.task);
  if (!ended || ended->late) return;
  const Task& task = ended->task;
  WorkerState& worker = workers_[event.worker];
  if (event.kind == FailureKind::kDied) worker.on_probation = true;
  if (event.kind == FailureKind::kOutOfMemory) {
    worker.max_group = std::max<std::size_t>(1, std::min(worker.max_group, task.jobs.size()) / 2);
  }
  const bool unusable = event.kind == FailureKind::kWorkerUnusable;
  const bool alone = task.jobs.size() == 1 && !unusable;
  for (const int job : task.jobs) {
    JobState& state = job_state(job);
    if (event.kind == FailureKind::kDied) state.suspect = true;
    if (event.kind == FailureKind::kDied && alone) state.killed_on.insert(event.worker);
    cell_failed(event.worker, job, task.chunk, alone ? Charge::kJobAndWorker : Charge::kNobody,
                event.reason);
  }
  if (!unusable) return;
  worker.banned = true;
  lose(event.worker, event.reason);
}

void Scheduler::on(const Drain&) { draining_ = true; }

void Scheduler::on(const Pause& event) { paused_ = event.on; }

void Scheduler::on(const Tick&) {
  while (!watch_.empty() && watch_.begin()->first <= now_) {
    const int worker = watch_.begin()->second;
    const bool silent = now_ - workers_[worker].heard >= options_.heartbeat_timeout_s;
    lose(worker, silent ? "nothing was heard of it for " +
                              std::to_string(static_cast<int>(options_.heartbeat_timeout_s)) + " s"
                        : "its task took longer than the limit");
  }
}

// --- what events mean

Scheduler::Cell& Scheduler::cell(int job, int chunk) {
  JobState& state = job_state(job);
  return chunk == kPreparation ? state.preparation : state.cells[static_cast<std::size_t>(chunk)];
}

Scheduler::ChunkState& Scheduler::chunk_state(int stream, int chunk) {
  return streams_[static_cast<std::size_t>(stream)][static_cast<std::size_t>(chunk)];
}

const Scheduler::ChunkState& Scheduler::chunk_state(int stream, int chunk) const {
  return streams_[static_cast<std::size_t>(stream)][static_cast<std::size_t>(chunk)];
}

Scheduler::OpenKey Scheduler::open_key(int stream, int chunk, const ChunkState& state) {
  const double cells = static_cast<double>(state.ready.size()) * static_cast<double>(state.images);
  const bool held = state.holders > 0;
  return {held, held ? -cells / (state.holders + 1) : 0, chunk, stream};
}

void Scheduler::set_ready(int job, int chunk, bool ready) {
  JobState& state = job_state(job);
  if (ready) {
    state.ready.insert(chunk);
  } else {
    state.ready.erase(chunk);
  }
  change_chunk(state.stream, chunk, [&](ChunkState& changed) {
    if (ready) {
      changed.ready.insert(job);
    } else {
      changed.ready.erase(job);
    }
  });
}

void Scheduler::heard(WorkerState& state, int worker) {
  state.heard = now_;
  set_watch(worker);
}

void Scheduler::set_watch(int worker) {
  WorkerState& state = workers_[worker];
  watch_.erase({state.watched, worker});
  if (!state.alive) return;
  state.watched = std::min(state.heard + options_.heartbeat_timeout_s, state.deadline);
  watch_.insert({state.watched, worker});
}

std::optional<Scheduler::Ended> Scheduler::end_task(int worker, TaskId id) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return std::nullopt;
  Ended ended{found->second, found->second.worker == kNone};
  if (!ended.late && ended.task.worker != worker) return std::nullopt;
  tasks_.erase(found);
  if (ended.late) return ended;
  running_tiles_.erase({ended.task.expected_end, id});
  for (const int job : ended.task.jobs) --cell(job, ended.task.chunk).running;
  WorkerState& state = workers_[worker];
  state.task = 0;
  state.deadline = std::numeric_limits<double>::infinity();
  heard(state, worker);
  idle_.insert(worker);
  return ended;
}

void Scheduler::lose(int worker, const std::string& why) {
  const auto found = workers_.find(worker);
  if (found == workers_.end() || !found->second.alive) return;
  WorkerState& state = found->second;
  state.alive = false;
  set_watch(worker);
  idle_.erase(worker);
  load_chunk(worker, kNone, kNone);
  if (state.model != kNone)
    change_model(state.model, [](ModelQueue& changed) { --changed.workers; });
  state.model = kNone;
  if (!state.banned) state.may_come_since = now_;
  --num_alive_;
  speed_ -= 1 / costs_.slowness(worker);
  commands_.emplace_back(DropWorker{worker, why, state.banned});
  if (state.task == 0) return;
  Task& task = tasks_.at(state.task);
  running_tiles_.erase({task.expected_end, state.task});
  task.worker = kNone;
  state.task = 0;
  for (const int job : task.jobs) --cell(job, task.chunk).running;
  const Charge charge = task.jobs.size() == 1 ? Charge::kJob : Charge::kNobody;
  for (const int job : task.jobs) {
    if (!cell(job, task.chunk).done) {
      cell_failed(worker, job, task.chunk, charge,
                  "worker " + std::to_string(worker) + " was lost: " + why);
    }
  }
}

// What a job does alone tells whether it kills children, and a worker's success that it can work.
void Scheduler::succeeded(int worker, const Task& task, int job) {
  if (task.jobs.size() == 1) {
    job_state(job).suspect = false;
    job_state(job).killed_on.clear();
  }
  workers_[worker].on_probation = false;
}

void Scheduler::cell_failed(int worker, int job, int chunk, Charge charge,
                            const std::string& reason) {
  Cell& failed = cell(job, chunk);
  if (failed.done || job_state(job).given_up) return;
  if (charge != Charge::kNobody) ++failed.attempts;
  failed.worker = worker;
  failed.blames_worker = charge == Charge::kJobAndWorker;
  const auto killed_on = static_cast<int>(job_state(job).killed_on.size());
  if (std::max<int>(failed.attempts, killed_on) > options_.max_retries) {
    give_up(worker, job, reason);
    return;
  }
  commands_.emplace_back(TryFailed{worker, job, failed.attempts, reason});
  if (failed.running == 0) retries_[worker].push_back({job, chunk});
}

void Scheduler::give_up(int worker, int job, const std::string& reason) {
  JobState& state = job_state(job);
  state.given_up = true;
  work_left_ -= state.cells_left;
  for (std::size_t index = 0; index < state.cells.size(); ++index) {
    if (!state.cells[index].wanted || state.cells[index].done) continue;
    const int chunk = static_cast<int>(index);
    costs_.add_remaining(job, -chunk_state(state.stream, chunk).images);
    set_ready(job, chunk, false);
  }
  if (!state.preparation.done) {
    --work_left_;
    --preparations_left_;
    change_model(state.model, [&](ModelQueue& changed) { changed.jobs.erase(job); });
  }
  commands_.emplace_back(GiveUp{worker, job, reason});
  ++num_given_up_;
  too_many_failures_ = options_.max_failures > 0 && num_given_up_ >= options_.max_failures;
}

void Scheduler::preparation_done(int worker, TaskId task, int job) {
  JobState& state = job_state(job);
  if (state.preparation.done) return;
  const Cell before = state.preparation;
  state.preparation.done = true;
  commands_.emplace_back(AcceptPreparation{worker, task, job});
  blame(before, worker);
  if (state.given_up) return;
  --work_left_;
  --preparations_left_;
  // Where the answer of a lost worker came late, the job may stand in line to be prepared again.
  change_model(state.model, [&](ModelQueue& changed) { changed.jobs.erase(job); });
  for (std::size_t index = 0; index < state.cells.size(); ++index) {
    if (!state.cells[index].wanted) continue;
    set_ready(job, static_cast<int>(index), true);
  }
  if (state.cells_left == 0) commands_.emplace_back(JobFinished{job});
}

void Scheduler::cell_done(int worker, int job, int chunk, std::size_t index,
                          std::uint64_t fingerprint) {
  Cell& answered = cell(job, chunk);
  if (answered.done) {
    if (fingerprint != answered.fingerprint && fingerprint != 0 && answered.fingerprint != 0) {
      commands_.emplace_back(Contradiction{job, chunk, answered.worker, worker});
    }
    return;
  }
  const Cell before = answered;
  answered.done = true;
  answered.worker = worker;
  answered.fingerprint = fingerprint;
  commands_.emplace_back(AcceptCell{worker, job, chunk, index});
  blame(before, worker);
  JobState& state = job_state(job);
  if (state.given_up) return;
  costs_.add_remaining(job, -chunk_state(state.stream, chunk).images);
  --work_left_;
  --state.cells_left;
  if (state.cells_left == 0) commands_.emplace_back(JobFinished{job});
}

// What fails on one worker and succeeds on another was the first one's fault.
void Scheduler::blame(const Cell& cell, int worker_that_succeeded) {
  if (!cell.blames_worker || cell.worker == worker_that_succeeded) return;
  const auto found = workers_.find(cell.worker);
  if (found == workers_.end() || !found->second.alive || num_alive_ < 2) return;
  if (++found->second.strikes < kMaxStrikes) return;
  found->second.banned = true;
  lose(cell.worker,
       std::to_string(kMaxStrikes) + " of its tasks failed and succeeded on other workers");
}

// Where no worker is alive: whether one may still join or come back.
bool Scheduler::may_come() const {
  const double too_late = now_ - options_.heartbeat_timeout_s;
  if (workers_.size() < options_.num_workers && *began_ > too_late) return true;
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    return !entry.second.banned && entry.second.may_come_since > too_late;
  });
}

void Scheduler::finish_if_done() {
  if (finished_) return;
  FinishReason reason = FinishReason::kComplete;
  if (work_left_ > 0) {
    const bool quiet = idle_.size() == num_alive_;
    if (too_many_failures_ && quiet) {
      reason = FinishReason::kTooManyFailures;
    } else if (draining_ && quiet) {
      reason = FinishReason::kDrained;
    } else if (num_alive_ == 0 && !may_come()) {
      reason = FinishReason::kNoWorkers;
    } else {
      return;
    }
  }
  finished_ = true;
  commands_.emplace_back(Finished{reason});
}

}  // namespace squant::runner
