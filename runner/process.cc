#include "runner/process.h"

#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "runner/collective/choose.h"
#include "runner/cores.h"
#include "runner/logging.h"
#include "runner/provenance.h"

namespace squant::runner {
namespace {

constexpr double kShortestSleep = 50e-6;
constexpr unsigned kAbortPatience = 3;  // seconds that a worker waits to be ended by MPI_Abort

volatile std::sig_atomic_t stop_signal_seen = 0;
volatile std::sig_atomic_t drain_signal_seen = 0;

void on_stop(int signal) { stop_signal_seen = signal; }
void on_drain(int) { drain_signal_seen = 1; }

void catch_signal(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

double heartbeat_s(const Options& options) {
  return std::clamp(options.worker_timeout_s / 10, 0.1, 5.0);
}

std::optional<FetchingExecutor> fetching_executor(TaskExecutor& inner, MpiCollective* collective,
                                                  const Options& options) {
  if (collective == nullptr) return std::nullopt;
  const bool always = broadcast_from(options.broadcast) != Broadcast::kAuto;
  return std::optional<FetchingExecutor>(std::in_place, inner, *collective, always);
}

}  // namespace

double seconds_since_start() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void catch_signals() {
  catch_signal(SIGINT, on_stop);
  catch_signal(SIGTERM, on_stop);
  catch_signal(SIGUSR1, on_drain);
}

bool stop_requested() { return stop_signal_seen != 0; }
int stop_signal() { return stop_signal_seen; }
bool drain_requested() { return drain_signal_seen != 0; }

double Pacer::next(bool active) {
  sleep_s_ = active ? kShortestSleep : std::clamp(sleep_s_ * 1.5, kShortestSleep, longest_s_);
  return sleep_s_;
}

Rank join_ranks(const Options& options, int* argc, char*** argv) {
  Rank rank;
  rank.launch = detect_launch();
  // Where orted dies with its node's connection, its ranks must not hold a device any longer.
  if (rank.launch.by_mpi) prctl(PR_SET_PDEATHSIG, SIGKILL);
  rank.note = widen_affinity(rank.launch.binding_given);
  if (rank.launch.by_mpi) {
    rank.mpi = std::make_unique<MpiTransport>(argc, argv);
    rank.rank = rank.mpi->rank();
    rank.size = rank.mpi->size();
  }
  const CpuSet mine = allowed_cpus();
  const bool works = rank.rank > 0 || rank.size == 1;
  std::vector<CpuSet> workers;
  if (rank.mpi) {
    for (const std::string& cpus : rank.mpi->gather_on_host(works ? cpus_text(mine) : "")) {
      if (!cpus.empty()) workers.push_back(parse_cpus(cpus));
    }
  } else {
    workers.push_back(mine);
  }
  rank.num_threads =
      options.threads > 0 ? options.threads : thread_share(mine, workers, cgroup_cpu_quota());
  return rank;
}

std::unique_ptr<MpiCollective> join_collective(const Rank& rank, const Options& options) {
  if (!rank.mpi || rank.size == 1 || broadcast_from(options.broadcast) == Broadcast::kOff)
    return nullptr;
  RelayOptions relay;
  relay.silence_s = options.worker_timeout_s / 2;
  return std::make_unique<MpiCollective>(
      *rank.mpi,
      MpiMember{
          .rank = rank.rank, .root = 0, .host = host_name(), .cache = checkpoint_cache_folder()},
      relay);
}

LocalWorker::LocalWorker(Transport& transport, const Rank& rank, const Options& options,
                         Waker& waker)
    : executor_(evaluator_function({.device = resolve_device(options.device),
                                    .num_threads = rank.num_threads,
                                    .batch_size = options.batch}),
                &waker),
      collective_(join_collective(rank, options)),
      fetching_(fetching_executor(executor_, collective_.get(), options)),
      worker_(transport, fetching_ ? static_cast<TaskExecutor&>(*fetching_) : executor_,
              hello_of_this_process(resolve_device(options.device), rank.num_threads, rank.note),
              {.coordinator = 0,
               .heartbeat_s = heartbeat_s(options),
               .patience_s = 5 * options.worker_timeout_s,
               .files = fetching_ ? &*fetching_ : nullptr,
               .log_tail = log_tail}) {}

int run_worker_rank(Rank& rank, const Options& options) {
  Waker waker;
  Pacer pacer(kWorkerSleep);
  LocalWorker local(*rank.mpi, rank, options, waker);
  Worker& worker = local.worker();
  // SIGTERM and SIGINT are the coordinator's business: it says when to leave. mpirun kills who does
  // not.
  while (worker.state() == Worker::State::kWorking) {
    const bool active = worker.step(seconds_since_start());
    waker.sleep(pacer.next(active));
  }
  spdlog::info("leaves: {}", worker.farewell());
  if (worker.state() == Worker::State::kLeft) {
    rank.mpi->finalize();
    leave(kExitGood);
  }
  if (worker.state() == Worker::State::kLeftForAbort) {
    sleep(kAbortPatience);
    leave(kExitGood);
  }
  std::fprintf(stderr, "squant-sweep: rank %d on %s ends: %s\n", rank.rank, host_name().c_str(),
               worker.farewell().c_str());
  leave(kExitWorkLeft);
}

void leave(int exit_code) {
  std::fflush(nullptr);
  spdlog::default_logger()->flush();
  _exit(exit_code);
}

}  // namespace squant::runner
