#include "runner/sweep.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "results/printer.h"
#include "results/store.h"
#include "runner/coordinator.h"
#include "runner/decoder_check.h"
#include "runner/devices.h"
#include "runner/dry_run.h"
#include "runner/experiment.h"
#include "runner/inventory.h"
#include "runner/plan.h"
#include "runner/progress.h"
#include "runner/provenance.h"

namespace squant::runner {
namespace {

constexpr double kDrainMargin =
    5;  // seconds of the time budget that are kept for the tiles that still run
constexpr double kFarewellPatience = 10;
constexpr double kStoreHeartbeat = 10;  // while nothing is stored
constexpr std::size_t kShownBrokenImages = 10;

// A signal came before the sweep had begun.
struct Interrupted {};

struct Planned {
  Experiment experiment;
  Plan plan;
};

Planned make_planned(const Options& options) {
  Planned planned;
  planned.experiment = load_experiment(options.experiment, options.set);
  PlanOptions plan;
  plan.only = options.only;
  plan.where = options.where;
  plan.exclude_where = options.exclude_where;
  plan.num_images = options.images;
  plan.keep_predictions = options.keep_predictions;
  plan.allow_missing = options.dry_run;
  planned.plan = make_plan(planned.experiment, plan);
  return planned;
}

CoordinatorOptions coordinator_options(const Options& options, int num_workers,
                                       MpiCollective* files) {
  CoordinatorOptions chosen;
  chosen.files = files;
  chosen.broadcast.asked = broadcast_from(options.broadcast);
  chosen.broadcast.num_workers = num_workers;
  chosen.broadcast.host = host_name();
  chosen.broadcast.no_nccl = obstacle_to_nccl(options);
  chosen.broadcast.make_id = make_nccl_id;
  chosen.program = program_version();
  chosen.scheduler.heartbeat_timeout_s = options.worker_timeout_s;
  chosen.scheduler.max_failures = options.max_failures;
  chosen.scheduler.num_workers = static_cast<std::size_t>(num_workers);
  chosen.scheduler.repeat_slow_tiles = options.repeat_slow_tiles;
  return chosen;
}

ProgressStyle progress_style(const Options& options, const OutputTerminal& terminal) {
  if (options.quiet || options.progress == "none") return ProgressStyle::kNone;
  if (options.progress == "live") return ProgressStyle::kLive;
  const bool live = options.progress == "auto" && terminal.is_terminal && !options.verbose;
  return live ? ProgressStyle::kLive : ProgressStyle::kPlain;
}

class Sweep {
 public:
  Sweep(Rank& rank, const Options& options, const std::vector<std::string>& arguments)
      : rank_(rank),
        options_(options),
        arguments_(arguments),
        terminal_(find_output_terminal(rank.launch.by_mpi)),
        progress_(progress_style(options, terminal_), terminal_, stdout) {
    if (rank_.size == 1) {
      // Alone: this rank works too, and coordinator and worker talk within the process.
      auto [own, other] = LoopbackTransport::make_pair(0, 0);
      own_end_ = std::move(own);
      worker_end_ = std::move(other);
      worker_ = std::make_unique<LocalWorker>(*worker_end_, rank_, options_);
    }
    files_ = join_collective(rank_, options_);
    coordinator_.emplace(own_end_ ? static_cast<Transport&>(*own_end_) : *rank_.mpi,
                         coordinator_options(options, num_workers(), files_.get()),
                         [this](const std::string& text) { say_always(text); });
  }

  int run() {
    int code = kExitWrongUse;
    try {
      code = run_sweep();
    } catch (const Interrupted&) {
      complain("stopped before the sweep began: nothing was changed");
      // The plan is still being made in another thread.
      dismiss_all(false);
      leave(kExitWorkLeft);
    } catch (const results::StoreIncompatible& error) {
      complain(error.what());
    } catch (const results::StoreError& error) {
      complain(error.what());
      code = kExitNotStored;
    } catch (const std::invalid_argument& error) {
      complain(error.what());
    } catch (const std::exception& error) {
      complain(std::string("internal error: ") + error.what());
    }
    if (store_ && !concluded_) finish_run(code);
    store_.reset();
    part(code);
    return code;
  }

 private:
  // --- talking

  void say(const std::string& text) {
    spdlog::info("{}", text);
    if (!options_.quiet && !options_.verbose) progress_.line(text);
  }
  // Also with --quiet: failures and lost workers.
  void say_always(const std::string& text) {
    spdlog::warn("{}", text);
    if (options_.quiet) {
      std::fprintf(stderr, "%s\n", text.c_str());
    } else if (!options_.verbose) {
      progress_.line(text);
    }
  }
  void complain(const std::string& text) {
    progress_.clear();
    std::fflush(stdout);
    spdlog::error("{}", text);
    std::fprintf(stderr, "squant-sweep: %s\n", text.c_str());
    std::fflush(stderr);
  }

