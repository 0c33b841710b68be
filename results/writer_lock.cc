#include "results/writer_lock.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "results/schema.h"

namespace squant::results {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// State and start time (fields 3 and 22) of /proc/PID/stat; the name before them may hold blanks
// and brackets.
struct ProcessStat {
  bool is_running = false;
  std::string start;
};
ProcessStat read_stat(int pid) {
  const std::string line = first_line("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  std::string state;
  std::string field;
  fields >> state;
  for (int number = 4; number <= 22; ++number) fields >> field;
  return {.is_running = state != "Z" && state != "X", .start = field};
}

struct Place {  // where pids are counted
  std::string boot, pid_namespace;
  bool operator==(const Place&) const = default;
};
Place this_place() {
  std::error_code code;
  return {first_line("/proc/sys/kernel/random/boot_id"),
          std::filesystem::read_symlink("/proc/self/ns/pid", code).string()};
}

struct Owner {
  ProcessIdentity identity;
  std::int64_t generation = 0;
  bool is_held = false;
  std::string started_at, heartbeat_at;
  double heartbeat_age_s = 0;
};

Owner read_owner(Connection& connection) {
  Query query(connection.statement(
      "SELECT generation, held, host, pid, process, started_at, heartbeat_at,"
      " coalesce((julianday('now') - julianday(heartbeat_at)) * 86400, 1e9) FROM writer"));
  if (!query.step()) throw StoreError(connection.path() + ": the table `writer` has lost its row");
  return {.identity = {query.text(2), static_cast<int>(query.integer(3)), query.text(4)},
          .generation = query.integer(0),
          .is_held = query.integer(1) != 0,
          .started_at = query.text(5),
          .heartbeat_at = query.text(6),
          .heartbeat_age_s = query.real(7)};
}

std::string describe(const Owner& owner) {
  return "host " + owner.identity.host + ", pid " + std::to_string(owner.identity.pid) +
         ", since " + owner.started_at + ", last heartbeat " + owner.heartbeat_at + " (" +
         std::to_string(std::llround(std::max(owner.heartbeat_age_s, 0.0))) + " s ago)";
}

bool is_stale(const Owner& owner) { return owner.heartbeat_age_s > kStaleHeartbeatSeconds; }

// Nobody holds the lock, or its owner cannot be alive.
bool is_gone(const Owner& owner) {
  if (!owner.is_held) return true;
  const Liveness liveness = liveness_of(owner.identity);
  return liveness == Liveness::kDead || (liveness == Liveness::kRebooted && is_stale(owner));
}

}  // namespace

ProcessIdentity this_process() {
  const Place place = this_place();
  const int pid = ::getpid();
  return {host_name(), pid, place.boot + ' ' + place.pid_namespace + ' ' + read_stat(pid).start};
}

Liveness liveness_of(const ProcessIdentity& owner) {
  Place place;
  std::string start;
  std::istringstream(owner.process) >> place.boot >> place.pid_namespace >> start;
  const Place here = this_place();
  if (place == here) {
    const ProcessStat stat = read_stat(owner.pid);
    // /proc may hide other users' processes.
    if (stat.start.empty() && ::kill(owner.pid, 0) != 0 && errno == EPERM) return Liveness::kAlive;
    return stat.is_running && stat.start == start ? Liveness::kAlive : Liveness::kDead;
  }
  return owner.host == host_name() && place.boot != here.boot ? Liveness::kRebooted
                                                              : Liveness::kUnknown;
}

std::int64_t take_writer_lock(Connection& connection, bool takeover) {
  const Owner owner = read_owner(connection);
  if (!is_gone(owner) && !(takeover && is_stale(owner))) {
    throw StoreLocked(
        connection.path() + " is being written by another squant-sweep: " + describe(owner) +
        ". Wait for it or stop it; if it is gone, " +
        (takeover ? "--takeover works" : "start again with --takeover, which works") +
        " once the heartbeat is " + std::to_string(std::lround(kStaleHeartbeatSeconds)) + " s old");
  }
  const ProcessIdentity self = this_process();
  const std::string now = utc_now();
  Query(connection.statement(
            "UPDATE writer SET generation = generation + 1, held = 1, host = ?, pid = ?,"
            " process = ?, started_at = ?, heartbeat_at = ?"))
      .bind(self.host, self.pid, self.process, now, now)
      .run();
  return owner.generation + 1;
}

void check_generation(Connection& connection, std::int64_t generation) {
  Query query(connection.statement("SELECT generation FROM writer"));
  if (query.step() && query.integer(0) == generation) return;
  throw StoreLocked(connection.path() +
                    ": this process is no longer its writer, nothing was written. Taken over by " +
                    describe(read_owner(connection)));
}

void refresh_heartbeat(Connection& connection, std::int64_t generation) {
  check_generation(connection, generation);
  const std::string now = utc_now();
  Query(connection.statement("UPDATE writer SET heartbeat_at = ?")).bind(now).run();
}

WriterSession::WriterSession(const std::string& path, bool takeover,
                             std::optional<JournalMode> mode)
    : connection_(Connection::open_writer(path, mode)) {
  // In one transaction: of two that open at once, the second one finds the first one's row.
  connection_->write("take the writer's lock", [&] {
    if (connection_->pragma("user_version") == 0) migrate(connection_->database());
    generation_ = take_writer_lock(*connection_, takeover);
    migrate(connection_->database());
  });
}

void WriterSession::release() {
  if (is_released_) return;
  is_released_ = true;
  try {
    connection_->write("release the writer's lock", [&] {
      check_generation(*connection_, generation_);
      Query(connection_->statement("UPDATE writer SET held = 0")).run();
    });
  } catch (const std::exception&) {
  }
}

bool has_live_owner(Connection& connection) {
  const Owner owner = read_owner(connection);
  return !is_gone(owner) && (liveness_of(owner.identity) == Liveness::kAlive || !is_stale(owner));
}

LastCommit last_commit(Connection& connection) {
  const Owner owner = read_owner(connection);
  return {owner.heartbeat_at, owner.heartbeat_age_s};
}

std::string describe_owner(Connection& connection) {
  const Owner owner = read_owner(connection);
  return is_gone(owner) ? std::string() : describe(owner);
}

}  // namespace squant::results
