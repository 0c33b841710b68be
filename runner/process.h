// What a rank of squant-sweep is made of: its clock, its signals, its share of the host.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/child_executor.h"
#include "runner/collective/collective_mpi.h"
#include "runner/collective/fetching_executor.h"
#include "runner/image_finder.h"
#include "runner/options.h"
#include "runner/packing.h"
#include "runner/spawner.h"
#include "runner/transport.h"
#include "runner/worker.h"

namespace squant::runner {

enum ExitCode : int {
  kExitGood = 0,
  kExitFailed = 1,    // a verdict or a job
  kExitWrongUse = 2,  // or bad input
  kExitWorkLeft = 3,
  kExitNotStored = 4,
};

double seconds_since_start();

// SIGINT, SIGTERM and SIGUSR1 do nothing but raise a flag from now on.
void catch_signals();
bool stop_requested();  // SIGINT, SIGTERM
int stop_signal();
bool drain_requested();  // SIGUSR1

// How long to sleep between looks for messages: short after something happened, then longer and
// longer. Blocking MPI calls would burn a core. An idle rank takes below 1% of one (measured: 0.4%
// to 0.6%).
inline constexpr double kCoordinatorSleep = 5e-3;
inline constexpr double kWorkerSleep = 10e-3;
class Pacer {
 public:
  explicit Pacer(double longest_s) : longest_s_(longest_s) {}
  double next(bool active);

 private:
  double longest_s_;
  double sleep_s_ = 0;
};

// This process among the others.
struct Rank {
  Launch launch;
  std::unique_ptr<MpiTransport> mpi;  // none: started without a launcher
  int rank = 0;
  int size = 1;
  int num_threads = 1;               // of its worker
  std::string device;                // of its worker: "cpu", "cuda"
  std::string gpu;                   // its worker's CUDA_VISIBLE_DEVICES; empty: as it is
  int gpu_number = 0;                // of that GPU, as CUDA counts them in this process
  std::string note;                  // about the affinity and the device
  std::unique_ptr<Spawner> spawner;  // none: this rank needs no child process
};
// Forks the spawner of a rank that may need one, starts MPI where there is a launcher, and finds
// this rank's share of its host. Collective; to be called while the process has a single thread. A
// rank that waits for the others longer than --start-timeout says so and ends. Throws
// std::system_error where the spawner cannot be forked.
Rank join_ranks(const Options& options, int* argc, char*** argv);

// This rank's end of the distribution of files; none where it is switched off, or the process
// is alone.
std::unique_ptr<MpiCollective> join_collective(const Rank& rank, const Options& options);

// Packs the images of the sweep at the coordinator; none unless --broadcast-images asks for it and
// other ranks work.
std::unique_ptr<ImagePacker> make_packer(const Rank& rank, const Options& options);

// A worker with its executor.
class LocalWorker {
 public:
  LocalWorker(Transport& transport, const Rank& rank, const Options& options);
  Worker& worker() { return worker_; }
  bool busy() const { return executor_.busy(); }
  // Sleeps so long, less where its work is done.
  void wait(double seconds) { executor_.wait(seconds); }

 private:
  ChildExecutor child_;
  ImageFinder executor_;
  std::unique_ptr<MpiCollective> collective_;
  std::optional<FetchingExecutor> fetching_;
  Worker worker_;
};

// The life of a rank other than 0. Returns the exit code.
int run_worker_rank(Rank& rank, const Options& options);

// Ends the process at once; its child process and other threads are not waited for.
[[noreturn]] void leave(int exit_code);

}  // namespace squant::runner