  // --- the loop's body

  bool step() {
    const double now = seconds_since_start();
    bool active = coordinator_->step(now);
    if (worker_) active = worker_->worker().step(now) || active;
    return active;
  }
  void rest(bool active) {
    const double seconds = pacer_.next(active);
    if (worker_) {
      worker_->wait(seconds);
    } else {
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    }
  }

  // --- the sweep

  int run_sweep() {
    plan();
    if (options_.dry_run) return dry_run();
    check_decoders(planned_.plan, rank_.device, options_.broadcast_images);
    open();
    const WorkSize size = work_size(planned_.plan, inventory_);
    announce(size);
    if (size.jobs_to_run == 0) return conclude(Ending::kComplete);
    pack_images();
    return conclude(compute());
  }

  // Workers are answered while data sets are indexed and checkpoints are hashed, which can take
  // minutes.
  void plan() {
    auto planning = std::async(std::launch::async, [this] { return make_planned(options_); });
    while (planning.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
      if (stop_requested() || drain_requested()) {
        planning_ = std::move(planning);  // its destructor would wait
        throw Interrupted();
      }
      rest(step());
    }
    planned_ = planning.get();
    for (const PlannedJob& job : planned_.plan.jobs) identities_.push_back(job.row.identity);
  }

  void pack_images() {
    const auto packer = make_packer(rank_, options_);
    if (!packer) {
      if (options_.broadcast_images)
        say("this process works alone: no images are packed (--broadcast-images)");
      return;
    }
    const double began = seconds_since_start();
    double beaten = began;
    packer->begin(planned_.plan, inventory_);
    while (!packer->step()) {
      const double now = seconds_since_start();
      if (stop_requested()) stop_at_once();
      if (drain_requested() || budget_is_used(now)) return;
      if (now - beaten >= kStoreHeartbeat) {
        beaten = now;
        store_->heartbeat();
      }
      step();
      packer->wait(pacer_.next(false));
    }
    for (const PackedDataset& one : packer->packs()) {
      const std::vector<std::string>& broken = one.pack.broken;
      for (std::size_t i = 0; i < std::min(broken.size(), kShownBrokenImages); ++i)
        say_always("broken image, counted as wrong: " + broken[i]);
      if (broken.size() > kShownBrokenImages)
        say_always(plural(std::ssize(broken), "broken image") + " in all");
      say(one.name + ": packed in " + duration_text(seconds_since_start() - began));
    }
    coordinator_->use_packs(packer->packs());
  }

  Selection selection() const {
    return {options_.force, options_.retry_failed, options_.only_failed};
  }

  int num_workers() const { return std::max(1, rank_.size - 1); }

  int dry_run() {
    std::unique_ptr<results::Store> store;
    if (std::filesystem::exists(options_.db)) store = results::Store::open_reader(options_.db);
    const auto inventory = take_inventory(planned_.plan, store.get(), selection());
    const auto measured = store ? store->results() : std::vector<results::ResultRow>();
    for (const std::string& line :
         dry_run_report(planned_.plan, inventory, measured, num_workers())) {
      std::printf("%s\n", line.c_str());
    }
    std::fflush(stdout);
    return kExitGood;
  }

  void open() {
    store_ = results::Store::open_writer(
        options_.db, options_.takeover,
        {.warn = [](const std::string& problem) { spdlog::warn("{}", problem); }});
    inventory_ = take_inventory(planned_.plan, store_.get(), selection());
    results::RunRow run =
        run_row(planned_.experiment, arguments_, rank_.mpi ? MpiTransport::library_version() : "");
    run.world_size = rank_.size;
    run_id_ = store_->begin_run(run);
    for (const PlannedDataset& dataset : planned_.plan.datasets)
      store_->add_dataset({dataset.fingerprint, dataset.labels, dataset.class_names});
    std::vector<results::Store::PlannedJob> jobs;
    std::vector<std::string> again;
    for (std::size_t i = 0; i < planned_.plan.jobs.size(); ++i) {
      const PlannedJob& job = planned_.plan.jobs[i];
      jobs.push_back({job.row, job.reference});
      if (options_.force && inventory_[i].to_run) again.push_back(job.row.identity);
    }
    store_->add_jobs(run_id_, jobs);
    if (!again.empty()) store_->forget(again);
  }

