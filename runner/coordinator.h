// The coordinator's side of the conversation: turns messages into the scheduler's events, its
// commands into messages, and results into rows of the database. Called again and again by the main
// thread of rank 0; knows no clock.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "results/store.h"
#include "runner/answers.h"
#include "runner/collective/collective_mpi.h"
#include "runner/collective/gpu_broadcast.h"
#include "runner/file_distribution.h"
#include "runner/inventory.h"
#include "runner/messages.h"
#include "runner/packing.h"
#include "runner/plan.h"
#include "runner/progress.h"
#include "runner/scheduler.h"
#include "runner/transport.h"
#include "runner/write_queue.h"

namespace squant::runner {

struct CoordinatorOptions {
  SchedulerOptions scheduler;
  std::string program;            // Hello::program that every worker must have
  double store_retry_s = 2;       // between tries to write a database that is full
  double store_patience_s = 300;  // after which the sweep gives up on it
  double store_heartbeat_s = 10;
  MpiCollective* files = nullptr;  // gives workers the files they lack; null: nothing does
  GpuBroadcastOptions broadcast;
};

// Why a sweep ended.
enum class Ending : std::uint8_t {
  kComplete,         // every job is finished or has failed
  kDrained,          // asked to stop
  kTooManyFailures,  // --max-failures
  kNoWorkers,
  kStoreFull,
  kLockLost,
};

class Coordinator {
 public:
  using Say = std::function<void(const std::string&)>;  // a line to the user

  Coordinator(Transport& transport, CoordinatorOptions options, Say say);

  // Before begin(): what workers read in place of the data sets of the plan.
  void use_packs(std::vector<PackedDataset> packs) { packs_ = std::move(packs); }
  // Answers workers and, after begin(), runs the sweep. Returns whether anything happened.
  bool step(double now);

  // `totals`: rows of the view `results` for the plan's jobs, as far as the database has them. All
  // arguments must outlive the coordinator.
  void begin(results::Store& store, const Plan& plan, const std::vector<JobInventory>& inventory,
             const std::vector<results::ResultRow>& totals, std::int64_t run_id, double now);

  void drain(double now);  // hands out nothing more, ends when what runs has arrived
  // Stores what has arrived. Returns whether all of it is stored.
  bool flush();

  std::optional<Ending> ending() const { return ending_; }
  bool lost_a_worker() const { return !lost_.empty(); }
  int num_farewells() const { return num_farewells_; }  // of workers that were told to leave early
  const std::string& store_problem() const { return store_problem_; }
  std::vector<std::string> unsaved() const;  // what the database did not take, a line each
  SweepView view(double now) const;
  // What of the files went to other nodes, a line each.
  std::vector<std::string> broadcasts() const;
  // Measured in this run.
  std::int64_t evaluations() const { return evaluations_; }
  std::int64_t num_broken_images() const { return static_cast<std::int64_t>(broken_.size()); }

 private:
  struct WorkerInfo {
    Hello hello;
    bool refused = false;  // it runs another program
    bool in_database = false;
    std::map<int, bool> jobs;  // told, with or without ranges
    std::set<int> streams;
    TaskId unanswered = 0;  // that it was given; 0: none. It may not have arrived yet
  };
  struct JobProgress {
    RowView row;
    std::vector<quant::ActivationRange> ranges;
    bool prepared = false;
    std::string log_tail;             // of its last failed try
    std::set<std::int64_t> repeated;  // first images of tiles that are counted already
  };
  // Jobs of one stream share data set and input shape.
  struct Stream {
    eval::DatasetSpec dataset;
    std::vector<results::TileRange> chunks;
  };

  void receive(const Envelope& envelope);
  void on(int worker, const Hello& message);
  void on(int worker, const Beat& message);
  void on(int worker, const Prepared& message);
  void on(int worker, const TileAnswer& message);
  void on(int worker, const TaskError& message);
  void on(int worker, const FilesLacking& message);
  void on(int worker, const BroadcastDone& message);
  void on(int, const Farewell&) { ++num_farewells_; }
  template <typename Other>
  void on(int worker, const Other& message);

  // What the worker's message brought, for the commands that refer to it.
  struct Arrived {
    const Prepared* preparation = nullptr;
    const TileAnswer* tile = nullptr;
    std::string log_tail;
  };
  void handle(const Event& event);
  void handle(const Event& event, const Arrived& arrived);
  void obey(const AssignPreparation& command, const Arrived& arrived);
  void obey(const AssignTile& command, const Arrived& arrived);
  void obey(const AcceptPreparation& command, const Arrived& arrived);
  void obey(const AcceptCell& command, const Arrived& arrived);
  void obey(const JobFinished& command, const Arrived& arrived);
  void obey(const TryFailed& command, const Arrived& arrived);
  void obey(const GiveUp& command, const Arrived& arrived);
  void obey(const DropWorker& command, const Arrived& arrived);
  void obey(const Contradiction& command, const Arrived& arrived);
  void obey(const Finished& command, const Arrived& arrived);

  void build_scheduler(const std::vector<JobInventory>& inventory);
  void join(int worker);
  void answered(int worker, TaskId task);
  void tell_job(int worker, int job);
  void tell_stream(int worker, int stream);
  void send(int worker, const Message& message) { transport_.send(worker, encode(message)); }
  eval::DatasetSpec spec_for_workers(int dataset, const eval::Shape& shape) const;
  void offer_files(const std::vector<JobInventory>& inventory);
  void distribute_files();
  void store_pending();
  void store_heartbeat();
  void fail_job(int job, int worker, const std::string& reason, const std::string& log_tail);
  Computed computed_by(int worker, int job) const;
  std::string worker_name(int worker) const;
  const std::string& label(int job) const {
    return plan_->jobs[static_cast<std::size_t>(job)].label;
  }

  Transport& transport_;
  const CoordinatorOptions options_;
  Say say_;
  double now_ = 0;

  std::optional<FileDistribution> files_;
  std::vector<PackedDataset> packs_;
  std::map<int, WorkerInfo> workers_;
  results::Store* store_ = nullptr;
  const Plan* plan_ = nullptr;
  std::int64_t run_id_ = 0;
  std::optional<Scheduler> scheduler_;
  std::optional<WriteQueue> queue_;
  std::vector<Stream> streams_;
  std::vector<JobProgress> jobs_;  // as in the plan; the scheduler has them in the same order
  std::map<TaskId, results::TileRange> tiles_;  // that were given away and not answered

  double began_ = 0;
  double last_tick_ = 0;
  double last_store_heartbeat_ = 0;
  double next_store_try_ = 0;
  std::optional<double> store_trouble_since_;
  std::string store_problem_;
  std::int64_t evaluations_ = 0;
  std::int64_t evaluations_total_ = 0;
  int jobs_done_ = 0;
  int jobs_failed_ = 0;
  std::deque<std::pair<double, std::int64_t>>
      recent_;  // evaluations by time of arrival, of the last minute
  std::set<std::string> broken_;
  std::set<int> lost_;
  std::set<int> waiting_;  // workers that join once their host has its files
  int num_farewells_ = 0;
  std::optional<FinishReason> finished_;
  std::optional<Ending> ending_;
};

}  // namespace squant::runner
