#include "results/compare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>

#include "results/class_counts.h"
#include "results/reference.h"
#include "results/result_columns.h"
#include "results/result_query.h"
#include "results/significance.h"
#include "results/store.h"
#include "results/viewer.h"

namespace squant::results {
namespace {

using Outcome = Comparison::Outcome;

constexpr double kRoundingPct = 1e-9;  // as in judge()

std::string cell_key(const JobRow& job) { return job.model + '\n' + job.bits + '\n' + job.mode; }

std::string full_key(const JobRow& job) {
  return cell_key(job) + '\n' + job.rounding + '\n' + TextTable::cell(job.sigma).text + '\n' +
         job.engine + '\n' + job.dataset_name + '\n' + std::to_string(job.num_images);
}

// Columns whose values make two jobs different ones.
std::vector<std::string> differing_fields(const JobRow& a, const JobRow& b) {
  std::vector<std::string> names;
  const auto check = [&](const char* name, bool is_equal) {
    if (!is_equal) names.emplace_back(name);
  };
  check("checkpoint", a.checkpoint_sha256 == b.checkpoint_sha256);
  check("dataset", a.dataset_fingerprint == b.dataset_fingerprint);
  check("num_images", a.num_images == b.num_images);
  check("rounding", a.rounding == b.rounding);
  check("sigma", a.sigma == b.sigma);
  check("calibration_images", a.calibration_images == b.calibration_images);
  check("engine", a.engine == b.engine);
  check("numerics_version", a.numerics_version == b.numerics_version);
  if (names.empty() && a.identity != b.identity) names.emplace_back("config_json");
  return names;
}

bool is_complete(const ResultRow& row) { return !row.completed_at.empty(); }

Outcome outcome_of(const ResultRow& a, const ResultRow& b, double tolerance_pct) {
  const bool is_same_job = a.job.identity == b.job.identity;
  const bool has_equal_counts = a.num_images == b.num_images && a.num_top1 == b.num_top1 &&
                                a.num_top5 == b.num_top5 && a.num_broken == b.num_broken;
  if (is_same_job && has_equal_counts && a.digest == b.digest) return Outcome::kEqual;
  if (!is_complete(a) || !is_complete(b)) return Outcome::kUnfinished;
  if (is_same_job && a.digest && b.digest) return Outcome::kOtherBits;
  return std::abs(a.top1_pct - b.top1_pct) <= tolerance_pct + kRoundingPct ? Outcome::kWithin
                                                                           : Outcome::kOutside;
}

using Key = std::function<std::string(const JobRow&)>;

// Index of the only unpaired row of each key; -1 where there are several.
std::map<std::string, int> index_by(const Key& key, std::span<const ResultRow> rows,
                                    const std::vector<int>& partner) {
  std::map<std::string, int> index;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (partner[i] >= 0) continue;
    const auto [found, is_new] = index.emplace(key(rows[i].job), static_cast<int>(i));
    if (!is_new) found->second = -1;
  }
  return index;
}

// --- the sides of the command

struct Side {
  std::string name;
  std::unique_ptr<Connection> connection;
  std::vector<ResultRow> rows;
  std::optional<Reference> reference;  // a reference file
  bool is_paper = false;               // the reference values of the other side
  bool is_reference() const { return is_paper || reference.has_value(); }
};

// A program that knows fewer columns would compare less than there is.
void check_columns(Connection& connection) {
  const TextTable columns =
      select_table(connection, "SELECT name FROM pragma_table_info('results')");
  for (const auto& row : columns.rows) {
    const auto is_known = [&](const ResultColumn& column) { return column.name == row[0].text; };
    if (std::none_of(result_columns().begin(), result_columns().end(), is_known)) {
      throw StoreIncompatible(
          connection.path() +
          ": the view results has a column this program does not know: " + row[0].text);
    }
  }
}

Side load_side(const std::string& text, const std::string& database) {
  Side side;
  side.name = text;
  if (text == "paper" || text == "reference") {
    side.is_paper = true;
    return side;
  }
  if (text.ends_with(".json")) {
    side.reference = Reference::load(text);
    return side;
  }
  std::string path = text;
  Selection selection;
  const std::size_t at = text.rfind('@');
  if (!std::filesystem::exists(text) && at != std::string::npos) {
    path = at == 0 ? database : text.substr(0, at);
    selection.run = text.substr(at + 1);
  }
  side.connection = open_view(path);
  check_columns(*side.connection);
  side.rows = select_results(*side.connection, selection);
  return side;
}

// --- significance

std::string outcomes_of(const Side& side, const ResultRow& row) {
  return side.connection->guarded("read outcomes", [&] {
    return job_outcomes(*side.connection, {row.job_id, row.job.num_images, row.job.chunk});
  });
}

Significance paired_test(const std::string& a, const std::string& b) {
  Significance result{Significance::Test::kPaired, 0, 0, 1};
  for (std::size_t image = 0; image < a.size(); ++image) {
    result.only_a += a[image] == '1' && b[image] != '1' ? 1 : 0;
    result.only_b += a[image] != '1' && b[image] == '1' ? 1 : 0;
  }
  result.p = mcnemar_mid_p(result.only_a, result.only_b);
  return result;
}

Significance test_pair(const Side& side_a, const Side& side_b, const Comparison& pair) {
  if (pair.outcome == Outcome::kEqual || !pair.a || !pair.b) return {};
  if (!is_complete(*pair.a) || !is_complete(*pair.b) || pair.a->num_images == 0) return {};
  if (pair.a->job.dataset_fingerprint == pair.b->job.dataset_fingerprint &&
      pair.a->num_images == pair.b->num_images) {
    const std::string a = outcomes_of(side_a, *pair.a);
    const std::string b = outcomes_of(side_b, *pair.b);
    if (!a.empty() && a.size() == b.size()) return paired_test(a, b);
  }
  return {Significance::Test::kCounts, 0, 0,
          two_proportions_p(pair.a->num_top1, pair.a->num_images, pair.b->num_top1,
                            pair.b->num_images)};
}

// Of a published percentage it is not known which images were right: as if of as many images.
double reference_p(const ResultRow& row, double reference_pct) {
  const auto num_right = std::llround(reference_pct / 100 * static_cast<double>(row.num_images));
  return two_proportions_p(row.num_top1, row.num_images, num_right, row.num_images);
}

constexpr double kSignificant = 0.05;

struct ReferenceComparison {
  const ResultRow* row = nullptr;
  double reference_pct = 0;
  bool is_within = false;
};

std::vector<ReferenceComparison> compare_with_reference(const Side& side, const Side& reference,
                                                        const CompareOptions& options) {
  std::vector<ReferenceComparison> comparisons;
  for (const ResultRow& row : side.rows) {
    std::optional<ReferenceValue> value;
    if (reference.reference) {
      value = reference.reference->find(row.job.model, row.job.bits, row.job.mode);
    } else if (row.reference_top1_pct) {
      value = {*row.reference_top1_pct, row.tolerance.value_or(0), row.reference_source, {}};
    }
    if (!value) continue;
    const double tolerance = options.tolerance_pct.value_or(value->tolerance);
    const bool is_within =
        is_complete(row) && std::abs(row.top1_pct - value->top1_pct) <= tolerance + kRoundingPct;
    if (options.common_only && !is_complete(row)) continue;
    comparisons.push_back({&row, value->top1_pct, is_within});
  }
  return comparisons;
}

using Cell = TextTable::Cell;
using Tone = TextTable::Tone;

Cell percent(double value, bool is_known = true) {
  return is_known ? Cell{TextTable::Type::kReal, decimal(value, 2)} : Cell{};
}

Cell p_cell(double p) {
  return {TextTable::Type::kReal, p < 0.0001 ? std::string("<0.0001") : decimal(p, 4)};
}

Cell difference_cell(double difference) {
  return {TextTable::Type::kReal, (difference < 0 ? "" : "+") + decimal(difference, 2)};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string significance_text(std::int64_t count) {
  return std::to_string(count) + (count == 1 ? " differs" : " differ") +
         " by more than chance (p < 0.05)";
}

int print_reference_comparison(const std::vector<ReferenceComparison>& comparisons,
                               const Output& output) {
  TextTable table;
  table.columns = {"model",      "bits", "mode", "top-1 %", "reference",
                   "difference", "test", "p",    "outcome"};
  std::int64_t num_bad = 0;
  std::int64_t num_significant = 0;
  for (const ReferenceComparison& comparison : comparisons) {
    const ResultRow& row = *comparison.row;
    const char* const outcome = !is_complete(row)      ? "unfinished"
                                : comparison.is_within ? "within"
                                                       : "outside";
    num_bad += comparison.is_within ? 0 : 1;
    const bool is_tested = is_complete(row) && row.num_images > 0;
    const double p = is_tested ? reference_p(row, comparison.reference_pct) : 1;
    num_significant += p < kSignificant ? 1 : 0;
    table.rows.push_back(
        {TextTable::cell(row.job.model), TextTable::cell(row.job.bits),
         TextTable::cell(row.job.mode), percent(row.top1_pct, row.num_images > 0),
         percent(comparison.reference_pct),
         row.num_images > 0 ? difference_cell(row.top1_pct - comparison.reference_pct) : Cell{},
         is_tested ? TextTable::cell(std::string("counts")) : Cell{},
         is_tested ? p_cell(p) : Cell{},
         TextTable::cell(outcome, comparison.is_within ? Tone::kGood : Tone::kBad)});
  }
  print_table(output.out, table, output.format, output.style);
  if (output.format == Format::kTable) {
    output.out << '\n'
               << comparisons.size() << " compared, " << num_bad << " not within the tolerance; "
               << significance_text(num_significant) << '\n';
  }
  return num_bad > 0 ? kExitBad : kExitGood;
}

bool is_good(Outcome outcome) { return outcome == Outcome::kEqual || outcome == Outcome::kWithin; }

int print_comparison(const std::vector<Comparison>& comparisons, const Output& output) {
  TextTable table;
  table.columns = {"model",   "bits", "mode", "A top-1 %", "B top-1 %", "difference", "A alone",
                   "B alone", "test", "p",    "digest",    "outcome",   "differs in"};
  std::int64_t num_bad = 0;
  std::int64_t num_significant = 0;
  for (const Comparison& pair : comparisons) {
    const ResultRow& any = pair.a ? *pair.a : *pair.b;
    const bool has_both = pair.a && pair.b && pair.a->num_images > 0 && pair.b->num_images > 0;
    const bool has_digests = has_both && pair.a->digest && pair.b->digest;
    num_bad += is_good(pair.outcome) ? 0 : 1;
    const Significance& tested = pair.significance;
    const bool is_paired = tested.test == Significance::Test::kPaired;
    const bool is_tested = tested.test != Significance::Test::kNone;
    num_significant += tested.p < kSignificant ? 1 : 0;
    table.rows.push_back(
        {TextTable::cell(any.job.model), TextTable::cell(any.job.bits),
         TextTable::cell(any.job.mode),
         pair.a ? percent(pair.a->top1_pct, pair.a->num_images > 0) : Cell{},
         pair.b ? percent(pair.b->top1_pct, pair.b->num_images > 0) : Cell{},
         has_both ? difference_cell(pair.b->top1_pct - pair.a->top1_pct) : Cell{},
         is_paired ? TextTable::cell(tested.only_a) : Cell{},
         is_paired ? TextTable::cell(tested.only_b) : Cell{},
         is_tested ? TextTable::cell(std::string(is_paired ? "paired" : "counts")) : Cell{},
         is_tested ? p_cell(tested.p) : Cell{},
         has_digests
             ? TextTable::cell(pair.a->digest == pair.b->digest ? std::string("equal") : "differs")
             : Cell{},
         TextTable::cell(outcome_name(pair.outcome),
                         is_good(pair.outcome) ? Tone::kGood : Tone::kBad),
         pair.differs_in.empty() ? Cell{} : TextTable::cell(joined(pair.differs_in))});
  }
  print_table(output.out, table, output.format, output.style);
  if (output.format == Format::kTable) {
    output.out << '\n'
               << comparisons.size() << " compared, " << num_bad << " not in agreement; "
               << significance_text(num_significant) << '\n';
  }
  return num_bad > 0 ? kExitBad : kExitGood;
}

}  // namespace

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kEqual:
      return "equal";
    case Outcome::kWithin:
      return "within";
    case Outcome::kOutside:
      return "outside";
    case Outcome::kOtherBits:
      return "OTHER BITS";
    case Outcome::kUnfinished:
      return "unfinished";
    case Outcome::kOnlyA:
      return "only in A";
    case Outcome::kOnlyB:
      return "only in B";
  }
  return "";
}

