// How messages travel. MPI is behind this interface and nowhere else.
//
// After start-up there is nothing but point-to-point messages: Open MPI 4.1 reports the death of a
// rank by no call at all (sends to it succeed, large ones never complete, collectives hang), so
// liveness is the business of heartbeats above this layer, and nothing here ever waits for another
// rank.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runner/messages.h"

namespace squant::runner {

class TransportError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Envelope {
  int source = 0;
  Bytes bytes;
};

// Messages between two ranks arrive in the order they were sent. To be called from one thread, the
// main thread.
class Transport {
 public:
  virtual ~Transport() = default;
  // Never blocks. Throws TransportError where the library reports an error.
  virtual void send(int to, Bytes bytes) = 0;
  // The next message that has arrived, if any. Never blocks.
  virtual std::optional<Envelope> receive() = 0;
  // Whether everything sent has left this process.
  virtual bool flushed() = 0;
};

// What the launcher says in the environment: known before MPI is up, and without it.
struct Launch {
  bool by_mpi = false;  // started by mpirun, srun or the like
  int rank = 0;
  int size = 1;                // 0: not said
  bool recovery = false;       // mpirun --enable-recovery: other ranks survive the death of one
  bool binding_given = false;  // the user chose a --bind-to
};
Launch detect_launch();

// One per process. Starts MPI (MPI_THREAD_FUNNELED) on construction.
class MpiTransport final : public Transport {
 public:
  MpiTransport(int* argc, char*** argv);
  ~MpiTransport() override;  // does not finalize: see finalize()
  int rank() const;
  int size() const;
  // Collective over the ranks of this host, for the start-up only: what each of them gave, in order
  // of rank. A rank that does not work gives an empty string.
  std::vector<std::string> gather_on_host(const std::string& mine);
  void send(int to, Bytes bytes) override;
  std::optional<Envelope> receive() override;
  bool flushed() override;
  // Waits for all ranks: only where every one of them is known to get here.
  void finalize();
  [[noreturn]] void abort(int exit_code);
  static std::string library_version();  // "Open MPI 4.1.4"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Two ends in one process, for the coordinator that is its own worker and for tests.
class LoopbackTransport final : public Transport {
 public:
  // `rank_a` and `rank_b` are what the other end sees as the source.
  static std::pair<std::unique_ptr<LoopbackTransport>, std::unique_ptr<LoopbackTransport>>
  make_pair(int rank_a, int rank_b);
  void send(int to, Bytes bytes) override;
  std::optional<Envelope> receive() override;
  bool flushed() override { return true; }

 private:
  int rank_ = 0;
  std::shared_ptr<std::deque<Envelope>> inbox_;
  std::shared_ptr<std::deque<Envelope>> outbox_;
};

}  // namespace squant::runner
