// Jobs and evaluations as rows. Internal to results/.
// Every function runs inside the caller's transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "results/connection.h"
#include "results/ledger.h"
#include "results/rows.h"

namespace squant::results {

class JobTable {
 public:
  JobTable(Connection& connection, Ledger& ledger) : connection_(connection), ledger_(ledger) {}

  std::optional<std::int64_t> find_evaluation(const std::string& evaluation);
  // These throw StoreError for what put() has not seen.
  std::int64_t need_evaluation(const std::string& evaluation);
  std::int64_t need_job(const std::string& identity);
  // The job's id. A complete job keeps the grid it was evaluated on; another one takes the grid of
  // `job`, and its sums are added up anew.
  std::int64_t put(const JobRow& job);

 private:
  Query query(const char* sql) { return Query(connection_.statement(sql)); }
  std::int64_t put_evaluation(const JobRow& job);

  Connection& connection_;
  Ledger& ledger_;
  std::unordered_map<std::string, std::int64_t> evaluation_ids_;
};

}  // namespace squant::results
