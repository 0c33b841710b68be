#include "results/summary.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace squant::results {
namespace {

using Cell = TextTable::Cell;
using Type = TextTable::Type;
using Tone = TextTable::Tone;

constexpr std::array kVerdicts = {"pass",         "fail",   "weights differ", "inconclusive",
                                  "no reference", "failed", "unfinished"};

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

// Sets the texts of the rows that share a cell.
void tell_apart(std::span<const ResultRow> rows, const std::vector<std::size_t>& members,
                std::vector<std::string>& texts) {
  std::vector<std::vector<std::string>> details;
  for (const std::size_t i : members) details.push_back(detail_texts(rows[i]));
  for (std::size_t field = 0; field < details[0].size(); ++field) {
    const bool varies = std::any_of(details.begin(), details.end(), [&](const auto& detail) {
      return detail[field] != details[0][field];
    });
    if (!varies) continue;
    for (std::size_t m = 0; m < members.size(); ++m) {
      std::string& text = texts[members[m]];
      text += (text.empty() ? "" : ", ") + details[m][field];
    }
  }
  for (const std::size_t i : members) {
    if (texts[i].empty()) texts[i] = "job " + rows[i].job.identity.substr(0, 8);
  }
}

// A number that is only looked at.
Cell shown(std::string text) { return {Type::kReal, std::move(text)}; }

Cell reference_cell(const ResultRow& row) {
  if (!row.reference_top1_pct) return {};
  const std::string difference = difference_text(row);
  return shown(decimal(*row.reference_top1_pct, 2) +
               (difference.empty() ? "" : " (" + difference + ")"));
}

std::vector<Cell> summary_line(const ResultRow& row, const std::string* detail) {
  std::vector<Cell> line = {TextTable::cell(row.job.model), TextTable::cell(row.job.bits),
                            TextTable::cell(row.job.mode)};
  if (detail != nullptr) line.push_back(TextTable::cell(*detail));
  const bool has_images = row.num_images > 0;
  line.push_back(has_images ? shown(decimal(row.top1_pct, 2)) : Cell{});
  line.push_back(has_images ? shown(interval_text(row)) : Cell{});
  line.push_back(reference_cell(row));
  line.push_back(TextTable::cell(row.verdict, tone_of(row.verdict)));
  line.push_back(row.quantize_ms ? shown(decimal(*row.quantize_ms, 2)) : Cell{});
  line.push_back(row.images_per_s
                     ? shown(decimal(*row.images_per_s, *row.images_per_s < 100 ? 1 : 0))
                     : Cell{});
  return line;
}

}  // namespace

std::span<const char* const> verdict_order() { return kVerdicts; }

Tone tone_of(const std::string& verdict) {
  if (verdict == "pass") return Tone::kGood;
  if (verdict == "fail" || verdict == "failed" || verdict == "weights differ") return Tone::kBad;
  return verdict == "inconclusive" ? Tone::kDoubtful : Tone::kFaint;
}

bool is_bad(const ResultRow& row) { return tone_of(row.verdict) == Tone::kBad; }

std::string difference_text(const ResultRow& row) {
  if (!row.reference_top1_pct || row.num_images == 0) return {};
  const double difference = row.top1_pct - *row.reference_top1_pct;
  return (difference < 0 ? "" : "+") + decimal(difference, 2);
}

std::string interval_text(const ResultRow& row) {
  return decimal(row.ci_low_pct, 2) + " to " + decimal(row.ci_high_pct, 2);
}

std::vector<std::string> distinctions(std::span<const ResultRow> rows) {
  std::unordered_map<std::string, std::vector<std::size_t>> cells;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const JobRow& job = rows[i].job;
    cells[job.model + '\n' + job.bits + '\n' + job.mode].push_back(i);
  }
  std::vector<std::string> texts(rows.size());
  for (const auto& [name, members] : cells) {
    if (members.size() > 1) tell_apart(rows, members, texts);
  }
  return texts;
}

std::string count_line(std::span<const ResultRow> rows) {
  std::string text = with_thousands(static_cast<std::int64_t>(rows.size())) +
                     (rows.size() == 1 ? " job" : " jobs");
  const char* separator = ": ";
  for (const char* verdict : kVerdicts) {
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

std::vector<Remark> remarks(std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  std::vector<Remark> all;
  std::vector<std::size_t> counts;
  std::unordered_map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    if (!is_bad(row) && row.num_broken == 0) continue;
    const auto [found, is_new] =
        index.emplace(row.job.model + '\n' + row.verdict + '\n' + row.verdict_text, all.size());
    if (is_new) {
      const std::string detail = details[i].empty() ? "" : " (" + details[i] + ")";
      all.push_back({row.job.model, row.job.bits + ' ' + row.job.mode + detail, row.verdict,
                     row.verdict_text});
      counts.push_back(0);
    }
    ++counts[found->second];
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (counts[i] > 1) all[i].cell += " and " + std::to_string(counts[i] - 1) + " more";
  }
  return all;
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
  for (std::size_t i = 0; i < rows.size(); ++i)
    table.rows.push_back(summary_line(rows[i], has_details ? &details[i] : nullptr));
  return table;
}

}  // namespace squant::results
