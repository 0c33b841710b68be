// Copies for viewers of a database that its writer holds for itself. Internal to results/.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "results/connection.h"

namespace squant::results {

// Publishes snapshot_path() of a writer's database: consistent, made by SQLite's backup API under
// another name in the same folder, made durable and renamed. A viewer finds the one before or the
// new one, whole. Works on a thread of its own, which has the database for a few milliseconds at a
// time. A copy that fails (a full disk) is a warning; the one before stays, and the next is tried.
class SnapshotPublisher {
 public:
  // `mutex` guards `source`; `generation`: the writer's. All must outlive the publisher.
  SnapshotPublisher(Connection& source, std::mutex& mutex, std::int64_t generation,
                    SnapshotOptions options);
  // Publishes once more if anything was committed since, and waits for it. `mutex` must be free.
  ~SnapshotPublisher();
  SnapshotPublisher(const SnapshotPublisher&) = delete;
  SnapshotPublisher& operator=(const SnapshotPublisher&) = delete;

  void note_commit();  // something was committed that viewers want to see

 private:
  using Clock = std::chrono::steady_clock;
  void work();
  bool publish_or_warn();
  void publish();
  void copy_to_draft();
  std::uint64_t check_source();
  void check_space(std::uint64_t size);
  bool is_ending();

  Connection& source_;
  std::mutex& source_mutex_;
  const SnapshotOptions options_;
  const std::int64_t generation_;
  const std::string path_, draft_;
  bool has_failed_ = false;  // the last try, and it was said

  std::mutex state_mutex_;  // guards what follows
  std::condition_variable changed_;
  bool has_news_ = false;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace squant::results
