// The table of results, and where they come from.
#include <algorithm>
#include <set>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/summary.h"

namespace squant::results {
namespace {

constexpr std::size_t kMaxRemarks = 50;
constexpr std::size_t kMaxOrigins = 100;

// All rows, or as many as a page takes: what is bad first. In the order of the rows.
std::vector<ResultRow> rows_to_show(std::span<const ResultRow> rows) {
  if (rows.size() <= kMaxReportRows) return {rows.begin(), rows.end()};
  std::vector<ResultRow> shown;
  for (const bool wants_bad : {true, false}) {
    for (const ResultRow& row : rows) {
      if (is_bad(row) == wants_bad && shown.size() < kMaxReportRows) shown.push_back(row);
    }
  }
  std::sort(shown.begin(), shown.end(),
            [](const ResultRow& a, const ResultRow& b) { return a.job_id < b.job_id; });
  return shown;
}

std::string number_cell(const std::string& text) {
  return "<td class=\"n\">" + (text.empty() ? "\xE2\x80\x93" : escape_markup(text)) + "</td>";
}

std::string result_line(const ResultRow& row, const std::string* detail) {
  const bool has_images = row.num_images > 0;
  std::string html = "<tr><th scope=\"row\">" + escape_markup(row.job.bits) + "</th><td>" +
                     escape_markup(row.job.mode) + "</td>";
  if (detail != nullptr) html += "<td>" + escape_markup(*detail) + "</td>";
  html += number_cell(has_images ? decimal(row.top1_pct, 2) : "");
  html += number_cell(has_images ? interval_text(row) : "");
  html += number_cell(row.reference_top1_pct ? decimal(*row.reference_top1_pct, 2) : "");
  html += number_cell(difference_text(row));
  html += "<td title=\"" + escape_markup(row.verdict_text) + "\">" + verdict_badge(row.verdict) +
          "</td>";
  html += number_cell(row.quantize_ms ? decimal(*row.quantize_ms, 2) : "");
  html += number_cell(row.images_per_s ? decimal(*row.images_per_s, *row.images_per_s < 100 ? 1 : 0)
                                       : "");
  return html + "</tr>\n";
}

std::string results_head(bool has_details) {
  return std::string("<thead><tr><th scope=\"col\">bits</th><th scope=\"col\">mode</th>") +
         (has_details ? "<th scope=\"col\">with</th>" : "") +
         "<th scope=\"col\" class=\"n\">top-1 %</th><th scope=\"col\" class=\"n\">95% interval</th>"
         "<th scope=\"col\" class=\"n\">reference</th><th scope=\"col\" class=\"n\">difference</th>"
         "<th scope=\"col\">verdict</th><th scope=\"col\" class=\"n\">quantize ms</th>"
         "<th scope=\"col\" class=\"n\">images/s</th></tr></thead>\n";
}

std::string results_table_html(std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  const bool has_details =
      std::any_of(details.begin(), details.end(), [](const auto& text) { return !text.empty(); });
  std::string html = "<div class=\"scroll\"><table class=\"results\">\n<caption>" +
                     escape_markup(count_line(rows)) + "</caption>\n" + results_head(has_details);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i == 0 || rows[i].job.model != rows[i - 1].job.model) {
      html += std::string(i == 0 ? "" : "</tbody>\n") +
              "<tbody><tr class=\"group\"><th colspan=\"" + (has_details ? "10" : "9") +
              "\" scope=\"rowgroup\">" + escape_markup(rows[i].job.model) + "</th></tr>\n";
    }
    html += result_line(rows[i], has_details ? &details[i] : nullptr);
  }
  return html + "</tbody></table></div>\n";
}

