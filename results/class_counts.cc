#include "results/class_counts.h"

#include <utility>

namespace squant::results {

std::string job_outcomes(Connection& connection, const StoredJob& job) {
  Query tiles(connection.statement(
      "SELECT outcomes FROM tile WHERE evaluation_id = (SELECT evaluation_id FROM job WHERE "
      "job_id = ?1) AND first % ?2 = 0 AND count = min(?2, ?3 - first) ORDER BY first"));
  tiles.bind(job.job_id, job.chunk, job.num_images);
  std::string outcomes;
  while (tiles.step()) {
    if (tiles.is_null(0)) return {};
    outcomes += tiles.text(0);
  }
  return std::cmp_equal(outcomes.size(), job.num_images) ? outcomes : std::string();
}

const std::vector<std::int32_t>& ClassCounts::labels_of(const StoredJob& job) {
  static const std::vector<std::int32_t> kNone;
  Query dataset = query(
      "SELECT dataset_id FROM job JOIN evaluation USING (evaluation_id)"
      " JOIN dataset ON fingerprint = dataset_fingerprint WHERE job_id = ?");
  if (!dataset.bind(job.job_id).step()) return kNone;
  std::vector<std::int32_t>& labels = labels_[dataset.integer(0)];
  if (std::cmp_less(labels.size(), job.num_images)) {
    labels.clear();
    Query rows = query("SELECT class FROM label WHERE dataset_id = ? ORDER BY image");
    rows.bind(dataset.integer(0));
    while (rows.step()) labels.push_back(static_cast<std::int32_t>(rows.integer(0)));
  }
  return std::cmp_less(labels.size(), job.num_images) ? kNone : labels;
}

std::vector<ClassCount> ClassCounts::count(const StoredJob& job) {
  const std::vector<std::int32_t>& labels = labels_of(job);
  if (labels.empty()) return {};
  const std::string outcomes = job_outcomes(connection_, job);
  std::map<std::int32_t, ClassCount> counts;
  for (std::size_t image = 0; image < outcomes.size(); ++image) {
    ClassCount& one = counts[labels[image]];
    one.label = labels[image];
    ++one.num_images;
    one.num_top1 += outcomes[image] == '1' ? 1 : 0;
    one.num_top5 += outcomes[image] == '1' || outcomes[image] == '5' ? 1 : 0;
  }
  std::vector<ClassCount> list;
  for (const auto& [label, one] : counts) list.push_back(one);
  return list;
}

std::vector<ClassCount> ClassCounts::load(std::int64_t job_id) {
  Query rows = query(
      "SELECT class, num_images, num_top1, num_top5 FROM class_total WHERE job_id = ? ORDER BY "
      "class");
  rows.bind(job_id);
  std::vector<ClassCount> list;
  while (rows.step())
    list.push_back({rows.integer(0), rows.integer(1), rows.integer(2), rows.integer(3)});
  return list;
}

void ClassCounts::rebuild(const StoredJob& job) {
  clear(job.job_id);
  for (const ClassCount& one : count(job)) {
    query("INSERT INTO class_total VALUES (?, ?, ?, ?, ?)")
        .bind(job.job_id, one.label, one.num_images, one.num_top1, one.num_top5)
        .run();
  }
}

void ClassCounts::clear(std::int64_t job_id) {
  query("DELETE FROM class_total WHERE job_id = ?").bind(job_id).run();
}

}  // namespace squant::results
