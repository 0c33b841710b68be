#include "results/snapshot.h"

#include <SQLiteCpp/Backup.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "results/writer_lock.h"

namespace squant::results {
namespace {

namespace fs = std::filesystem;

constexpr int kPagesAStep = 128;  // 512 KiB
constexpr std::chrono::milliseconds kPauseBetweenSteps{1};
// After a copy that took long, so that copying takes a tenth of the time at most.
constexpr int kRestPerCopy = 9;
constexpr int kSpaceFactor = 2;

fs::path folder_of(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

[[noreturn]] void refuse(const std::string& path, const char* purpose) {
  throw StoreError(path + ": cannot " + purpose + ": " + std::strerror(errno));
}

void sync(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) refuse(path, "open the snapshot for viewers");
  const int code = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  if (code != 0) refuse(path, "make the snapshot for viewers durable");
}

// Those that killed writers have left.
void remove_drafts(const std::string& snapshot) {
  std::error_code code;
  const std::string front = fs::path(snapshot).filename().string() + '.';
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(snapshot), code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(front) && name.ends_with(".draft")) fs::remove(entry.path(), code);
  }
}

}  // namespace

SnapshotPublisher::SnapshotPublisher(Connection& source, std::mutex& mutex, std::int64_t generation,
                                     SnapshotOptions options)
    : source_(source),
      source_mutex_(mutex),
      options_(std::move(options)),
      generation_(generation),
      path_(snapshot_path(source.path())),
      draft_(path_ + '.' + std::to_string(generation) + ".draft") {
  remove_drafts(path_);
  sigset_t all;  // are for the program's own threads
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { work(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

SnapshotPublisher::~SnapshotPublisher() {
  {
    const std::lock_guard guard(state_mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void SnapshotPublisher::note_commit() {
  {
    const std::lock_guard guard(state_mutex_);
    has_news_ = true;
  }
  changed_.notify_one();
}

bool SnapshotPublisher::is_ending() {
  const std::lock_guard guard(state_mutex_);
  return ends_;
}

void SnapshotPublisher::work() {
  using Duration = Clock::duration;
  const auto interval =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options_.interval_s));
  Clock::time_point next = Clock::now() + interval / 10;  // the first one soon
  std::unique_lock lock(state_mutex_);
  while (true) {
    changed_.wait(lock, [&] { return has_news_ || ends_; });
    changed_.wait_until(lock, next, [&] { return ends_; });
    if (!has_news_) return;
    has_news_ = false;
    lock.unlock();
    const Clock::time_point begin = Clock::now();
    const bool is_published = publish_or_warn();
    const Duration took = Clock::now() - begin;
    next = begin + std::max(interval, took * (1 + kRestPerCopy));
    lock.lock();
    if (!is_published && !ends_) has_news_ = true;
  }
}

bool SnapshotPublisher::publish_or_warn() {
  std::string problem;
  try {
    publish();
  } catch (const std::exception& error) {
    problem = error.what();
    ::unlink(draft_.c_str());  // at once: it may have taken the room that results need
  }
  const bool is_news = problem.empty() == has_failed_;
  has_failed_ = !problem.empty();
  if (is_news && options_.warn) {
    options_.warn(has_failed_ ? problem + "; viewers do not see what is new, it is tried again"
                              : path_ + ": snapshots for viewers are written again");
  }
  return !has_failed_;
}

void SnapshotPublisher::publish() {
  check_space(check_source());
  copy_to_draft();
  // Who may read the database may read the copy, and nobody else.
  struct stat info {};
  if (::stat(source_.path().c_str(), &info) != 0 || ::chmod(draft_.c_str(), info.st_mode) != 0)
    refuse(draft_, "give a snapshot the database's permissions");
  sync(draft_, O_RDONLY);
  if (::rename(draft_.c_str(), path_.c_str()) != 0) refuse(path_, "publish a snapshot for viewers");
  sync(folder_of(path_).string(), O_RDONLY | O_DIRECTORY);
}

// Its size in bytes. Whoever has taken over publishes, nobody else.
std::uint64_t SnapshotPublisher::check_source() {
  const std::lock_guard guard(source_mutex_);
  return source_.guarded("publish a snapshot for viewers", [&] {
    check_generation(source_, generation_);
    return static_cast<std::uint64_t>(source_.pragma("page_count") * source_.pragma("page_size"));
  });
}

// Results go first: a copy must leave as much room as it takes.
void SnapshotPublisher::check_space(std::uint64_t size) {
  struct statvfs info {};
  if (::statvfs(folder_of(path_).c_str(), &info) != 0) return;
  const std::uint64_t free = std::uint64_t{info.f_bavail} * info.f_frsize;
  if (free >= kSpaceFactor * size) return;
  constexpr std::uint64_t kMegabyte = 1'000'000;
  throw StoreFull(path_ + ": no snapshot for viewers: " + std::to_string(free / kMegabyte) +
                  " MB are free there, the database has " + std::to_string(size / kMegabyte) +
                  " MB, and results have to go on finding room");
}

void SnapshotPublisher::copy_to_draft() {
  ::unlink(draft_.c_str());
  SQLite::Database draft(file_uri(draft_),
                         SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_URI);
  try {
    // A draft is thrown away after any fault: no journal.
    draft.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
    const auto with_source = [&](auto&& body) {
      const std::lock_guard guard(source_mutex_);
      return body();
    };
    // What the writer commits meanwhile is copied along, since it uses the same connection.
    const auto end = [&](SQLite::Backup* backup) { with_source([&] { delete backup; }); };
    const std::unique_ptr<SQLite::Backup, decltype(end)> backup(
        with_source([&] { return new SQLite::Backup(draft, "main", source_.database(), "main"); }),
        end);
    int code = SQLITE_OK;
    while ((code = with_source([&] { return backup->executeStep(kPagesAStep); })) == SQLITE_OK) {
      if (!is_ending()) std::this_thread::sleep_for(kPauseBetweenSteps);
    }
    if (code != SQLITE_DONE) throw SQLite::Exception(sqlite3_errstr(code), code);
  } catch (const SQLite::Exception& error) {
    throw_store_error(draft, draft_, "write a snapshot for viewers", error);
  }
}

}  // namespace squant::results
