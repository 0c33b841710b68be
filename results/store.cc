#include "results/store.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <utility>

#include "results/connection.h"
#include "results/job_state.h"
#include "results/job_table.h"
#include "results/ledger.h"
#include "results/result_query.h"
#include "results/snapshot.h"
#include "results/tile_table.h"
#include "results/writer_lock.h"

namespace squant::results {
namespace {

std::string random_uuid() {
  std::random_device source;
  std::string text;
  for (int i = 0; i < 4; ++i) {
    char part[9];
    std::snprintf(part, sizeof part, "%08x", static_cast<unsigned>(source()));
    text += part;
  }
  return text;
}

std::string or_now(const std::string& time) { return time.empty() ? utc_now() : time; }

class SqliteStore final : public Store {
 public:
  SqliteStore(std::unique_ptr<WriterSession> writer, const SnapshotOptions& snapshots)
      : writer_(std::move(writer)), connection_(&writer_->connection()) {
    if (connection_->journal_mode() == JournalMode::kExclusiveTruncate)
      publisher_.emplace(*connection_, mutex_, writer_->generation(), snapshots);
  }
  explicit SqliteStore(std::unique_ptr<Connection> reader)
      : reader_(std::move(reader)), connection_(reader_.get()) {}
  ~SqliteStore() override {
    // Before the last snapshot: it may take long, and whoever kills it leaves no lock behind.
    if (writer_) {
      const std::lock_guard guard(mutex_);
      writer_->release();
    }
    publisher_.reset();
  }
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  std::int64_t begin_run(const RunRow& run) override;
  void finish_run(std::int64_t run_id, int exit_code) override;
  void add_worker(const WorkerRow& worker) override;
  void add_dataset(const DatasetRow& dataset) override;
  void add_jobs(std::int64_t run_id, std::span<const PlannedJob> jobs) override;
  void add_preparation(const PreparationRow& preparation) override;
  void commit_tiles(std::span<const TileRow> tiles) override;
  void add_failure(const FailureRow& failure) override;
  void heartbeat() override;
  void update_verdicts(std::int64_t run_id, std::span<const std::string> identities) override;
  void forget(std::span<const std::string> identities) override;
  JobState job_state(const JobRow& job) override;
  std::vector<ResultRow> results(std::span<const std::string> identities) override;
  std::vector<RunRow> runs() override;

 private:
  Query query(const char* sql) { return Query(connection_->statement(sql)); }

  // One transaction that only the lock's owner may make: `body` in it, durable on return, or
  // nothing of it at all.
  template <typename Body>
  void write(std::string_view purpose, Body&& body) {
    refresh(purpose, body);
    if (publisher_) publisher_->note_commit();
  }
  // The same for what viewers need not see.
  template <typename Body>
  void refresh(std::string_view purpose, Body&& body) {
    const std::lock_guard guard(mutex_);
    if (!writer_) {
      throw StoreError(connection_->path() + ": cannot " + std::string(purpose) +
                       ": it was opened for reading");
    }
    connection_->write(purpose, [&] {
      refresh_heartbeat(*connection_, writer_->generation());
      body();
    });
  }
  // One view of the database for several statements.
  template <typename Body>
  auto read(std::string_view purpose, Body&& body) {
    const std::lock_guard guard(mutex_);
    return connection_->guarded(purpose, [&] {
      SQLite::Transaction transaction(connection_->database());
      auto result = body();
      transaction.commit();
      return result;
    });
  }

  void insert_layer(std::int64_t evaluation_id, const LayerRow& layer);