  void announce(const WorkSize& size) {
    const std::size_t jobs = planned_.plan.jobs.size();
    say(planned_.experiment.name + ": " + plural(static_cast<std::int64_t>(jobs), "job") + ", " +
        std::to_string(size.finished) + " finished earlier, " + std::to_string(size.jobs_to_run) +
        " to run; results in " + options_.db);
    const auto num_without =
        std::count_if(inventory_.begin(), inventory_.end(),
                      [](const JobInventory& job) { return job.predictions_need_force; });
    if (num_without > 0) {
      say(plural(num_without, "job") +
          " finished earlier in tiles of another size, without predictions; --force computes " +
          (num_without == 1 ? "it" : "them") + " again");
    }
    if (size.jobs_to_run == 0) {
      say(size.finished == static_cast<int>(jobs) ? "everything was finished earlier: nothing to do"
                                                  : "nothing to do");
      return;
    }
    if (const std::string notice = decoder_notice(planned_.plan); !notice.empty())
      say_always(notice);
    say(plural(size.tiles, "tile") + ", " + plural(size.evaluations, "evaluation") +
        " of an image; " + workers_and_devices() +
        (rank_.launch.recovery ? "; a lost rank does not end the sweep" : ""));
    if (rank_.size == 1)
      say(plural(rank_.num_threads, "thread") + (rank_.note.empty() ? "" : "; " + rank_.note));
  }

  // Where each worker resolves --device auto for itself, rank 0 does not know what they took.
  std::string workers_and_devices() const {
    const std::string on = " on the " + std::string(rank_.device == "cuda" ? "GPU" : "CPU");
    if (rank_.size == 1) return "this process works alone" + on;
    return plural(num_workers(), "worker") +
           (options_.device == "auto" ? ", on GPUs where they have some" : on);
  }

  Ending compute() {
    coordinator_->begin(*store_, planned_.plan, inventory_, store_->results(identities_), run_id_,
                        seconds_since_start());
    began_ = seconds_since_start();
    bool draining = false;
    while (!coordinator_->ending()) {
      const bool active = step();
      const double now = seconds_since_start();
      if (stop_requested()) stop_at_once();
      const char* drain = draining              ? nullptr
                          : drain_requested()   ? "SIGUSR1"
                          : budget_is_used(now) ? "the time budget"
                                                : nullptr;
      if (drain != nullptr) {
        draining = true;
        say(std::string(drain) + ": no new tiles are handed out; those that run are awaited");
        coordinator_->drain(now);
      }
      if (progress_.due(now)) progress_.update(coordinator_->view(now), now);
      if (!coordinator_->ending()) rest(active);
    }
    return *coordinator_->ending();
  }

  bool budget_is_used(double now) const {
    if (options_.time_budget_s == 0) return false;
    return now >= options_.time_budget_s - std::min(kDrainMargin, options_.time_budget_s / 5);
  }

  // mpirun kills its ranks one second after it was told to stop.
  [[noreturn]] void stop_at_once() {
    const bool stored = coordinator_->flush();
    finish_run(stored ? kExitWorkLeft : kExitNotStored);
    complain(std::string("stopped by ") + (stop_signal() == SIGINT ? "SIGINT" : "SIGTERM") + ": " +
             (stored ? "everything that was finished is in "
                     : "not everything that was finished is in ") +
             options_.db + "; the same command goes on from there");
    store_.reset();
    dismiss_all(false);
    leave(stored ? kExitWorkLeft : kExitNotStored);
  }

  // --- the end

  int conclude(Ending ending) {
    progress_.clear();
    if (ending == Ending::kStoreFull || ending == Ending::kLockLost) return conclude_unsaved();
    store_->update_verdicts(run_id_, identities_);
    const std::vector<results::ResultRow> rows = rows_of_plan();
    std::fflush(stdout);
    results::TerminalStyle style = results::TerminalStyle::detect(1);
    style.color = style.color && terminal_.is_terminal;
    results::print_results(std::cout, rows, results::Format::kTable, style);
    std::cout.flush();
    const int code = exit_code(ending, rows);
    summarize(ending);
    store_->finish_run(run_id_, code);
    concluded_ = true;
    return code;
  }

  // Where the database is in trouble already: it may not work.
  void finish_run(int code) {
    try {
      store_->finish_run(run_id_, code);
    } catch (const results::StoreError& error) {
      spdlog::error("{}", error.what());
    }
  }

  std::vector<results::ResultRow> rows_of_plan() {
    std::map<std::string, results::ResultRow> by_identity;
    for (results::ResultRow& row : store_->results(identities_))
      by_identity.emplace(row.job.identity, std::move(row));
    std::vector<results::ResultRow> rows;
    for (const std::string& identity : identities_) {
      const auto found = by_identity.find(identity);
      if (found != by_identity.end()) rows.push_back(std::move(found->second));
    }
    return rows;
  }

