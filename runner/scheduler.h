// Which worker does what, when: a pure state machine. Events and the time in, commands out; no MPI,
// no clock, no threads, no files. The same events at the same times give the same commands.
//
// The grid: rows are jobs, columns are chunks of images, a cell is one job on one chunk. Jobs that
// share data set and input shape form a stream and share its chunks. A tile is one chunk times some
// jobs of its stream: the worker loads the chunk once for all of them. Before its first tile a job
// is prepared (quantized, its ranges calibrated) once.
//
//   order      Preparations first, then chunks in ascending order, so that all rows converge
//              together. Of a chunk's cells the longest come first: what is left for the end is
//              short.
//   affinity   A worker goes on with the chunk it has loaded while cells of it are ready; else it
//              takes the next one that nobody has, else it helps where most work is left for each
//              holder. It prepares jobs of the model it prepared last, if there are any.
//   tile size  As many jobs as fit in `tile_target_s`, from measured costs; one job while nothing
//              is known; smaller at the end.
//   the end    A cell that would take a fifth of the time that is left, or more, is begun at once,
//              wherever it is. A slow worker takes only what it can finish by then. Idle workers
//              repeat tiles that they would finish sooner, or that take suspiciously long; the
//              first answer counts.
//   faults     A failed cell is tried again on another worker, alone. Its job is given up after
//              `max_retries` + 1 failures that were its own: the cell's own error, or a task of
//              this cell alone. Where a whole tile failed or its worker was lost, nobody knows
//              which job is to blame, so all are tried alone. Until a job whose tile killed the
//              worker's child has succeeded alone, it shares no tile; until a worker whose child
//              died has done something, it gets one job at a time. Where memory did not suffice,
//              the worker gets half as many jobs a tile from then on. A worker whose failures
//              succeed elsewhere three times is dropped; one that cannot work at all is dropped
//              at once.
//
// An event costs O(log n) in workers and chunks, and O(n) in jobs, apart from the cells that it
// makes ready or gives away.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "runner/cost_model.h"
#include "runner/failure.h"

namespace squant::runner {

using TaskId = std::int64_t;

struct SchedulerJob {
  int stream = 0;
  int model = 0;            // jobs of one model share a checkpoint
  bool prepared = false;    // ranges are known
  std::vector<int> chunks;  // that are not finished: indices into the stream, ascending
};

struct SchedulerInput {
  std::vector<std::vector<std::int64_t>> streams;  // images of each chunk
  std::vector<SchedulerJob> jobs;
};

struct SchedulerOptions {
  double tile_target_s = 1.5;
  std::size_t max_group = 256;      // jobs of a tile
  double heartbeat_timeout_s = 60;  // a worker not heard of for so long is lost
  // ... and one whose task takes longer than this, and 20 times longer than expected.
  double task_limit_s = 1800;
  int max_retries = 2;
  int max_failures = 0;  // stop when so many jobs were given up; 0: never
  // That there are at most: when all of them are dropped for good, nobody is waited for.
  std::size_t num_workers = std::numeric_limits<std::size_t>::max();
  bool repeat_slow_tiles = true;  // at the end, by idle workers
};

// --- events
// Also one that was lost and comes back.
struct WorkerJoined {
  int worker = 0;
};
struct WorkerLost {
  int worker = 0;
  std::string why;
};
// One that never joins.
struct WorkerRefused {
  int worker = 0;
};
// Also of one that has not joined (again): it is waited for.
struct Heartbeat {
  int worker = 0;
};
struct PreparationDone {
  int worker = 0;
  TaskId task = 0;
};
struct CellAnswer {
  double compute_s = 0;
  // Of the answer: equal answers have equal ones; 0: cannot be compared.
  std::uint64_t fingerprint = 0;
  std::string error;  // not empty: this cell failed
};
struct TileDone {
  int worker = 0;
  TaskId task = 0;
  std::vector<CellAnswer> answers;  // in the order of the assignment
};
struct TaskFailed {
  int worker = 0;
  TaskId task = 0;
  std::string reason;
  FailureKind kind = FailureKind::kError;
};
// Hand out nothing more.
struct Drain {};
// Hand out nothing until Pause{false}.
struct Pause {
  bool on = true;
};
// Time passes.
struct Tick {};
using Event = std::variant<WorkerJoined, WorkerLost, WorkerRefused, Heartbeat, PreparationDone,
                           TileDone, TaskFailed, Drain, Pause, Tick>;

// --- commands
struct AssignPreparation {
  int worker = 0;
  TaskId task = 0;
  int job = 0;
};
struct AssignTile {
  int worker = 0;
  TaskId task = 0;
  int stream = 0;
  int chunk = 0;
  std::vector<int> jobs;
};
struct AcceptPreparation {
  int worker = 0;
  TaskId task = 0;
  int job = 0;
};
// The answer at `index` of the TileDone event counts: exactly once for each cell.
struct AcceptCell {
  int worker = 0;
  int job = 0;
  int chunk = 0;
  std::size_t index = 0;
};
struct JobFinished {
  int job = 0;
};
// A try failed and will be repeated.
struct TryFailed {
  int worker = 0;
  int job = 0;
  int attempt = 0;
  std::string reason;
};
// No more tries: the job has failed.
struct GiveUp {
  int worker = 0;
  int job = 0;
  std::string reason;
};
// Nothing more is given to it; `for_good`: not even when it comes back.
struct DropWorker {
  int worker = 0;
  std::string why;
  bool for_good = false;
};
// Two workers gave different answers to one cell of an exact job: hardware or software is at fault.
struct Contradiction {
  int job = 0;
  int chunk = 0;
  int first_worker = 0;
  int second_worker = 0;
};
enum class FinishReason : std::uint8_t { kComplete, kDrained, kTooManyFailures, kNoWorkers };
// Nothing is awaited any more. Sent once; with kComplete every job is finished or given up.
struct Finished {
  FinishReason reason = FinishReason::kComplete;
};
using Command = std::variant<AssignPreparation, AssignTile, AcceptPreparation, AcceptCell,
                             JobFinished, TryFailed, GiveUp, DropWorker, Contradiction, Finished>;

class Scheduler {
 public:
  // Throws std::invalid_argument for indices out of range.
  Scheduler(const SchedulerInput& input, const SchedulerOptions& options);

