// The results database: one SQLite file, one writer (the coordinator), each tile durable when
// commit() returns. On a local disk it uses WAL; on a network file system a rollback journal and
// exclusive locking (statfs decides), and snapshots for viewers. Every function throws StoreError,
// with the path, the statement's purpose and SQLite's own text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "results/rows.h"

namespace squant::results {

class StoreError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
// The database belongs to another live coordinator; the message says which host, pid, start and
// heartbeat.
class StoreLocked : public StoreError {
 public:
  using StoreError::StoreError;
};
// Not a database, another program's, or a newer schema.
class StoreIncompatible : public StoreError {
 public:
  using StoreError::StoreError;
};
// The disk is full or the quota is used up: nothing of the batch was written, it may be tried
// again.
class StoreFull : public StoreError {
 public:
  using StoreError::StoreError;
};

// A writer died in the middle of a commit, and a reader may not undo it: the next writer does.
class StoreUnfinished : public StoreError {
 public:
  using StoreError::StoreError;
};

// A result contradicts the one that is stored for the same images: a hardware or software fault.
// Nothing of the batch was written.
class StoreConflict : public StoreError {
 public:
  using StoreError::StoreError;
};

inline constexpr int kSchemaVersion = 3;

struct TileRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
  auto operator<=>(const TileRange&) const = default;
};

// What is known of a job before anything runs.
struct JobState {
  // Tiles of this job's grid that are stored, ascending. All of them where the same job is
  // complete, on any grid.
  std::vector<TileRange> finished;
  // Those of them that need not be computed again to keep predictions.
  std::vector<TileRange> predicted;
  // The job is complete on tiles of another size, not all of which have predictions: only those of
  // a job that is forgotten could be kept.
  bool predictions_need_force = false;
  std::optional<PreparationRow> preparation;  // without layers
  std::optional<FailureRow> failure;          // the last one, if no later result cleared it
};

// Where a writer holds the file for itself (network file systems), it publishes a consistent copy
// for viewers beside it: PATH.snapshot.
struct SnapshotOptions {
  double interval_s = 30;  // from one to the next at least, if something was committed
  // Gets why a copy failed, and that they work again; on a thread of the store's.
  std::function<void(const std::string&)> warn;
};

// Thread-safe; calls wait for each other.
class Store {
 public:
  // Creates the file and schema if need be, migrates an older one, and takes the writer's lock: a
  // lock row with host, pid, start and heartbeat, and a fencing generation that every commit
  // checks. A lock whose process is dead on this host, or (with `takeover`) whose heartbeat is
  // older than 60 s, is replaced. Its end gives the lock back and publishes a last snapshot.
  static std::unique_ptr<Store> open_writer(const std::string& path, bool takeover = false,
                                            const SnapshotOptions& snapshots = {});
  // Read-only; never creates, never blocks a writer. An older database is read through a temporary
  // copy of this program's schema, which does not follow what is written meanwhile.
  static std::unique_ptr<Store> open_reader(const std::string& path);
  virtual ~Store() = default;

  // --- the coordinator's side
  virtual std::int64_t begin_run(const RunRow& run) = 0;
  virtual void finish_run(std::int64_t run_id, int exit_code) = 0;
  virtual void add_worker(const WorkerRow& worker) = 0;
  // Before the jobs on it. Labels of images that are known already stay.
  virtual void add_dataset(const DatasetRow& dataset) = 0;
  // Inserts what is new (by identity) and links every job to the run, with the value it is to be
  // compared with. A complete job keeps the grid it was evaluated on, another one takes the grid of
  // the newest plan.
  struct PlannedJob {
    JobRow job;
    std::optional<ReferenceValue> reference;
  };
  virtual void add_jobs(std::int64_t run_id, std::span<const PlannedJob> jobs) = 0;
  // Throws StoreConflict where the evaluation is prepared already, with other ranges.
  virtual void add_preparation(const PreparationRow& preparation) = 0;
  // All or nothing, durable on return. A tile that is stored already with the same counts, digest
  // and outcomes is ignored, but for outcomes and predictions that it brings and the stored one
  // lacks; with another digest, or with the same and other outcomes or predictions: throws
  // StoreConflict that says so. Without digest the first one stays, unless the second one alone
  // has predictions: then it takes the first one's place. Partial tiles that a larger one of the
  // same start covers stay; each job reads only tiles of its own grid. Run and rank must be known
  // by begin_run() and add_worker(). Jobs that become complete are judged here, and a float job's
  // completion judges again those it is the baseline of.
  virtual void commit_tiles(std::span<const TileRow> tiles) = 0;
  // The failure stands until the job is complete or a later run commits a tile of it.
  virtual void add_failure(const FailureRow& failure) = 0;
  virtual void
  heartbeat() = 0;  // refreshes the lock row; throws StoreLocked when the lock was taken over
  // Recomputes and stores the verdicts of these jobs (identities), for every run they are part of.
  virtual void update_verdicts(std::int64_t run_id, std::span<const std::string> identities) = 0;
  // Forgets tiles and preparation of these jobs, so that they are computed again (--force). Jobs
  // that share tiles with them become unfinished.
  virtual void forget(std::span<const std::string> identities) = 0;

  // --- both sides
  virtual JobState job_state(const JobRow& job) = 0;
  // Rows of the view `results`; empty `identities`: all.
  virtual std::vector<ResultRow> results(std::span<const std::string> identities = {}) = 0;
  virtual std::vector<RunRow> runs() = 0;
};

// Of the SQLite library that this program uses.
std::string sqlite_version();

}  // namespace squant::results