  std::mutex mutex_;
  std::unique_ptr<WriterSession> writer_;  // one of the two
  std::unique_ptr<Connection> reader_;
  Connection* connection_;
  Ledger ledger_{*connection_};
  JobTable jobs_{*connection_, ledger_};
  TileTable tiles_{*connection_};
  std::optional<SnapshotPublisher> publisher_;
};

std::int64_t SqliteStore::begin_run(const RunRow& run) {
  std::int64_t run_id = 0;
  write("begin a run", [&] {
    query(
        "INSERT INTO run (uuid, experiment_name, experiment_path, experiment_json, command_line, "
        "git_commit,"
        " git_dirty, version, compiler, libraries, host, user, slurm_job, world_size, started_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(run.uuid.empty() ? random_uuid() : run.uuid, run.experiment_name, run.experiment_path,
              run.experiment_json, run.command_line, run.git_commit, run.git_dirty, run.version,
              run.compiler, run.libraries, run.host, run.user, run.slurm_job, run.world_size,
              or_now(run.started_at))
        .run();
    run_id = connection_->database().getLastInsertRowid();
  });
  return run_id;
}

void SqliteStore::finish_run(std::int64_t run_id, int exit_code) {
  write("finish a run", [&] {
    query("UPDATE run SET finished_at = ?, exit_code = ? WHERE run_id = ?")
        .bind(utc_now(), exit_code, run_id)
        .run();
  });
}

void SqliteStore::add_worker(const WorkerRow& worker) {
  write("add a worker", [&] {
    query(
        "INSERT INTO worker VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET host = "
        "excluded.host,"
        " pid = excluded.pid, device = excluded.device, device_name = excluded.device_name,"
        " device_uuid = excluded.device_uuid, driver = excluded.driver, num_threads = "
        "excluded.num_threads")
        .bind(worker.run_id, worker.rank, worker.host, worker.pid, worker.device,
              worker.device_name, worker.device_uuid, worker.driver, worker.num_threads)
        .run();
  });
}

// --- data sets and jobs

void SqliteStore::add_dataset(const DatasetRow& dataset) {
  write("add a data set", [&] {
    query("INSERT INTO dataset (fingerprint) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(dataset.fingerprint)
        .run();
    std::int64_t dataset_id = 0;
    std::size_t image = 0;
    {
      Query found = query(
          "SELECT dataset_id, (SELECT count(*) FROM label l WHERE l.dataset_id = d.dataset_id)"
          " FROM dataset d WHERE fingerprint = ?");
      found.bind(dataset.fingerprint).step();
      dataset_id = found.integer(0);
      image = static_cast<std::size_t>(found.integer(1));
    }
    for (; image < dataset.labels.size(); ++image) {
      query("INSERT INTO label VALUES (?, ?, ?)")
          .bind(dataset_id, static_cast<std::int64_t>(image), dataset.labels[image])
          .run();
    }
    for (std::size_t label = 0; label < dataset.class_names.size(); ++label) {
      query("INSERT INTO class VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
          .bind(dataset_id, static_cast<std::int64_t>(label), dataset.class_names[label])
          .run();
    }
  });
}

void SqliteStore::add_jobs(std::int64_t run_id, std::span<const PlannedJob> jobs) {
  ledger_.forget_grids();
  write("add jobs", [&] {
    for (const PlannedJob& planned : jobs) {
      const std::int64_t job_id = jobs_.put(planned.job);
      const auto& reference = planned.reference;
      query(
          "INSERT INTO run_job (job_id, run_id, checkpoint_path, reference_top1_pct, tolerance, "
          "reference_source,"
          " reference_baseline_pct) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
          " checkpoint_path = excluded.checkpoint_path, reference_top1_pct = "
          "excluded.reference_top1_pct,"
          " tolerance = excluded.tolerance, reference_source = excluded.reference_source,"
          " reference_baseline_pct = excluded.reference_baseline_pct")
          .bind(job_id, run_id, planned.job.checkpoint_path,
                reference ? std::optional(reference->top1_pct) : std::nullopt,
                reference ? std::optional(reference->tolerance) : std::nullopt,
                reference ? std::optional(reference->source) : std::nullopt,
                reference ? reference->baseline_top1_pct : std::nullopt)
          .run();
      ledger_.judge_job(job_id);
    }
  });
}

void SqliteStore::insert_layer(std::int64_t evaluation_id, const LayerRow& layer) {
  const auto part = [](const std::optional<CodeErrors>& errors, double CodeErrors::*member) {
    return errors ? std::optional((*errors).*member) : std::nullopt;
  };
  query(
      "INSERT INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(
          evaluation_id, layer.layer, layer.name, layer.out, layer.in, layer.kernel,
          layer.quantize_ms, layer.errors.squared, layer.errors.max_kernel,
          layer.errors.max_channel, layer.range_min, layer.range_max, layer.sum_bound,
          layer.kernel_kind, part(layer.errors_e, &CodeErrors::squared),
          part(layer.errors_e, &CodeErrors::max_kernel),
          part(layer.errors_e, &CodeErrors::max_channel),
          part(layer.errors_k, &CodeErrors::squared), part(layer.errors_k, &CodeErrors::max_kernel),
          part(layer.errors_k, &CodeErrors::max_channel), layer.saturated_low, layer.saturated_high)
      .run();
}

void SqliteStore::add_preparation(const PreparationRow& preparation) {
  write("add a preparation", [&] {
    const std::int64_t evaluation_id = jobs_.need_evaluation(preparation.evaluation);
    {
      Query found = query("SELECT ranges_json FROM preparation WHERE evaluation_id = ?");
      if (found.bind(evaluation_id).step()) {
        if (found.text(0) == preparation.ranges_json) return;
        throw StoreConflict(
            connection_->path() + ": evaluation " + preparation.evaluation +
            " is prepared already, with other activation ranges: hardware or software fault");
      }
    }
    query("INSERT INTO preparation VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(?, ''))")
        .bind(evaluation_id, preparation.run_id, preparation.rank, preparation.ranges_json,
              preparation.quantize_ms, preparation.calibrate_ms, preparation.num_weights,
              or_now(preparation.finished_at), preparation.quantize_device)
        .run();
    for (const LayerRow& layer : preparation.layers) {
      insert_layer(evaluation_id, layer);
    }
    for (const StoredJob& job : ledger_.jobs_of(evaluation_id)) {
      if (job.num_images == 0) ledger_.rebuild(job);
    }
  });
}

// --- tiles and their sums

void SqliteStore::commit_tiles(std::span<const TileRow> tiles) {
  write("commit tiles", [&] {
    struct Changed {
      StoredJob job;
      Totals totals;
      std::int64_t run_id = 0;
    };
    // In the order of job ids: neighbours in the table.
    std::map<std::int64_t, Changed> changed;
    std::map<std::int64_t, StoredJob> completed;  // tiles of theirs have got outcomes
    std::map<std::int64_t, StoredJob> replaced;   // tiles of theirs have other counts
    for (TileRow tile : tiles) {
      const std::int64_t evaluation_id = jobs_.need_evaluation(tile.evaluation);
      if (tile.digest) tile.digest = normal_digest(*tile.digest);
      tile.finished_at = or_now(tile.finished_at);
      const TileTable::Stored stored = tiles_.put(evaluation_id, tile);
      if (stored == TileTable::Stored::kKnown) continue;
      for (const StoredJob& job : ledger_.jobs_of(evaluation_id)) {
        if (!is_on_grid(tile.first, tile.count, job.chunk, job.num_images)) continue;
        if (stored == TileTable::Stored::kCompleted) completed[job.job_id] = job;
        if (stored == TileTable::Stored::kReplaced) replaced[job.job_id] = job;
        if (stored != TileTable::Stored::kNew) continue;
        auto [found, is_new] = changed.try_emplace(job.job_id);
        if (is_new) found->second = {job, ledger_.load(job.job_id)};
        found->second.totals.add(tile);
        found->second.run_id = std::max(found->second.run_id, tile.run_id);
      }
    }
    for (const auto& [job_id, change] : changed) {
      ledger_.clear_failures(job_id, change.run_id);
      if (ledger_.store(change.job, change.totals)) ledger_.on_complete(change.job);
    }
    for (const auto& [job_id, job] : completed) ledger_.recount_classes(job);
    for (const auto& [job_id, job] : replaced) ledger_.rebuild(job);
  });
}

// --- failures and verdicts

void SqliteStore::add_failure(const FailureRow& failure) {
  write("add a failure", [&] {
    query(
        "INSERT INTO failure (job_id, run_id, rank, reason, log_tail, failed_at) VALUES (?, ?, ?, "
        "?, ?, ?)")
        .bind(jobs_.need_job(failure.identity), failure.run_id, failure.rank, failure.reason,
              failure.log_tail, or_now(failure.failed_at))
        .run();
  });
}

void SqliteStore::heartbeat() {
  refresh("refresh the heartbeat", [] {});
}

void SqliteStore::update_verdicts(std::int64_t /*run_id*/,
                                  std::span<const std::string> identities) {
  write("update verdicts", [&] {
    for (const std::string& identity : identities) ledger_.judge_job(jobs_.need_job(identity));
  });
}

void SqliteStore::forget(std::span<const std::string> identities) {
  write("forget results", [&] {
    for (const std::string& identity : identities) {
      const std::int64_t job_id = jobs_.need_job(identity);
      std::int64_t evaluation_id = 0;
      {
        Query found = query("SELECT evaluation_id FROM job WHERE job_id = ?");
        found.bind(job_id).step();
        evaluation_id = found.integer(0);
      }
      query(
          "DELETE FROM tile WHERE evaluation_id = ?1 AND EXISTS (SELECT 1 FROM job j WHERE "
          "j.job_id = ?2"
          " AND first % j.chunk = 0 AND count = min(j.chunk, j.num_images - first))")
          .bind(evaluation_id, job_id)
          .run();
      query("DELETE FROM preparation WHERE evaluation_id = ?").bind(evaluation_id).run();
      ledger_.clear_failures(job_id, std::numeric_limits<std::int64_t>::max());
      const std::vector<StoredJob> sharing = ledger_.jobs_of(evaluation_id);
      for (const StoredJob& job : sharing) ledger_.rebuild(job);
    }
  });
}

// --- reading

JobState SqliteStore::job_state(const JobRow& job) {
  return read("read a job's state", [&] { return read_job_state(*connection_, jobs_, job); });
}

std::vector<ResultRow> SqliteStore::results(std::span<const std::string> identities) {
  return read("read results", [&] { return read_results(*connection_, identities); });
}

std::vector<RunRow> SqliteStore::runs() {
  return read("read runs", [&] { return read_runs(*connection_); });
}

}  // namespace

std::unique_ptr<Store> Store::open_writer(const std::string& path, bool takeover,
                                          const SnapshotOptions& snapshots) {
  return std::make_unique<SqliteStore>(std::make_unique<WriterSession>(path, takeover), snapshots);
}

std::unique_ptr<Store> Store::open_reader(const std::string& path) {
  return std::make_unique<SqliteStore>(Connection::open_reader(path));
}

std::string sqlite_version() { return SQLite::getLibVersion(); }

}  // namespace squant::results
