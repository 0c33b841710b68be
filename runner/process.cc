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
#include "runner/devices.h"
#include "runner/gpu_probe.h"
#include "runner/logging.h"
#include "runner/provenance.h"
#include "runner/start_watchdog.h"

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

bool works(const Rank& rank) { return rank.rank > 0 || rank.size == 1; }

struct HostWorkers {
  std::vector<CpuSet> cpus;  // that each may run on
  int own = 0;               // this rank's worker among them
};

HostWorkers workers_on_host(const Rank& rank, const CpuSet& mine) {
  if (!rank.mpi) return {{mine}, 0};
  HostWorkers found;
  const std::string own = std::to_string(rank.rank);
  for (const std::string& entry :
       rank.mpi->gather_on_host(works(rank) ? own + " " + cpus_text(mine) : "")) {
    const std::size_t space = entry.find(' ');
    if (space == std::string::npos) continue;
    if (entry.substr(0, space) == own) found.own = static_cast<int>(found.cpus.size());
    found.cpus.push_back(parse_cpus(entry.substr(space + 1)));
  }
  return found;
}

void add_note(Rank& rank, const std::string& text) {
  if (!rank.note.empty()) rank.note += "; ";
  rank.note += text;
}

GpuShare share_of_gpus(const HostWorkers& host) {
  return assign_gpu(visible_gpus(std::getenv("CUDA_VISIBLE_DEVICES"), num_installed_gpus()),
                    host.own, static_cast<int>(host.cpus.size()));
}

void take_gpu(Rank& rank, const GpuShare& share) {
  rank.device = "cuda";
  rank.gpu = share.gpu;
  rank.gpu_number = share.number;
  add_note(rank, "takes GPU " + share.gpu +
                     (share.num_sharing > 1
                          ? ", which " + std::to_string(share.num_sharing) + " workers share"
                          : ""));
}

// Where nobody asked for a GPU, one that cannot be used (too old, full, reserved) is left alone.
void take_gpu_or_cpu(Rank& rank, const HostWorkers& host) {
  std::string why_not = obstacle_to_gpu();
  if (why_not.empty()) {
    try {
      const GpuShare share = share_of_gpus(host);
      why_not = try_gpu(*rank.spawner, share.gpu);
      if (why_not.empty()) return take_gpu(rank, share);
    } catch (const std::exception& error) {
      why_not = error.what();
    }
  }
  rank.device = "cpu";
  if (num_installed_gpus() > 0) add_note(rank, "computes on the CPU, not on a GPU: " + why_not);
}

ChildExecutorOptions child_executor_options(const Rank& rank, const Options& options) {
  ChildExecutorOptions chosen;
  chosen.child = {.device = rank.device,
                  .num_threads = rank.num_threads,
                  .batch_size = options.batch,
                  .cpus = allowed_cpus()};
  if (!rank.gpu.empty()) chosen.environment.push_back("CUDA_VISIBLE_DEVICES=" + rank.gpu);
  chosen.hang_s = options.hang_timeout_s;
  return chosen;
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
  const bool coordinates_only = rank.launch.rank == 0 && rank.launch.size > 1;
  if (!coordinates_only || options.broadcast_images) rank.spawner = Spawner::fork_off();
  rank.note = widen_affinity(rank.launch.binding_given);
  std::optional<StartWatchdog> watchdog;  // over all that waits for other ranks
  if (rank.launch.by_mpi) {
    watchdog.emplace(rank.launch.rank, host_name(), options.start_timeout_s, kExitWorkLeft);
    rank.mpi = std::make_unique<MpiTransport>(argc, argv);
    rank.rank = rank.mpi->rank();
    rank.size = rank.mpi->size();
  }
  const CpuSet mine = allowed_cpus();
  const HostWorkers host = workers_on_host(rank, mine);
  watchdog.reset();
  rank.num_threads =
      options.threads > 0 ? options.threads : thread_share(mine, host.cpus, cgroup_cpu_quota());
  if (options.device == "auto" && works(rank)) {
    take_gpu_or_cpu(rank, host);
  } else {
    rank.device = resolve_device(options.device);
    if (rank.device == "cuda" && works(rank)) take_gpu(rank, share_of_gpus(host));
  }
  return rank;
}

std::unique_ptr<MpiCollective> join_collective(const Rank& rank, const Options& options) {
  if (!rank.mpi || rank.size == 1 || broadcast_from(options.broadcast) == Broadcast::kOff)
    return nullptr;
  RelayOptions relay;
  relay.silence_s = options.worker_timeout_s / 2;
  return std::make_unique<MpiCollective>(
      *rank.mpi,
      MpiMember{.rank = rank.rank, .root = 0, .host = host_name(), .cache = file_cache_folder()},
      relay);
}

std::unique_ptr<ImagePacker> make_packer(const Rank& rank, const Options& options) {
  if (!options.broadcast_images || rank.size == 1) return nullptr;
  const CpuSet mine = allowed_cpus();
  ChildExecutorOptions chosen;
  chosen.child = {.device = "cpu",
                  .num_threads = thread_share(mine, {mine}, cgroup_cpu_quota()),
                  .batch_size = 0,
                  .cpus = mine};
  chosen.hang_s = options.hang_timeout_s;
  return std::make_unique<ImagePacker>(*rank.spawner, std::move(chosen), file_cache_folder());
}

LocalWorker::LocalWorker(Transport& transport, const Rank& rank, const Options& options)
    : child_(*rank.spawner, child_executor_options(rank, options)),
      executor_(child_, seconds_since_start),
      collective_(join_collective(rank, options)),
      fetching_(fetching_executor(executor_, collective_.get(), options)),
      worker_(transport, fetching_ ? static_cast<TaskExecutor&>(*fetching_) : executor_,
              hello_of_this_process(rank.device, rank.gpu_number, rank.num_threads, rank.note),
              {.coordinator = 0,
               .heartbeat_s = heartbeat_s(options),
               .patience_s = 5 * options.worker_timeout_s,
               .files = fetching_ ? &*fetching_ : nullptr,
               .log_tail = log_tail}) {}

int run_worker_rank(Rank& rank, const Options& options) {
  Pacer pacer(kWorkerSleep);
  LocalWorker local(*rank.mpi, rank, options);
  Worker& worker = local.worker();
  // SIGTERM and SIGINT are the coordinator's business: it says when to leave. mpirun kills who does
  // not.
  while (worker.state() == Worker::State::kWorking) {
    const bool active = worker.step(seconds_since_start());
    local.wait(pacer.next(active));
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