  int exit_code(Ending ending, const std::vector<results::ResultRow>& rows) const {
    if (ending == Ending::kDrained || ending == Ending::kNoWorkers) return kExitWorkLeft;
    if (ending == Ending::kTooManyFailures) return kExitFailed;
    static const std::set<std::string> kBad{"fail", "weights differ", "failed"};
    bool failed = coordinator_->view(seconds_since_start()).jobs_failed > 0;
    bool left = false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      failed = failed || kBad.contains(rows[i].verdict);
      left = left || (rows[i].verdict == "unfinished" && inventory_[i].to_run);
    }
    return failed ? kExitFailed : left ? kExitWorkLeft : kExitGood;
  }

  void summarize(Ending ending) {
    if (coordinator_->num_broken_images() > 0) {
      say(plural(coordinator_->num_broken_images(), "broken image") + " counted as wrong");
    }
    for (const std::string& line : coordinator_->broadcasts()) say(line);
    if (coordinator_->evaluations() > 0) {
      const double seconds = std::max(1e-3, seconds_since_start() - began_);
      say(plural(coordinator_->evaluations(), "evaluation") + " in " + duration_text(seconds) +
          ", " +
          count_text(static_cast<std::int64_t>(static_cast<double>(coordinator_->evaluations()) /
                                               seconds)) +
          " a second");
    }
    switch (ending) {
      case Ending::kDrained:
        say_always("work is left: the same command goes on from here");
        break;
      case Ending::kTooManyFailures:
        say_always("stopped after " + plural(options_.max_failures, "failed job") +
                   " (--max-failures)");
        break;
      case Ending::kNoWorkers:
        say_always("work is left, and no worker is: the same command goes on from here");
        break;
      default:
        break;
    }
  }

  int conclude_unsaved() {
    complain(coordinator_->store_problem());
    std::string lost;
    for (const std::string& line : coordinator_->unsaved()) lost += "\n  " + line;
    complain(lost.empty()
                 ? "everything that was finished is stored; the same command goes on from there"
                 : "not stored, and to be computed again by the same command:" + lost);
    return kExitNotStored;
  }

  void dismiss_all(bool abort_follows) {
    if (!rank_.mpi) return;
    for (int worker = 1; worker < rank_.size; ++worker) {
      rank_.mpi->send(worker, encode(Leave{abort_follows, "the coordinator says so"}));
    }
    wait_until(0.1, [this] { return rank_.mpi->flushed(); });
  }

  template <typename Condition>
  void wait_until(double patience, Condition condition) {
    const double end = seconds_since_start() + patience;
    while (!condition() && seconds_since_start() < end) rest(false);
  }

  // Leaves MPI. MPI_Finalize waits for every rank, so it is for those alone that have all said
  // farewell.
  void part(int code) {
    if (!rank_.mpi) {
      if (worker_ && worker_->busy()) leave(code);
      return;
    }
    const bool lost = coordinator_->lost_a_worker();
    dismiss_all(lost);
    if (!lost) {
      int missing = rank_.size - 1 - coordinator_->num_farewells();
      wait_until(kFarewellPatience, [&] {
        while (const std::optional<Envelope> envelope = rank_.mpi->receive()) {
          if (is_frame(envelope->bytes)) continue;  // somebody was still getting a file
          missing -= std::holds_alternative<Farewell>(decode(envelope->bytes));
        }
        return missing == 0;
      });
      if (missing == 0) {
        rank_.mpi->finalize();
        leave(code);
      }
    }
    complain(
        "a rank was lost, so that MPI cannot end in order and MPI_Abort follows: mpirun's exit "
        "code may be another than "
        "this program's, which is " +
        std::to_string(code));
    std::fflush(nullptr);
    rank_.mpi->abort(code);
  }

  Rank& rank_;
  const Options& options_;
  const std::vector<std::string>& arguments_;
  const OutputTerminal terminal_;
  Progress progress_;
  Pacer pacer_{kCoordinatorSleep};
  std::unique_ptr<LoopbackTransport> own_end_, worker_end_;
  std::unique_ptr<LocalWorker> worker_;
  std::unique_ptr<MpiCollective> files_;
  std::optional<Coordinator> coordinator_;
  std::future<Planned> planning_;
  Planned planned_;
  std::vector<std::string> identities_;
  std::unique_ptr<results::Store> store_;
  std::vector<JobInventory> inventory_;
  std::int64_t run_id_ = 0;
  double began_ = 0;
  bool concluded_ = false;
};

}  // namespace

int run_coordinator_rank(Rank& rank, const Options& options,
                         const std::vector<std::string>& arguments) {
  Sweep sweep(rank, options, arguments);
  return sweep.run();
}

}  // namespace squant::runner
