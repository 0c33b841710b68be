#include "results/result_query.h"

namespace squant::results {
namespace {

#define SQ_RESULT_COLUMNS                                                                                         \
  "SELECT identity, evaluation, config_json, model, bits, weight_bits, activation_bits, mode, rounding, sigma,"   \
  " calibration_images, engine, coalesce(checkpoint_path, ''), checkpoint_sha256, checkpoint_note, dataset_name," \
  " dataset_fingerprint, num_planned, chunk, numerics_version, dataset_size, num_images, num_top1, num_top5,"     \
  " num_broken, coalesce(top1_pct, 0), coalesce(top5_pct, 0), coalesce(ci_low_pct, 0),"                           \
  " coalesce(ci_high_pct, 100), digest, reference_top1_pct, tolerance, coalesce(reference_source, ''), verdict,"  \
  " verdict_text, quantize_ms, images_per_s, coalesce(failure, ''), coalesce(run_id, 0) FROM results"

ResultRow row_of(Query& query) {
  int column = 0;
  const auto text = [&] { return query.text(column++); };
  const auto integer = [&] { return query.integer(column++); };
  const auto small = [&] { return static_cast<int>(query.integer(column++)); };
  const auto real = [&] { return query.real(column++); };
  const auto optional_real = [&] { return query.optional_real(column++); };
  // Braces evaluate from left to right, so the members follow the columns' order.
  return {.job = {.identity = text(),
                  .evaluation = text(),
                  .config_json = text(),
                  .model = text(),
                  .bits = text(),
                  .weight_bits = small(),
                  .activation_bits = small(),
                  .mode = text(),
                  .rounding = text(),
                  .sigma = real(),
                  .calibration_images = integer(),
                  .engine = text(),
                  .checkpoint_path = text(),
                  .checkpoint_sha256 = text(),
                  .checkpoint_note = text(),
                  .dataset_name = text(),
                  .dataset_fingerprint = text(),
                  .num_images = integer(),
                  .chunk = integer(),
                  .numerics_version = small(),
                  .dataset_size = integer()},
          .num_images = integer(),
          .num_top1 = integer(),
          .num_top5 = integer(),
          .num_broken = integer(),
          .top1_pct = real(),
          .top5_pct = real(),
          .ci_low_pct = real(),
          .ci_high_pct = real(),
          .digest = query.optional_text(column++),
          .reference_top1_pct = optional_real(),
          .tolerance = optional_real(),
          .reference_source = text(),
          .verdict = text(),
          .verdict_text = text(),
          .quantize_ms = optional_real(),
          .images_per_s = optional_real(),
          .failure = text(),
          .run_id = integer()};
}

}  // namespace

std::vector<ResultRow> read_results(Connection& connection, std::span<const std::string> identities) {
  std::vector<ResultRow> rows;
  if (identities.empty()) {
    Query query(connection.statement(SQ_RESULT_COLUMNS " ORDER BY job_id"));
    while (query.step()) rows.push_back(row_of(query));
    return rows;
  }
  for (const std::string& identity : identities) {
    Query query(connection.statement(SQ_RESULT_COLUMNS " WHERE identity = ?"));
    if (query.bind(identity).step()) rows.push_back(row_of(query));
  }
  return rows;
}

}  // namespace squant::results