  // `now` in seconds, never less than in the call before. Events of unknown workers and tasks are
  // ignored.
  std::vector<Command> handle(const Event& event, double now);

  bool finished() const { return finished_; }
  std::size_t num_alive() const { return num_alive_; }
  std::size_t num_idle() const { return idle_.size(); }
  bool alive(int worker) const;
  // Seconds until the end, from measured costs; none while they are unknown.
  std::optional<double> remaining_s() const;

 private:
  static constexpr int kNone = -1;
  static constexpr int kPreparation = -1;  // in place of a chunk

  // One job on one chunk, or the preparation of one job.
  struct Cell {
    bool wanted = false;  // not finished when the sweep began
    bool done = false;
    std::uint8_t running = 0;    // on live workers
    std::uint8_t attempts = 0;   // failed ones
    int worker = kNone;          // that answered, or that failed last
    bool blames_worker = false;  // the last failure may have been the worker's fault
    std::uint64_t fingerprint = 0;
  };
  struct JobState {
    int stream = 0;
    int model = 0;
    bool given_up = false;
    bool suspect = false;     // of killing children: shares no tile
    std::set<int> killed_on;  // workers whose child died of it alone since it last succeeded alone
    std::int64_t cells_left = 0;
    Cell preparation;
    std::vector<Cell> cells;  // by chunk
    std::set<int> ready;      // chunks: wanted, the job prepared, not running, not to be retried
  };
  struct ChunkState {
    std::int64_t images = 0;
    int holders = 0;      // live workers that have it loaded
    std::set<int> ready;  // jobs: the same cells as in JobState::ready
  };
  struct Task {
    int worker = kNone;  // kNone: given away, a late answer is still welcome
    int stream = 0;
    int chunk = kPreparation;
    std::vector<int> jobs;
    double started = 0;
    double expected_end = 0;
  };
  struct WorkerState {
    bool alive = false;
    bool banned = false;  // dropped for its failures: does not come back
    // Of one that is not alive and may come: when it was lost, or last heard of.
    double may_come_since = -std::numeric_limits<double>::infinity();
    double heard = 0;
    double watched = 0;  // its entry in watch_
    // Of its task, also of one that it was at when it was lost.
    double deadline = std::numeric_limits<double>::infinity();
    TaskId task = 0;                    // 0: idle
    int stream = kNone, chunk = kNone;  // loaded
    int model = kNone;                  // prepared last
    int strikes = 0;
    std::size_t max_group = std::numeric_limits<std::size_t>::max();  // what its memory holds
    bool on_probation = false;  // its child died: one job a tile until something succeeds
  };
  struct RetryCell {
    int job = 0;
    int chunk = 0;
  };

  void on(const WorkerJoined& event);
  void on(const WorkerLost& event);
  void on(const WorkerRefused& event);
  void on(const Heartbeat& event);
  void on(const PreparationDone& event);
  void on(const TileDone& event);
  void on(const TaskFailed& event);
  void on(const Drain& event);
  void on(const Pause& event);
  void on(const Tick& event);

  Cell& cell(int job, int chunk);
  JobState& job_state(int job) { return jobs_[static_cast<std::size_t>(job)]; }
  const JobState& job_state(int job) const { return jobs_[static_cast<std::size_t>(job)]; }
  ChunkState& chunk_state(int stream, int chunk);
  const ChunkState& chunk_state(int stream, int chunk) const;
  void heard(WorkerState& state, int worker);
  void set_watch(int worker);
  // The task that `worker` reports on, taken out of the books; the worker is idle afterwards.
  struct Ended {
    Task task;
    bool late = false;  // the worker had been given up on, and the task given away
  };
  std::optional<Ended> end_task(int worker, TaskId task);
  void lose(int worker, const std::string& why);
  // Who a failed cell counts against.
  enum class Charge : std::uint8_t {
    kNobody,        // others shared its task
    kJob,           // the worker was lost
    kJobAndWorker,  // it failed by itself: the worker's fault if it succeeds elsewhere
  };
  void cell_failed(int worker, int job, int chunk, Charge charge, const std::string& reason);
  void succeeded(int worker, const Task& task, int job);
  void give_up(int worker, int job, const std::string& reason);
  void cell_done(int worker, int job, int chunk, std::size_t index, std::uint64_t fingerprint);
  void preparation_done(int worker, TaskId task, int job);
  void blame(const Cell& cell, int worker_that_succeeded);