std::string remark_list(std::span<const ResultRow> rows) {
  const std::vector<Remark> all = remarks(rows);
  if (all.empty()) return {};
  std::string html = "<ul class=\"remarks\">\n";
  for (std::size_t i = 0; i < std::min(all.size(), kMaxRemarks); ++i) {
    html += "<li>" + verdict_badge(all[i].verdict) + " <b>" + escape_markup(all[i].model) +
            "</b> " + escape_markup(all[i].cell + ": " + all[i].text) + "</li>\n";
  }
  html += "</ul>\n";
  if (all.size() > kMaxRemarks)
    html +=
        paragraph("... and " + with_thousands(static_cast<std::int64_t>(all.size() - kMaxRemarks)) +
                  " more.");
  return html;
}

// ", 100 of 4,000" where something is left out.
std::string of_all(std::size_t num_shown, std::size_t num_all) {
  if (num_shown == num_all) return {};
  return ", " + with_thousands(static_cast<std::int64_t>(num_shown)) + " of " +
         with_thousands(static_cast<std::int64_t>(num_all));
}

std::string distinct_table(std::vector<std::string> columns,
                           const std::set<std::vector<std::string>>& lines, std::string caption) {
  TextTable table{std::move(columns), {}};
  for (const auto& line : lines) {
    if (table.rows.size() == kMaxOrigins) break;
    auto& row = table.rows.emplace_back();
    for (const std::string& text : line) row.push_back(TextTable::cell(text));
  }
  return html_table(table, caption + of_all(table.rows.size(), lines.size()));
}

std::string run_table(Connection& connection, std::span<const ResultRow> rows) {
  std::set<std::int64_t> ids;
  for (const ResultRow& row : rows) ids.insert(row.run_id);
  TextTable table;
  table.columns = {"run",  "experiment", "started", "finished", "exit",     "ranks",
                   "host", "commit",     "version", "compiler", "libraries"};
  for (auto id = ids.rbegin(); id != ids.rend() && table.rows.size() < kMaxOrigins; ++id) {
    Query run(connection.statement(
        "SELECT experiment_name, substr(started_at, 1, 19), substr(finished_at, 1, 19), exit_code,"
        " world_size, host, substr(git_commit, 1, 10) || iif(git_dirty, '+', ''), version,"
        " compiler, libraries FROM run WHERE run_id = ?"));
    if (!run.bind(*id).step()) continue;
    auto& row = table.rows.emplace_back();
    row.push_back(TextTable::cell(*id));
    for (int c = 0; c < 10; ++c) {
      const bool is_count = c == 3 || c == 4;
      row.push_back(run.is_null(c) ? TextTable::Cell{}
                    : is_count     ? TextTable::cell(run.integer(c))
                                   : TextTable::cell(run.text(c)));
    }
  }
  return html_table(table, "Runs whose references and verdicts are shown" +
                               of_all(table.rows.size(), ids.size()));
}

}  // namespace

std::string results_section(std::span<const ResultRow> rows) {
  if (rows.empty()) return section("results", "Results", paragraph("No job fits."));
  const std::vector<ResultRow> shown = rows_to_show(rows);
  std::string html = remark_list(rows) + results_table_html(shown);
  if (shown.size() < rows.size()) {
    html += paragraph(with_thousands(static_cast<std::int64_t>(shown.size())) + " of " +
                      with_thousands(static_cast<std::int64_t>(rows.size())) +
                      " jobs, failures first. All: squant-results export --format csv.");
  }
  return section("results", "Results", html);
}

std::string origin_section(Connection& connection, std::span<const ResultRow> rows) {
  if (rows.empty()) return {};
  std::set<std::vector<std::string>> checkpoints;
  std::set<std::vector<std::string>> datasets;
  for (const ResultRow& row : rows) {
    checkpoints.insert({row.job.model, row.job.checkpoint_sha256, row.job.checkpoint_note});
    datasets.insert(
        {row.job.dataset_name, row.job.dataset_fingerprint, with_thousands(row.job.dataset_size)});
  }
  return section("origin", "Where it comes from",
                 run_table(connection, rows) +
                     distinct_table({"model", "SHA-256 of the checkpoint", "known as"}, checkpoints,
                                    "Weights") +
                     distinct_table({"data set", "fingerprint", "images"}, datasets, "Images"));
}

}  // namespace squant::results
