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

// The sums by class are derived from outcomes and labels, as the job's own are from the tiles.
void check_classes(Connection& connection, Findings& findings) {
  std::vector<std::string> problems;
  std::int64_t num_counted = 0;
  ClassCounts classes(connection);
  Query rows(connection.statement(
      "SELECT j.job_id, j.num_images, j.chunk, e.model || ' ' || e.bits || ' ' || e.mode,"
      " t.num_images, t.num_top1, t.num_top5 FROM job j JOIN evaluation e USING (evaluation_id)"
      " JOIN total t USING (job_id) WHERE t.completed_at IS NOT NULL ORDER BY j.job_id"));
  while (rows.step()) {
    const StoredJob job{rows.integer(0), rows.integer(1), rows.integer(2)};
    const std::vector<ClassCount> stored = classes.load(job.job_id);
    num_counted += stored.empty() ? 0 : 1;
    ClassCount sum;
    for (const ClassCount& one : stored) {
      sum.num_images += one.num_images;
      sum.num_top1 += one.num_top1;
      sum.num_top5 += one.num_top5;
    }
    const ClassCount total{0, rows.integer(4), rows.integer(5), rows.integer(6)};
    if (stored != classes.count(job)) {
      problems.push_back(rows.text(3) + ": not those of its tiles' outcomes");
    } else if (!stored.empty() && sum != total) {
      problems.push_back(rows.text(3) + ": they add up to " + std::to_string(sum.num_top1) +
                         " of " + std::to_string(sum.num_images) + ", the job has " +
                         std::to_string(total.num_top1) + " of " +
                         std::to_string(total.num_images));
    }
  }
  problems.empty()
      ? findings.good("classes", "the sums by class of " + with_thousands(num_counted) +
                                     " complete jobs are those of their outcomes")
      : findings.bad("classes", problems);
}

// Kept predictions and outcomes tell the same: right is what is predicted as it is labelled.
void check_predictions(Connection& connection, Findings& findings) {
  std::vector<std::string> problems;
  Query rows(connection.statement(
      "SELECT e.model || ' ' || e.bits || ' ' || e.mode, p.first, p.count,"
      " json_array_length(p.classes) <> p.count OR EXISTS (SELECT 1 FROM json_each(p.classes) y"
      " JOIN dataset d ON d.fingerprint = e.dataset_fingerprint"
      " JOIN label l ON l.dataset_id = d.dataset_id AND l.image = p.first + y.key"
      " WHERE (y.value IS l.class) <> (substr(k.outcomes, y.key + 1, 1) = '1'))"
      " FROM prediction p JOIN tile k USING (evaluation_id, first, count)"
      " JOIN evaluation e USING (evaluation_id)"));
  std::int64_t num_tiles = 0;
  while (rows.step()) {
    ++num_tiles;
    if (rows.integer(3) == 0) continue;
    problems.push_back(rows.text(0) + ": those of images [" + rows.text(1) + ", " +
                       std::to_string(rows.integer(1) + rows.integer(2)) +
                       ") are not those of the tile's outcomes");
  }
  problems.empty() ? findings.good("predictions", "those of " + with_thousands(num_tiles) +
                                                      " tiles are kept, and agree with them")
                   : findings.bad("predictions", problems);
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
    check_classes(connection, findings);
    check_predictions(connection, findings);
    list_holes(connection, findings);
  });
  print_table(output.out, findings.table, output.format, output.style);
  return findings.is_damaged ? kExitBad : findings.is_incomplete ? kExitWorkLeft : kExitGood;
}

}  // namespace squant::results
