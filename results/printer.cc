#include "results/printer.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "results/result_columns.h"

namespace squant::results {
namespace {

using Cell = TextTable::Cell;
using Type = TextTable::Type;
using Tone = TextTable::Tone;

constexpr std::size_t kMaxRemarks = 20;

std::string cell_name(const JobRow& job) { return job.model + ' ' + job.bits + ' ' + job.mode; }

Tone tone_of(const std::string& verdict) {
  if (verdict == "pass") return Tone::kGood;
  if (verdict == "fail" || verdict == "failed" || verdict == "weights differ") return Tone::kBad;
  return verdict == "inconclusive" ? Tone::kDoubtful : Tone::kFaint;
}

bool is_bad(const ResultRow& row) { return tone_of(row.verdict) == Tone::kBad; }

// What rows of one model, bits and mode may differ in, as a reader would say it.
std::vector<std::string> detail_texts(const ResultRow& row) {
  const JobRow& job = row.job;
  return {job.dataset_name +
              (job.dataset_fingerprint.empty() ? "" : " " + job.dataset_fingerprint.substr(0, 8)),
          with_thousands(job.num_images) + " images",
          "rounding " + job.rounding,
          "sigma " + TextTable::cell(job.sigma).text,
          std::to_string(job.calibration_images) + " calibration images",
          job.engine + " engine",
          "checkpoint " + job.checkpoint_sha256.substr(0, 8),
          "numerics " + std::to_string(job.numerics_version)};
}

// Per row, what tells it from the others of its model, bits and mode; empty where it is the only
// one.
std::vector<std::string> distinctions(std::span<const ResultRow> rows) {
  std::map<std::string, std::vector<std::size_t>> cells;
  for (std::size_t i = 0; i < rows.size(); ++i) cells[cell_name(rows[i].job)].push_back(i);
  std::vector<std::string> texts(rows.size());
  for (const auto& [name, members] : cells) {
    if (members.size() < 2) continue;
    const std::vector<std::string> first = detail_texts(rows[members[0]]);
    for (std::size_t field = 0; field < first.size(); ++field) {
      const bool varies = std::any_of(members.begin(), members.end(), [&](std::size_t i) {
        return detail_texts(rows[i])[field] != first[field];
      });
      if (!varies) continue;
      for (const std::size_t i : members)
        texts[i] += (texts[i].empty() ? "" : ", ") + detail_texts(rows[i])[field];
    }
    for (const std::size_t i : members) {
      if (texts[i].empty()) texts[i] = "job " + rows[i].job.identity.substr(0, 8);
    }
  }
  return texts;
}

// A number that is only looked at.
Cell shown(std::string text) { return {Type::kReal, std::move(text)}; }

Cell interval_cell(const ResultRow& row) {
  return row.num_images == 0
             ? Cell{}
             : shown(decimal(row.ci_low_pct, 2) + " to " + decimal(row.ci_high_pct, 2));
}

Cell reference_cell(const ResultRow& row) {
  if (!row.reference_top1_pct) return {};
  std::string text = decimal(*row.reference_top1_pct, 2);
  if (row.num_images > 0) {
    const double difference = row.top1_pct - *row.reference_top1_pct;
    text += std::string(difference < 0 ? " (" : " (+") + decimal(difference, 2) + ')';
  }
  return shown(text);
}

TextTable summary_table(std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  const bool has_details =
      std::any_of(details.begin(), details.end(), [](const auto& text) { return !text.empty(); });
  TextTable table;
  table.columns = {"model", "bits", "mode"};
  if (has_details) table.columns.emplace_back("with");
  for (const char* column :
       {"top-1 %", "95% interval", "reference", "verdict", "quantize ms", "images/s"}) {
    table.columns.emplace_back(column);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    std::vector<Cell> line = {TextTable::cell(row.job.model), TextTable::cell(row.job.bits),
                              TextTable::cell(row.job.mode)};
    if (has_details) line.push_back(TextTable::cell(details[i]));
    line.push_back(row.num_images == 0 ? Cell{} : shown(decimal(row.top1_pct, 2)));
    line.push_back(interval_cell(row));
    line.push_back(reference_cell(row));
    line.push_back(TextTable::cell(row.verdict, tone_of(row.verdict)));
    line.push_back(row.quantize_ms ? shown(decimal(*row.quantize_ms, 2)) : Cell{});
    line.push_back(row.images_per_s
                       ? shown(decimal(*row.images_per_s, *row.images_per_s < 100 ? 1 : 0))
                       : Cell{});
    table.rows.push_back(std::move(line));
  }
  return table;
}

// "24 jobs: 20 pass, 3 fail, 1 no reference; 10,000 images each"
std::string count_line(std::span<const ResultRow> rows) {
  constexpr std::array kOrder = {"pass",         "fail",   "weights differ", "inconclusive",
                                 "no reference", "failed", "unfinished"};
  std::string text = with_thousands(static_cast<std::int64_t>(rows.size())) +
                     (rows.size() == 1 ? " job" : " jobs");
  const char* separator = ": ";
  for (const char* verdict : kOrder) {
    const auto count = std::count_if(rows.begin(), rows.end(),
                                     [&](const auto& row) { return row.verdict == verdict; });
    if (count == 0) continue;
    text += separator + with_thousands(count) + ' ' + verdict;
    separator = ", ";
  }
  const auto [least, most] =
      std::minmax_element(rows.begin(), rows.end(),
                          [](const auto& a, const auto& b) { return a.num_images < b.num_images; });
  if (least == rows.end() || most->num_images == 0) return text;
  if (least->num_images == most->num_images)
    return text + "; " + with_thousands(most->num_images) + " images each";
  return text + "; " + with_thousands(least->num_images) + " to " +
         with_thousands(most->num_images) + " images";
}

// Below the table: what went wrong. Rows of which the same is to be said share a line.
void print_remarks(std::ostream& out, std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  struct Remark {
    std::string text, first;
    std::size_t count = 0;
  };
  std::vector<Remark> remarks;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    if (!is_bad(row) && row.num_broken == 0) continue;
    const std::string text = row.job.model + ": " + row.verdict + ": " + row.verdict_text;
    auto found = std::find_if(remarks.begin(), remarks.end(),
                              [&](const Remark& remark) { return remark.text == text; });
    if (found == remarks.end()) {
      found = remarks.insert(found, {text, row.job.bits + ' ' + row.job.mode, 0});
      if (!details[i].empty()) found->first += " (" + details[i] + ")";
    }
    ++found->count;
  }
  for (std::size_t i = 0; i < std::min(remarks.size(), kMaxRemarks); ++i) {
    const auto& [text, first, count] = remarks[i];
    const std::size_t colon = text.find(':');
    out << text.substr(0, colon) << ' ' << first
        << (count > 1 ? " and " + std::to_string(count - 1) + " more" : "") << text.substr(colon)
        << '\n';
  }
  if (remarks.size() > kMaxRemarks) {
    out << "... and " << remarks.size() - kMaxRemarks
        << " more; the column verdict_text of the view results says why\n";
  }
}

std::string xml_escape(const std::string& text) {
  using nlohmann::json;
  const std::string valid =
      json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace));  // UTF-8
  std::string escaped;
  for (const char c : valid) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else if (c == '\n') {
      escaped += "&#10;";
    } else if (byte < 0x20 || byte == 0x7F) {
      escaped += '?';  // XML 1.0 has no way to write it
    } else {
      escaped += c;
    }
  }
  return escaped;
}

