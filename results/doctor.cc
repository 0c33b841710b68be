#include <algorithm>

#include "results/commands.h"
#include "results/ledger.h"
#include "results/writer_lock.h"

namespace squant::results {
namespace {

using Tone = TextTable::Tone;

constexpr std::size_t kMaxExamples = 5;

struct Findings {
  TextTable table{{"check", "outcome", "detail"}, {}};
  bool is_damaged = false;
  bool is_incomplete = false;

  void good(const std::string& check, const std::string& detail) {
    table.rows.push_back(
        {TextTable::cell(check), TextTable::cell("good", Tone::kGood), TextTable::cell(detail)});
  }
  void bad(const std::string& check, const std::vector<std::string>& details) {
    is_damaged = true;
    for (std::size_t i = 0; i < std::min(details.size(), kMaxExamples); ++i) {
      table.rows.push_back({TextTable::cell(check), TextTable::cell("BAD", Tone::kBad),
                            TextTable::cell(details[i])});
    }
    if (details.size() > kMaxExamples) {
      table.rows.push_back(
          {TextTable::cell(check), TextTable::cell("BAD", Tone::kBad),
           TextTable::cell("... and " + std::to_string(details.size() - kMaxExamples) + " more")});
    }
  }
  void left(const std::string& check, const std::string& detail) {
    is_incomplete = true;
    table.rows.push_back({TextTable::cell(check), TextTable::cell("left", Tone::kDoubtful),
                          TextTable::cell(detail)});
  }
};

void check_file(Connection& connection, Findings& findings) {
  std::vector<std::string> problems;
  for (const auto& row : select_table(connection, "PRAGMA integrity_check").rows) {
    if (row[0].text != "ok") problems.push_back(row[0].text);
  }
  problems.empty() ? findings.good("integrity", "SQLite finds every page in order")
                   : findings.bad("integrity", problems);
}

void check_references(Connection& connection, Findings& findings) {
  std::vector<std::string> problems;
  for (const auto& row : select_table(connection, "PRAGMA foreign_key_check").rows) {
    problems.push_back("a row of " + row[0].text + " names a row of " + row[2].text +
                       " that is not there");
  }
  problems.empty() ? findings.good("references", "every row's run, worker and job are there")
                   : findings.bad("references", problems);
}

// The sums are derived from the tiles: here they are added up once more.
void check_sums(Connection& connection, Findings& findings) {
  std::vector<StoredJob> jobs;
  std::vector<std::string> names;
  {
    Query rows(connection.statement(
        "SELECT j.job_id, j.num_images, j.chunk, e.model || ' ' || e.bits || ' ' || e.mode"
        " FROM job j JOIN evaluation e USING (evaluation_id) ORDER BY j.job_id"));
    while (rows.step()) {
      jobs.push_back({rows.integer(0), rows.integer(1), rows.integer(2)});
      names.push_back(rows.text(3));
    }
  }
  Ledger ledger(connection);
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const Totals stored = ledger.load(jobs[i].job_id);
    const Totals counted = ledger.add_up(jobs[i]);
    if (stored.num_tiles != counted.num_tiles || stored.num_images != counted.num_images ||
        stored.num_top1 != counted.num_top1 || stored.num_top5 != counted.num_top5 ||
        stored.num_broken != counted.num_broken || stored.digest != counted.digest) {
      problems.push_back(names[i] + ": stored " + std::to_string(stored.num_top1) + " of " +
                         std::to_string(stored.num_images) + ", its tiles say " +
                         std::to_string(counted.num_top1) + " of " +
                         std::to_string(counted.num_images));
    }
  }
  problems.empty()
      ? findings.good("sums", "the sums of " +
                                  with_thousands(static_cast<std::int64_t>(jobs.size())) +
                                  " jobs are those of their tiles")
      : findings.bad("sums", problems);
}

// What is missing, by the run that last planned it; the same command continues.
void list_holes(Connection& connection, Findings& findings) {
  Query rows(connection.statement(
      "SELECT l.run_id, r.command_line, count(*), sum(j.num_images - t.num_images),"
      " sum((j.num_images + j.chunk - 1) / max(j.chunk, 1) - t.num_tiles),"
      " sum(EXISTS (SELECT 1 FROM failure f WHERE f.job_id = j.job_id AND f.cleared_at IS NULL))"
      " FROM job j JOIN total t USING (job_id)"
      " JOIN run_job l ON l.job_id = j.job_id AND l.run_id = (SELECT max(run_id) FROM run_job "
      "WHERE job_id = j.job_id)"
      " JOIN run r ON r.run_id = l.run_id WHERE t.completed_at IS NULL GROUP BY l.run_id ORDER BY "
      "l.run_id"));
  bool has_holes = false;
  while (rows.step()) {
    has_holes = true;
    const std::int64_t num_failed = rows.integer(5);
    findings.left("run " + rows.text(0), with_thousands(rows.integer(2)) + " jobs miss " +
                                             with_thousands(rows.integer(4)) + " tiles (" +
                                             with_thousands(rows.integer(3)) + " images), " +
                                             with_thousands(num_failed) +
                                             " of them failed; to go on: " + rows.text(1) +
                                             (num_failed > 0 ? " --retry-failed" : ""));
  }
  if (!has_holes) findings.good("holes", "no job misses a tile");
}

}  // namespace

int diagnose(Connection& connection, const Output& output) {
  Findings findings;
  connection.guarded("examine the database", [&] {
    SQLite::Transaction one_state(connection.database());  // whatever a sweep commits meanwhile
    const std::string owner = describe_owner(connection);
    findings.good("writer", owner.empty() ? "nobody writes it" : "being written by " + owner);
    check_file(connection, findings);
    check_references(connection, findings);
    check_sums(connection, findings);
    list_holes(connection, findings);
  });
  print_table(output.out, findings.table, output.format, output.style);
  return findings.is_damaged ? kExitBad : findings.is_incomplete ? kExitWorkLeft : kExitGood;
}

}  // namespace squant::results