  void dispatch();
  bool has_work() const { return !retries_.empty() || !open_models_.empty() || num_open_ > 0; }
  bool assign(int worker);
  bool assign_retry(int worker);
  bool assign_pressing(int worker);
  bool assign_loaded(int worker);
  bool assign_preparation(int worker);
  bool assign_open(int worker);
  bool assign_repeat(int worker);
  TaskId worth_repeating(int worker) const;  // 0: none
  void start_preparation(int worker, int job);
  void start_tile(int worker, int stream, int chunk, std::vector<int> jobs);
  struct CellKey {
    int job = kNone;
    int chunk = kNone;
  };
  struct CellCost : CellKey {
    double seconds = 0;
  };
  CellKey pressing_cell(int worker) const;
  CellCost first_ready_cell(int worker, int job) const;
  double longest_loaded_s(int worker) const;
  CellKey in_loaded_chunk(int worker, CellKey cell) const;
  struct OpenKey;
  OpenKey best_open_chunk() const;
  std::vector<int> longest_first(int worker, const ChunkState& chunk) const;
  std::vector<int> take_group(int worker, int stream, int chunk);
  void set_ready(int job, int chunk, bool ready);
  double expected_s(int worker, const std::vector<int>& jobs, std::int64_t images) const;
  void measured(int worker, int job, std::int64_t images, double seconds);
  bool is_slow(int worker) const;
  double time_left_s() const;  // 0: unknown
  TaskId start(int worker, Task task);
  double task_limit_s(int worker, const Task& task) const;
  double target_s() const;
  void load_chunk(int worker, int stream, int chunk);
  template <typename Change>
  void change_chunk(int stream, int chunk, Change change);
  template <typename Change>
  void change_model(int model, Change change);
  bool may_come() const;
  void finish_if_done();

  SchedulerOptions options_;
  double now_ = 0;
  std::optional<double> began_;
  std::vector<Command> commands_;

  std::vector<JobState> jobs_;
  std::vector<std::vector<ChunkState>> streams_;
  std::int64_t work_left_ = 0;          // preparations and cells of jobs that are not given up
  std::int64_t preparations_left_ = 0;  // of these
  int num_given_up_ = 0;
  CostModel costs_;

  // Chunks of one stream with ready cells: those that nobody has, the earliest first; then those
  // with the most ready cells for each holder.
  struct OpenKey {
    bool held = false;
    double less_share = 0;  // minus ready cells times images over holders + 1; 0 where not held
    int chunk = kNone, stream = kNone;
    auto operator<=>(const OpenKey&) const = default;
  };
  static OpenKey open_key(int stream, int chunk, const ChunkState& state);
  std::vector<std::set<OpenKey>> open_;  // by stream
  std::size_t num_open_ = 0;
  // Jobs to prepare, by model, and the models that have some: fewest workers on it first.
  struct ModelQueue {
    std::set<int> jobs;
    int workers = 0;
  };
  std::map<int, ModelQueue> models_;
  std::set<std::pair<int, int>> open_models_;
  // Cells to try again, by the worker that failed last.
  std::map<int, std::deque<RetryCell>> retries_;

  std::unordered_map<int, WorkerState> workers_;
  std::set<int> idle_;
  std::size_t num_alive_ = 0;
  double speed_ = 0;  // of the live workers together: the sum of 1 / slowness
  std::set<std::pair<double, int>>
      watch_;  // the time at which a live worker is lost if nothing happens
  std::unordered_map<TaskId, Task> tasks_;
  std::set<std::pair<double, TaskId>> running_tiles_;  // by expected end; not yet repeated
  TaskId next_task_ = 1;

  bool draining_ = false;
  bool paused_ = false;
  bool too_many_failures_ = false;
  bool finished_ = false;
};

template <typename Change>
void Scheduler::change_chunk(int stream, int chunk, Change change) {
  ChunkState& state = chunk_state(stream, chunk);
  std::set<OpenKey>& open = open_[static_cast<std::size_t>(stream)];
  if (!state.ready.empty()) num_open_ -= open.erase(open_key(stream, chunk, state));
  change(state);
  if (!state.ready.empty()) num_open_ += open.insert(open_key(stream, chunk, state)).second;
}

template <typename Change>
void Scheduler::change_model(int model, Change change) {
  ModelQueue& queue = models_[model];
  if (!queue.jobs.empty()) open_models_.erase({queue.workers, model});
  change(queue);
  if (!queue.jobs.empty()) open_models_.insert({queue.workers, model});
}

}  // namespace squant::runner