void print_junit(std::ostream& out, std::span<const ResultRow> rows) {
  const auto is_skipped = [](const ResultRow& row) {
    return row.verdict != "pass" && !is_bad(row);
  };
  const std::vector<std::string> details = distinctions(rows);
  out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite "
         "name=\"squant-sweep\" tests=\""
      << rows.size() << "\" failures=\"" << std::count_if(rows.begin(), rows.end(), is_bad)
      << "\" errors=\"0\" skipped=\"" << std::count_if(rows.begin(), rows.end(), is_skipped)
      << "\">\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    const std::string name =
        row.job.bits + ' ' + row.job.mode + (details[i].empty() ? "" : " (" + details[i] + ")");
    out << "<testcase classname=\"" << xml_escape(row.job.model) << "\" name=\"" << xml_escape(name)
        << "\" time=\"" << TextTable::cell(row.compute_ms / 1000).text << '"';
    if (row.verdict == "pass") {
      out << "/>\n";
    } else if (is_bad(row)) {
      out << "><failure type=\"" << row.verdict << "\" message=\"" << xml_escape(row.verdict_text)
          << "\"/></testcase>\n";
    } else {
      out << "><skipped message=\"" << row.verdict << ": " << xml_escape(row.verdict_text)
          << "\"/></testcase>\n";
    }
  }
  out << "</testsuite>\n</testsuites>\n";
}

}  // namespace

void print_results(std::ostream& out, std::span<const ResultRow> rows, Format format,
                   TerminalStyle style) {
  switch (format) {
    case Format::kCsv:
    case Format::kJson:
      return print_table(out, results_table(rows), format, style);
    case Format::kJunit:
      return print_junit(out, rows);
    case Format::kMarkdown:
    case Format::kLatex:
      return print_table(out, summary_table(rows), format, style);
    case Format::kTable:
      print_table(out, summary_table(rows), format, style);
      out << '\n' << count_line(rows) << '\n';
      print_remarks(out, rows);
  }
}

TextTable results_table(std::span<const ResultRow> rows) {
  TextTable table;
  for (const ResultColumn& column : result_columns()) table.columns.emplace_back(column.name);
  for (const ResultRow& row : rows) {
    auto& line = table.rows.emplace_back();
    for (const ResultColumn& column : result_columns()) line.push_back(column.cell(row));
  }
  return table;
}

}  // namespace squant::results
