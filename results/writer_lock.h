// The writer's lock: a row of the database that names its owner. Internal to results/.
// File locks alone do not tell who holds them, and some cluster file systems grant them per node
// only; the row does both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "results/connection.h"

namespace squant::results {

// A process, told apart from any other one that has or had its pid.
struct ProcessIdentity {
  std::string host;
  int pid = 0;
  std::string
      process;  // "BOOT_ID PID_NAMESPACE START_TIME" of /proc; the start in clock ticks since boot
};
ProcessIdentity this_process();

enum class Liveness : std::uint8_t {
  kAlive,
  kDead,
  kRebooted,  // a host of this name has been booted since: dead, unless another host has the same
              // name
  kUnknown,   // of another host or pid namespace
};
Liveness liveness_of(const ProcessIdentity& owner);

inline constexpr double kStaleHeartbeatSeconds = 60;

// A connection that holds the writer's lock, and gives it back at its end.
class WriterSession {
 public:
  // Creates the file and schema if need be, migrates an older one. Throws StoreLocked as
  // take_writer_lock() does.
  WriterSession(const std::string& path, bool takeover, std::optional<JournalMode> mode = {});
  ~WriterSession() { release(); }
  WriterSession(const WriterSession&) = delete;
  WriterSession& operator=(const WriterSession&) = delete;
  Connection& connection() { return *connection_; }
  std::int64_t generation() const { return generation_; }
  // Gives the lock back; the connection can still be read. Without effect where the lock is lost or
  // nothing can be written: the next owner finds a dead process.
  void release();

 private:
  std::unique_ptr<Connection> connection_;
  std::int64_t generation_ = 0;
  bool is_released_ = false;
};

// Takes the lock inside the caller's immediate transaction and returns its generation.
// Throws StoreLocked with the owner's host, pid, start and heartbeat where a live (or perhaps live)
// process has it.
std::int64_t take_writer_lock(Connection& connection, bool takeover);
// Throws StoreLocked when another owner has taken over since. Inside a transaction.
void check_generation(Connection& connection, std::int64_t generation);
void refresh_heartbeat(Connection& connection, std::int64_t generation);
// "host node7, pid 4711, since 2026-..., last heartbeat 2026-... (3 s ago)", or empty where no live
// process holds the lock.
std::string describe_owner(Connection& connection);
// Whether a process has the lock that lives or, on another host, has lived a minute ago.
bool has_live_owner(Connection& connection);
// When the last transaction was committed, "2026-01-31T12:00:00.000Z", and how long ago.
struct LastCommit {
  std::string at;
  double age_s = 0;
};
LastCommit last_commit(Connection& connection);

}  // namespace squant::results
