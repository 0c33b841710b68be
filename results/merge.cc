#include "results/merge.h"

#include <filesystem>

#include "results/ledger.h"
#include "results/writer_lock.h"

namespace squant::results {
namespace {

// Ids of `source` and what they are called here.
constexpr const char* kMaps =
    "CREATE TEMP TABLE run_map (source_id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL);"
    "CREATE TEMP TABLE evaluation_map (source_id INTEGER PRIMARY KEY, evaluation_id INTEGER NOT "
    "NULL);"
    "CREATE TEMP TABLE dataset_map (source_id INTEGER PRIMARY KEY, dataset_id INTEGER NOT NULL);"
    "CREATE TEMP TABLE job_map (source_id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL);";
constexpr const char* kDropMaps =
    "DROP TABLE IF EXISTS temp.run_map; DROP TABLE IF EXISTS temp.dataset_map; DROP TABLE IF "
    "EXISTS temp.evaluation_map; DROP TABLE IF "
    "EXISTS temp.job_map;";

constexpr const char* kRuns =
    "INSERT INTO main.run (uuid, experiment_name, experiment_path, experiment_json, command_line, "
    "git_commit, "
    "git_dirty,"
    " version, compiler, libraries, host, user, slurm_job, world_size, started_at, finished_at, "
    "exit_code)"
    " SELECT uuid, experiment_name, experiment_path, experiment_json, command_line, git_commit, "
    "git_dirty, version,"
    " compiler, libraries, host, user, slurm_job, world_size, started_at, finished_at, exit_code "
    "FROM source.run"
    " WHERE true ORDER BY run_id ON CONFLICT (uuid) DO NOTHING";
constexpr const char* kWorkers =
    "INSERT INTO temp.run_map SELECT s.run_id, m.run_id FROM source.run s JOIN main.run m USING "
    "(uuid);"
    "INSERT INTO main.worker SELECT m.run_id, rank, host, pid, device, device_name, device_uuid, "
    "driver, num_threads"
    " FROM source.worker w JOIN temp.run_map m ON m.source_id = w.run_id WHERE true ON CONFLICT DO "
    "NOTHING;"
    "UPDATE main.run SET (finished_at, exit_code) = (SELECT s.finished_at, s.exit_code FROM "
    "source.run s"
    " WHERE s.uuid = run.uuid) WHERE finished_at IS NULL AND uuid IN (SELECT uuid FROM source.run)";
constexpr const char* kEvaluations =
    "INSERT INTO main.evaluation (evaluation, model, bits, weight_bits, activation_bits, mode, "
    "rounding, sigma,"
    " calibration_images, engine, checkpoint_sha256, checkpoint_note, dataset_name, "
    "dataset_fingerprint, dataset_size,"
    " numerics_version) SELECT evaluation, model, bits, weight_bits, activation_bits, mode, "
    "rounding, sigma,"
    " calibration_images, engine, checkpoint_sha256, checkpoint_note, dataset_name, "
    "dataset_fingerprint, dataset_size,"
    " numerics_version FROM source.evaluation WHERE true ORDER BY evaluation_id ON CONFLICT "
    "(evaluation) DO UPDATE SET"
    " checkpoint_note = iif(checkpoint_note = '', excluded.checkpoint_note, checkpoint_note),"
    " dataset_size = max(dataset_size, excluded.dataset_size);"
    "INSERT INTO temp.evaluation_map SELECT s.evaluation_id, m.evaluation_id FROM "
    "source.evaluation s"
    " JOIN main.evaluation m USING (evaluation)";
// A job that is complete there and not here comes with the grid of its tiles.
constexpr const char* kJobs =
    "INSERT INTO main.job (identity, evaluation_id, num_images, chunk, config_json) SELECT "
    "s.identity, m.evaluation_id,"
    " s.num_images, s.chunk, s.config_json FROM source.job s JOIN temp.evaluation_map m ON "
    "m.source_id = "
    "s.evaluation_id"
    " WHERE true ORDER BY s.job_id ON CONFLICT (identity) DO NOTHING";
constexpr const char* kJobMap =
    "INSERT INTO temp.job_map SELECT s.job_id, m.job_id FROM source.job s JOIN main.job m USING "
    "(identity);"
    "UPDATE main.job SET chunk = s.chunk FROM temp.job_map m JOIN source.job s ON s.job_id = "
    "m.source_id"
    " JOIN source.total t ON t.job_id = s.job_id WHERE job.job_id = m.job_id AND t.completed_at IS "
    "NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM main.total h WHERE h.job_id = m.job_id AND h.completed_at IS "
    "NOT NULL);"
    "INSERT INTO main.run_job SELECT j.job_id, r.run_id, checkpoint_path, reference_top1_pct, "
    "tolerance,"
    " reference_source, reference_baseline_pct, NULL, NULL, NULL FROM source.run_job l"
    " JOIN temp.job_map j ON j.source_id = l.job_id JOIN temp.run_map r ON r.source_id = l.run_id"
    " WHERE true ON CONFLICT DO NOTHING;"
    "INSERT INTO main.failure (job_id, run_id, rank, reason, log_tail, failed_at, cleared_at)"
    " SELECT j.job_id, r.run_id, rank, reason, log_tail, failed_at, cleared_at FROM source.failure "
    "f"
    " JOIN temp.job_map j ON j.source_id = f.job_id JOIN temp.run_map r ON r.source_id = f.run_id"
    " WHERE NOT EXISTS (SELECT 1 FROM main.failure h WHERE h.job_id = j.job_id AND h.run_id = "
    "r.run_id"
    " AND h.failed_at = f.failed_at AND h.reason = f.reason)";

constexpr const char* kDatasets =
    "INSERT INTO main.dataset (fingerprint) SELECT fingerprint FROM source.dataset WHERE true"
    " ORDER BY dataset_id ON CONFLICT DO NOTHING;"
    "INSERT INTO temp.dataset_map SELECT s.dataset_id, m.dataset_id FROM source.dataset s"
    " JOIN main.dataset m USING (fingerprint);"
    "INSERT INTO main.class SELECT m.dataset_id, class, name FROM source.class s"
    " JOIN temp.dataset_map m ON m.source_id = s.dataset_id WHERE true ON CONFLICT DO NOTHING;"
    "INSERT INTO main.label SELECT m.dataset_id, image, class FROM source.label s"
    " JOIN temp.dataset_map m ON m.source_id = s.dataset_id WHERE true ON CONFLICT DO NOTHING";

constexpr const char* kConflicts =
    "SELECT e.model || ' ' || e.bits || ' ' || e.mode || ', images [' || h.first || ', ' || "
    "(h.first + h.count) ||"
    " '): here ' || h.num_top1 || ' top-1, digest ' || coalesce(h.digest, 'none') || '; there ' || "
    "s.num_top1 ||"
    " ' top-1, digest ' || coalesce(s.digest, 'none') || ' (run ' || s.run_id || ', rank ' || "
    "s.rank || ')'"
    " FROM source.tile s JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " JOIN main.tile h ON h.evaluation_id = m.evaluation_id AND h.first = s.first AND h.count = "
    "s.count"
    " JOIN main.evaluation e ON e.evaluation_id = m.evaluation_id"
    " WHERE (h.digest IS NOT NULL OR s.digest IS NOT NULL) AND (h.digest IS NOT s.digest OR "
    "h.num_top1 <> s.num_top1"
    " OR h.num_top5 <> s.num_top5 OR h.num_broken <> s.num_broken)"
    " UNION ALL SELECT e.model || ' ' || e.bits || ' ' || e.mode || ': prepared with other "
    "activation ranges'"
    " FROM source.preparation s JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " JOIN main.preparation h ON h.evaluation_id = m.evaluation_id"
    " JOIN main.evaluation e ON e.evaluation_id = m.evaluation_id WHERE h.ranges_json <> "
    "s.ranges_json"
    " UNION ALL SELECT e.model || ' ' || e.bits || ' ' || e.mode || ', images [' || h.first || ', "
    "' "
    "|| (h.first + h.count) || '): the same counts and digest, but other images are right'"
    " FROM source.tile s JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " JOIN main.tile h ON h.evaluation_id = m.evaluation_id AND h.first = s.first AND h.count = "
    "s.count"
    " JOIN main.evaluation e ON e.evaluation_id = m.evaluation_id"
    " WHERE h.digest = s.digest AND h.num_top1 = s.num_top1 AND h.num_top5 = s.num_top5"
    " AND h.num_broken = s.num_broken AND h.outcomes <> s.outcomes"
    " UNION ALL SELECT e.model || ' ' || e.bits || ' ' || e.mode || ', images [' || h.first || ', "
    "' "
    "|| (h.first + h.count) || '): the same digest, but other predictions'"
    " FROM source.prediction s JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " JOIN main.prediction h ON h.evaluation_id = m.evaluation_id AND h.first = s.first AND "
    "h.count = s.count"
    " JOIN main.tile t ON t.evaluation_id = h.evaluation_id AND t.first = h.first AND t.count = "
    "h.count"
    " JOIN main.evaluation e ON e.evaluation_id = m.evaluation_id"
    " WHERE t.digest IS NOT NULL AND h.classes <> s.classes"
    " UNION ALL SELECT 'data set ' || d.fingerprint || ', image ' || h.image || ': class ' || "
    "h.class || ' here, ' || s.class || ' there'"
    " FROM source.label s JOIN temp.dataset_map m ON m.source_id = s.dataset_id"
    " JOIN main.label h ON h.dataset_id = m.dataset_id AND h.image = s.image"
    " JOIN main.dataset d ON d.dataset_id = m.dataset_id WHERE h.class <> s.class";

constexpr const char* kPreparations =
    "INSERT INTO main.layer SELECT m.evaluation_id, layer, name, out_channels, in_channels, "
    "kernel_size, quantize_ms,"
    " squared_error, max_kernel_error, max_channel_error, range_min, range_max, sum_bound, "
    "kernel_kind, squared_error_e, max_kernel_error_e, max_channel_error_e, squared_error_k,"
    " max_kernel_error_k, max_channel_error_k, saturated_low, saturated_high"
    " FROM source.layer s JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " WHERE NOT EXISTS (SELECT 1 FROM main.layer h WHERE h.evaluation_id = m.evaluation_id AND "
    "h.layer = s.layer)";
constexpr const char* kPreparationRows =
    "INSERT INTO main.preparation SELECT m.evaluation_id, r.run_id, rank, ranges_json, "
    "quantize_ms, calibrate_ms,"
    " num_weights, finished_at, quantize_device FROM source.preparation s JOIN temp.evaluation_map "
    "m ON m.source_id "
    "= s.evaluation_id"
    " JOIN temp.run_map r ON r.source_id = s.run_id WHERE true ON CONFLICT DO NOTHING";
constexpr const char* kTiles =
    "INSERT INTO main.tile SELECT m.evaluation_id, first, count, num_top1, num_top5, num_broken, "
    "digest, r.run_id, "
    "rank,"
    " compute_ms, load_ms, finished_at, outcomes FROM source.tile s JOIN temp.evaluation_map m ON "
    "m.source_id = s.evaluation_id"
    " JOIN temp.run_map r ON r.source_id = s.run_id WHERE true ON CONFLICT DO NOTHING";

// What a tile that both have lacks here: the same one's outcomes and predictions there.
constexpr const char* kOutcomes =
    "UPDATE main.tile AS h SET outcomes = s.outcomes FROM source.tile s"
    " JOIN temp.evaluation_map m ON m.source_id = s.evaluation_id"
    " WHERE h.evaluation_id = m.evaluation_id AND h.first = s.first AND h.count = s.count"
    " AND h.outcomes IS NULL AND s.outcomes IS NOT NULL AND h.digest IS s.digest"
    " AND h.num_top1 = s.num_top1 AND h.num_top5 = s.num_top5 AND h.num_broken = s.num_broken;"
    "INSERT INTO main.prediction SELECT m.evaluation_id, p.first, p.count, p.classes"
    " FROM source.prediction p JOIN source.tile s USING (evaluation_id, first, count)"
    " JOIN temp.evaluation_map m ON m.source_id = p.evaluation_id"
    " JOIN main.tile h ON h.evaluation_id = m.evaluation_id AND h.first = p.first AND h.count = "
    "p.count"
    " WHERE h.digest IS s.digest AND h.outcomes IS s.outcomes ON CONFLICT DO NOTHING";

std::vector<std::string> texts(Connection& into, const char* sql) {
  SQLite::Statement statement(into.database(), sql);
  std::vector<std::string> rows;
  while (statement.executeStep()) rows.push_back(statement.getColumn(0).getString());
  return rows;
}

void rebuild_sums(Connection& into) {
  std::vector<StoredJob> jobs;
  {
    SQLite::Statement rows(
        into.database(),
        "SELECT job_id, num_images, chunk FROM main.job JOIN temp.job_map USING (job_id)");
    while (rows.executeStep()) {
      jobs.push_back({rows.getColumn(0).getInt64(), rows.getColumn(1).getInt64(),
                      rows.getColumn(2).getInt64()});
    }
  }
  Ledger ledger(into);
  for (const StoredJob& job : jobs) ledger.rebuild(job);
}

// As `source`; an older database as a copy that is brought up to date.
void attach_source(Connection& into, const std::string& from) {
  const auto reader = Connection::open_reader(from);  // refuses what is no results database
  {
    SQLite::Statement attach(into.database(), "ATTACH ? AS source");
    attach.bind(1, reader->is_copy() ? std::string() : file_uri(from, "mode=ro"));
    attach.exec();
  }
  if (reader->is_copy()) copy_database(reader->database(), into.database(), "source");
}

MergeReport merge_attached(Connection& into, std::int64_t generation) {
  MergeReport report;
  SQLite::Database& database = into.database();
  SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
  refresh_heartbeat(into, generation);
  database.exec(kMaps);
  report.num_runs = database.exec(kRuns);
  database.exec(kWorkers);
  database.exec(kEvaluations);
  database.exec(kDatasets);
  report.num_jobs = database.exec(kJobs);
  database.exec(kJobMap);
  report.conflicts = texts(into, kConflicts);
  if (!report.conflicts.empty()) return report;  // the transaction goes, and all of it
  database.exec(kPreparationRows);
  database.exec(kPreparations);
  report.num_tiles = database.exec(kTiles);
  database.exec(kOutcomes);
  rebuild_sums(into);
  database.exec(kDropMaps);
  transaction.commit();
  return report;
}

}  // namespace

MergeReport merge_database(Connection& into, std::int64_t generation, const std::string& from) {
  std::error_code code;
  if (std::filesystem::equivalent(into.path(), from, code)) {
    throw StoreError(from + ": cannot merge a database into itself");
  }
  return into.guarded("merge " + from, [&] {
    const auto detach = [&] { into.database().tryExec("DETACH source"); };
    try {
      attach_source(into, from);
      MergeReport report = merge_attached(into, generation);
      detach();
      return report;
    } catch (...) {
      detach();
      throw;
    }
  });
}

}  // namespace squant::results
