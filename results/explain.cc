#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>

#include "results/commands.h"
#include "results/result_columns.h"
#include "results/result_query.h"

namespace squant::results {
namespace {

constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kMaxCandidates = 10;

std::string cell_name(const JobRow& job) { return job.model + ' ' + job.bits + ' ' + job.mode; }

// "resnet18 w4a4 squant" or the first digits of an identity.
ResultRow find_result(Connection& connection, const std::string& selector) {
  ResultFilter filter;
  std::istringstream words(selector);
  std::string model, bits, mode, rest;
  if (words >> model >> bits >> mode && !(words >> rest)) {
    filter.where = {{"model", false, {model}}, {"bits", false, {bits}}, {"mode", false, {mode}}};
  } else if (selector.size() >= kShortestPrefix) {
    filter.identity_prefix = selector;
  } else {
    throw std::invalid_argument("'" + selector +
                                "' selects no result; write \"MODEL BITS MODE\" or at least " +
                                std::to_string(kShortestPrefix) + " digits of the column identity");
  }
  const std::vector<ResultRow> matches =
      connection.guarded("find a result", [&] { return read_results(connection, filter); });
  if (matches.size() == 1) return matches[0];
  std::string text = connection.path() + ": '" + selector + "' is " +
                     (matches.empty() ? "no result" : "ambiguous") +
                     "; write \"MODEL BITS MODE\" or the first digits of the column identity";
  for (std::size_t i = 0; i < std::min(matches.size(), kMaxCandidates); ++i) {
    text += "\n  " + matches[i].job.identity + "  " + cell_name(matches[i].job);
  }
  throw std::invalid_argument(text);
}

// Everything that was hashed, one entry a value: "/dataset/fingerprint" -> "\"3fa9...\"".
std::map<std::string, std::string> decided_by(const JobRow& job) {
  std::map<std::string, std::string> values;
  const nlohmann::json config = nlohmann::json::parse(job.config_json, nullptr, false);
  if (config.is_discarded()) return {{"config_json", job.config_json}};
  const nlohmann::json flat = config.flatten();
  for (const auto& [path, value] : flat.items()) {
    values[path.empty() ? path : path.substr(1)] =
        value.is_string() ? value.get<std::string>() : value.dump();
  }
  return values;
}

// Where a result comes from: every different value that its tiles' runs and workers have.
std::map<std::string, std::string> made_by(Connection& connection, const JobRow& job) {
  return connection.guarded("read where a result comes from", [&] {
    std::map<std::string, std::set<std::string>> sets;
    SQLite::Statement statement(connection.database(),
                                "SELECT version, git_commit || iif(git_dirty, ' (dirty)', '') AS "
                                "git_commit, compiler, libraries, host,"
                                " device, device_name, driver, num_threads, checkpoint_path, "
                                "experiment_name, command_line, run_id"
                                " FROM provenance WHERE identity = ?");
    Query rows(statement);
    rows.bind(job.identity);
    while (rows.step()) {
      for (int c = 0; c < statement.getColumnCount(); ++c)
        sets[statement.getColumnName(c)].insert(rows.text(c));
    }
    std::map<std::string, std::string> values;
    for (const auto& [name, set] : sets) {
      for (const std::string& value : set)
        values[name] += (values[name].empty() ? "" : " | ") + value;
    }
    return values;
  });
}

std::map<std::string, std::string> outcome_of(const ResultRow& row) {
  constexpr const char* kNames[] = {"num_images",       "num_planned", "num_top1",
                                    "num_top5",         "num_broken",  "top1_pct",
                                    "digest",           "verdict",     "reference_top1_pct",
                                    "reference_source", "tolerance",   "quantize_ms",
                                    "images_per_s",     "failure"};
  std::map<std::string, std::string> values;
  for (const ResultColumn& column : result_columns()) {
    const bool is_named =
        std::find_if(std::begin(kNames), std::end(kNames), [&](const std::string& name) {
          return name == column.name;
        }) != std::end(kNames);
    if (is_named) values[column.name] = column.cell(row).text;
  }
  return values;
}

void add_differences(TextTable& table, const std::string& kind,
                     const std::map<std::string, std::string>& a,
                     const std::map<std::string, std::string>& b) {
  std::set<std::string> names;
  for (const auto& [name, value] : a) names.insert(name);
  for (const auto& [name, value] : b) names.insert(name);
  for (const std::string& name : names) {
    const auto in_a = a.find(name);
    const auto in_b = b.find(name);
    if (in_a != a.end() && in_b != b.end() && in_a->second == in_b->second) continue;
    const auto cell = [](const auto& found, const auto& values) {
      return found == values.end() ? TextTable::Cell{} : TextTable::cell(found->second);
    };
    table.rows.push_back(
        {TextTable::cell(kind), TextTable::cell(name), cell(in_a, a), cell(in_b, b)});
  }
}

std::string conclusion(const ResultRow& a, const ResultRow& b) {
  if (a.job.identity != b.job.identity) {
    return a.job.evaluation == b.job.evaluation
               ? "The same evaluation on another number of images."
               : "Two different jobs: what stands under `decides` makes their results differ.";
  }
  if (a.digest && b.digest) {
    return a.digest == b.digest ? "One job, the same logits to the bit."
                                : "One job with other logits: a hardware or software fault on one "
                                  "side; what stands under `made by` may "
                                  "tell which.";
  }
  return "One job without a digest on both sides: float engines may differ between machines.";
}

}  // namespace

int explain(Connection& a, const std::string& selector_a, Connection& b,
            const std::string& selector_b, const Output& output) {
  const ResultRow row_a = find_result(a, selector_a);
  const ResultRow row_b = find_result(b, selector_b);
  TextTable table;
  table.columns = {"part", "name", "A", "B"};
  add_differences(table, "decides", decided_by(row_a.job), decided_by(row_b.job));
  add_differences(table, "made by", made_by(a, row_a.job), made_by(b, row_b.job));
  add_differences(table, "outcome", outcome_of(row_a), outcome_of(row_b));
  print_table(output.out, table, output.format, output.style);
  if (output.format == Format::kTable) output.out << '\n' << conclusion(row_a, row_b) << '\n';
  return kExitGood;
}

}  // namespace squant::results
