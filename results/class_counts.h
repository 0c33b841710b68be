// What a job's outcomes are image by image, and by class. Internal to results/.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "results/connection.h"
#include "results/totals.h"

namespace squant::results {

// A letter an image (TileRow::outcomes), in their order; empty where one of them is not known.
std::string job_outcomes(Connection& connection, const StoredJob& job);

struct ClassCount {
  std::int64_t label = 0;
  std::int64_t num_images = 0, num_top1 = 0, num_top5 = 0;
  bool operator==(const ClassCount&) const = default;
};

// Inside the caller's transaction.
class ClassCounts {
 public:
  explicit ClassCounts(Connection& connection) : connection_(connection) {}

  // By class, ascending, from tiles and labels; empty where an outcome or a label is not known.
  std::vector<ClassCount> count(const StoredJob& job);
  // As class_total has them.
  std::vector<ClassCount> load(std::int64_t job_id);
  // Counts a complete job and stores that.
  void rebuild(const StoredJob& job);
  void clear(std::int64_t job_id);

 private:
  // The first ones of the job's data set, at least job.num_images; else empty.
  const std::vector<std::int32_t>& labels_of(const StoredJob& job);
  Query query(const char* sql) { return Query(connection_.statement(sql)); }

  Connection& connection_;
  std::map<std::int64_t, std::vector<std::int32_t>> labels_;  // by dataset_id
};

}  // namespace squant::results