std::vector<Comparison> compare_results(std::span<const ResultRow> a, std::span<const ResultRow> b,
                                        double tolerance_pct) {
  std::vector<int> partner_of_a(a.size(), -1);
  std::vector<int> partner_of_b(b.size(), -1);
  const Key keys[] = {[](const JobRow& job) { return job.identity; },
                      [](const JobRow& job) { return job.evaluation; }, full_key, cell_key};
  for (const Key& key : keys) {
    const auto index_a = index_by(key, a, partner_of_a);
    const auto index_b = index_by(key, b, partner_of_b);
    for (const auto& [name, i] : index_a) {
      const auto found = index_b.find(name);
      if (i < 0 || found == index_b.end() || found->second < 0) continue;
      partner_of_a[static_cast<std::size_t>(i)] = found->second;
      partner_of_b[static_cast<std::size_t>(found->second)] = i;
    }
  }
  std::vector<Comparison> comparisons;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (partner_of_a[i] < 0) {
      comparisons.push_back({a[i], {}, Outcome::kOnlyA, {}, {}});
      continue;
    }
    const ResultRow& other = b[static_cast<std::size_t>(partner_of_a[i])];
    comparisons.push_back({a[i],
                           other,
                           outcome_of(a[i], other, tolerance_pct),
                           differing_fields(a[i].job, other.job),
                           {}});
  }
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (partner_of_b[i] < 0) comparisons.push_back({{}, b[i], Outcome::kOnlyB, {}, {}});
  }
  return comparisons;
}

int compare_command(const std::string& a, const std::string& b, const std::string& database,
                    const CompareOptions& options, const Output& output) {
  const Side side_a = load_side(a, database);
  const Side side_b = load_side(b, database);
  if (side_a.is_reference() && side_b.is_reference()) {
    throw std::invalid_argument("compare: one side must be results, both '" + a + "' and '" + b +
                                "' are references");
  }
  if (side_a.is_reference() || side_b.is_reference()) {
    const bool is_a = side_a.is_reference();
    return print_reference_comparison(
        compare_with_reference(is_a ? side_b : side_a, is_a ? side_a : side_b, options), output);
  }
  std::vector<Comparison> comparisons = compare_results(
      side_a.rows, side_b.rows, options.tolerance_pct.value_or(kDefaultTolerancePct));
  if (options.common_only) {
    std::erase_if(comparisons, [](const Comparison& pair) {
      return pair.outcome == Outcome::kOnlyA || pair.outcome == Outcome::kOnlyB ||
             pair.outcome == Outcome::kUnfinished;
    });
  }
  for (Comparison& pair : comparisons) pair.significance = test_pair(side_a, side_b, pair);
  return print_comparison(comparisons, output);
}

}  // namespace squant::results
