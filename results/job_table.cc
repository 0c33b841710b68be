#include "results/job_table.h"

namespace squant::results {

std::optional<std::int64_t> JobTable::find_evaluation(const std::string& evaluation) {
  const auto known = evaluation_ids_.find(evaluation);
  if (known != evaluation_ids_.end()) return known->second;
  Query found = query("SELECT evaluation_id FROM evaluation WHERE evaluation = ?");
  if (!found.bind(evaluation).step()) return std::nullopt;
  return evaluation_ids_[evaluation] = found.integer(0);
}

std::int64_t JobTable::need_evaluation(const std::string& evaluation) {
  const auto id = find_evaluation(evaluation);
  if (!id) {
    throw StoreError(connection_.path() + ": evaluation " + evaluation +
                     " is unknown; add_jobs() comes first");
  }
  return *id;
}

std::int64_t JobTable::need_job(const std::string& identity) {
  Query found = query("SELECT job_id FROM job WHERE identity = ?");
  if (!found.bind(identity).step()) {
    throw StoreError(connection_.path() + ": job " + identity +
                     " is unknown; add_jobs() comes first");
  }
  return found.integer(0);
}

std::int64_t JobTable::put_evaluation(const JobRow& job) {
  query(
      "INSERT INTO evaluation (evaluation, model, bits, weight_bits, activation_bits, mode, "
      "rounding, sigma,"
      " calibration_images, engine, checkpoint_sha256, checkpoint_note, dataset_name, "
      "dataset_fingerprint,"
      " dataset_size, numerics_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
      " ON CONFLICT (evaluation) DO UPDATE SET"
      " checkpoint_note = iif(checkpoint_note = '', excluded.checkpoint_note, checkpoint_note),"
      " dataset_size = max(dataset_size, excluded.dataset_size)")
      .bind(job.evaluation, job.model, job.bits, job.weight_bits, job.activation_bits, job.mode,
            job.rounding, job.sigma, job.calibration_images, job.engine, job.checkpoint_sha256,
            job.checkpoint_note, job.dataset_name, job.dataset_fingerprint, job.dataset_size,
            job.numerics_version)
      .run();
  Query found = query("SELECT evaluation_id FROM evaluation WHERE evaluation = ?");
  found.bind(job.evaluation).step();
  return found.integer(0);
}

std::int64_t JobTable::put(const JobRow& job) {
  const std::int64_t evaluation_id = put_evaluation(job);
  StoredJob stored{.num_images = job.num_images, .chunk = job.chunk};
  {
    Query found = query(
        "SELECT job_id, chunk, completed_at IS NOT NULL, evaluation_id, job.num_images"
        " FROM job JOIN total USING (job_id) WHERE identity = ?");
    if (found.bind(job.identity).step()) {
      if (found.integer(3) != evaluation_id || found.integer(4) != job.num_images) {
        throw StoreError(connection_.path() + ": job " + job.identity +
                         " is stored with another evaluation or number of images: its identity "
                         "does not cover them");
      }
      const bool is_complete = found.integer(2) != 0;
      stored.job_id = found.integer(0);
      if (is_complete || found.integer(1) == job.chunk) return stored.job_id;
    }
  }
  if (stored.job_id != 0) {
    query("UPDATE job SET chunk = ? WHERE job_id = ?").bind(job.chunk, stored.job_id).run();
  } else {
    query(
        "INSERT INTO job (identity, evaluation_id, num_images, chunk, config_json) VALUES (?, ?, "
        "?, ?, ?)")
        .bind(job.identity, evaluation_id, job.num_images, job.chunk, job.config_json)
        .run();
    stored.job_id = connection_.database().getLastInsertRowid();
  }
  ledger_.rebuild(stored);
  return stored.job_id;
}

}  // namespace squant::results
