#include "results/viewer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "results/writer_lock.h"

namespace squant::results {
namespace {

std::string age_text(double seconds) {
  constexpr std::int64_t kMinute = 60;
  constexpr std::int64_t kHour = 60 * kMinute;
  const std::int64_t whole = std::llround(std::max(seconds, 0.0));
  if (whole < 2 * kMinute) return std::to_string(whole) + " s";
  if (whole < 2 * kHour) return std::to_string(whole / kMinute) + " min";
  return std::to_string(whole / kHour) + " h";
}

// "2026-01-31 12:00:00"
std::string readable(const std::string& time) {
  return time.size() < 19 ? time : time.substr(0, 10) + ' ' + time.substr(11, 8);
}

std::unique_ptr<Connection> open_snapshot(const std::string& path, const std::string& why,
                                          std::ostream& notes) {
  std::unique_ptr<Connection> connection = Connection::open_unlocked(snapshot_path(path));
  const LastCommit last =
      connection->guarded("read the snapshot's time", [&] { return last_commit(*connection); });
  connection->set_note(path + ' ' + why + "; shown is its snapshot of " + readable(last.at) +
                       " UTC (" + age_text(last.age_s) + " old)");
  notes << "squant-results: " << connection->note() << '\n';
  return connection;
}

// File locks are not asked: some network file systems grant them on each node alone.
bool is_written_on_network(const std::string& path) {
  if (journal_mode_at(path) != JournalMode::kExclusiveTruncate) return false;
  try {
    const auto peek = Connection::open_unlocked(path);
    return peek->guarded("read the writer's lock", [&] { return has_live_owner(*peek); });
  } catch (const StoreError&) {
    return true;  // half a commit was read
  }
}

}  // namespace

std::unique_ptr<Connection> open_view(const std::string& path, std::ostream& notes) {
  std::error_code code;
  const bool has_snapshot =
      std::filesystem::exists(path, code) && std::filesystem::exists(snapshot_path(path), code);
  if (!has_snapshot) return Connection::open_reader(path);
  if (is_written_on_network(path)) return open_snapshot(path, "is being written", notes);
  try {
    return Connection::open_reader(path);
  } catch (const StoreLocked&) {
    return open_snapshot(path, "is held by its writer", notes);
  } catch (const StoreUnfinished&) {
    return open_snapshot(path, "was left in the middle of a commit, which the next writer undoes",
                         notes);
  }
}

}  // namespace squant::results
