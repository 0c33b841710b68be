#include "results/report.h"

#include <squant_results_data.h>

#include <algorithm>
#include <set>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/summary.h"

namespace squant::results {
namespace {

// Nothing is fetched and no script runs, whatever a model is called.
constexpr const char* kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

std::string title_of(Connection& connection, std::span<const ResultRow> rows) {
  std::set<std::int64_t> ids;
  for (const ResultRow& row : rows) ids.insert(row.run_id);
  std::vector<std::string> names;
  for (const std::int64_t id : ids) {
    Query run(connection.statement("SELECT experiment_name FROM run WHERE run_id = ?"));
    if (!run.bind(id).step()) continue;
    const std::string name = run.text(0);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string title;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 4); ++i)
    title += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > 4) title += " and " + std::to_string(names.size() - 4) + " more";
  return title.empty() ? "no results" : title;
}

// How many of each verdict, as a bar and in words.
std::string verdict_summary(std::span<const ResultRow> rows) {
  if (rows.empty()) return {};
  std::string bar;
  std::string words;
  for (const char* verdict : verdict_order()) {
    const auto count = std::count_if(rows.begin(), rows.end(),
                                     [&](const auto& row) { return row.verdict == verdict; });
    if (count == 0) continue;
    const double share = 100.0 * static_cast<double>(count) / static_cast<double>(rows.size());
    TextTable::Cell width = TextTable::cell(std::max(share, 0.5));
    std::string style = verdict;
    std::replace(style.begin(), style.end(), ' ', '-');
    bar += "<span class=\"v-" + style + "\" style=\"flex:" + width.text + "\"></span>";
    words += "<li><span class=\"swatch v-" + style + "\"></span><b>" + with_thousands(count) +
             "</b> " + escape_markup(verdict) + "</li>";
  }
  return "<div class=\"bar\" aria-hidden=\"true\">" + bar + "</div>\n<ul class=\"counts\">" +
         words + "</ul>\n";
}

std::string selection_text(const Selection& selection) {
  std::string text;
  if (!selection.run.empty()) text += "run " + selection.run;
  for (const std::string& where : selection.where) text += (text.empty() ? "" : ", ") + where;
  return text;
}

std::string navigation(const std::string& body) {
  constexpr std::pair<const char*, const char*> kSections[] = {
      {"results", "Results"}, {"accuracy", "Top-1"},   {"ablation", "Modes"},   {"time", "Time"},
      {"layers", "Layers"},   {"timeline", "Workers"}, {"origin", "Provenance"}};
  std::string html = "<nav aria-label=\"Sections\"><ul>";
  for (const auto& [id, title] : kSections) {
    if (body.find("<section id=\"" + std::string(id) + '"') == std::string::npos) continue;
    html += "<li><a href=\"#" + std::string(id) + "\">" + title + "</a></li>";
  }
  return html + "</ul></nav>\n";
}

std::string header(Connection& connection, std::span<const ResultRow> rows,
                   const Selection& selection, const std::string& title) {
  const std::string chosen = selection_text(selection);
  const auto slash = connection.path().rfind('/');
  const std::string file =
      slash == std::string::npos ? connection.path() : connection.path().substr(slash + 1);
  return "<header>\n<p class=\"kicker\">squant-sweep report</p>\n<h1>" + escape_markup(title) +
         "</h1>\n<p class=\"lead\">" + escape_markup(count_line(rows)) + "</p>\n" +
         verdict_summary(rows) + "<p class=\"note\">" + escape_markup(file) +
         (chosen.empty() ? "" : ", " + escape_markup(chosen)) + ", as it was on " +
         escape_markup(utc_now().substr(0, 10) + ' ' + utc_now().substr(11, 5)) +
         " UTC</p>\n</header>\n";
}

std::vector<std::int64_t> runs_to_draw(Connection& connection, const Selection& selection,
                                       std::span<const ResultRow> rows) {
  if (!selection.run.empty()) return {resolve_run(connection, selection.run)};
  if (selection.where.empty()) return {};
  std::set<std::int64_t> ids;
  for (const ResultRow& row : rows) ids.insert(row.run_id);
  if (ids.empty()) return {0};  // no run has this number
  return {ids.begin(), ids.end()};
}

}  // namespace

std::string report_page(Connection& connection, const ReportOptions& options) {
  const ReferenceTimes times = options.times_file.empty()
                                   ? ReferenceTimes::paper()
                                   : ReferenceTimes::load(options.times_file);
  const std::vector<ResultRow> rows = select_results(connection, options.selection);
  const std::vector<Panel> panels = panels_of(rows);
  return connection.guarded("make the report", [&] {
    const std::string title = title_of(connection, rows);
    const std::string body =
        results_section(rows) + accuracy_section(panels) + ablation_section(panels) +
        time_section(connection, rows, times) + layer_section(connection, panels) +
        timeline_section(connection, runs_to_draw(connection, options.selection, rows)) +
        origin_section(connection, rows);
    return "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
           "<meta charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\"" +
           escape_markup(kPolicy) +
           "\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
           "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>" +
           escape_markup(title) + " \xC2\xB7 squant-sweep</title>\n<style>\n" + kReportCss +
           "</style>\n</head>\n<body>\n" + header(connection, rows, options.selection, title) +
           navigation(body) + "<main>\n" + body +
           "</main>\n<footer><p>Made by squant-results from one SQLite file. SQuant: Guo et al., "
           "ICLR 2022.</p></footer>\n</body>\n</html>\n";
  });
}

}  // namespace squant::results
