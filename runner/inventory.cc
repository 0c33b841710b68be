#include "runner/inventory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <stdexcept>
#include <string_view>

namespace squant::runner {
namespace {

void append(std::string& text, float value) {
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc()) text.append(digits.data(), end);
}

class RangesParser {
 public:
  explicit RangesParser(const std::string& text) : rest_(text), text_(text) {}

  std::vector<quant::ActivationRange> parse() {
    std::vector<quant::ActivationRange> ranges;
    expect('[');
    if (!accept(']')) {
      do {
        quant::ActivationRange range;
        expect('[');
        range.min = number();
        expect(',');
        range.max = number();
        expect(']');
        ranges.push_back(range);
      } while (accept(','));
      expect(']');
    }
    if (!rest_.empty()) fail();
    return ranges;
  }

 private:
  [[noreturn]] void fail() const {
    throw std::invalid_argument("not a list of activation ranges: " + text_);
  }
  bool accept(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  float number() {
    float value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) fail();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

  std::string_view rest_;
  const std::string& text_;
};

JobInventory take_one(const PlannedJob& planned, results::Store* store,
                      const Selection& selection) {
  JobInventory job;
  const results::JobRow& row = planned.row;
  if (planned.evaluate && row.chunk > 0)
    job.num_chunks = (row.num_images + row.chunk - 1) / row.chunk;

  results::JobState state;
  if (store != nullptr && !row.identity.empty()) state = store->job_state(row);
  job.failure = state.failure;
  const std::set<results::TileRange> finished(state.finished.begin(), state.finished.end());
  const std::set<results::TileRange> predicted(state.predicted.begin(), state.predicted.end());
  const bool keeps_predictions = planned.evaluate && planned.job.keep_predictions;
  job.predictions_need_force = keeps_predictions && state.predictions_need_force;
  for (std::int64_t chunk = 0; chunk < job.num_chunks; ++chunk) {
    const std::int64_t first = chunk * row.chunk;
    const results::TileRange range{first, std::min(row.chunk, row.num_images - first)};
    const bool is_repeated =
        keeps_predictions && finished.contains(range) && !predicted.contains(range);
    if (is_repeated) job.repeated.insert(static_cast<int>(chunk));
    if (is_repeated || !finished.contains(range)) job.missing.push_back(static_cast<int>(chunk));
  }
  // Without an identity something the plan needs is missing: the job can be shown, not run.
  const bool complete =
      !row.identity.empty() && job.missing.empty() && (state.preparation || planned.evaluate);
  const bool begun =
      static_cast<std::int64_t>(job.missing.size()) < job.num_chunks || !job.repeated.empty();
  job.status = complete        ? JobStatus::kFinished
               : state.failure ? JobStatus::kFailed
               : begun         ? JobStatus::kPartly
                               : JobStatus::kNew;

  if (selection.only_failed && job.status != JobStatus::kFailed) {
    if (!complete) job.why_not = "not selected by --only-failed";
  } else if (job.status == JobStatus::kFailed && !selection.retry_failed &&
             !selection.only_failed && !selection.force) {
    job.why_not = "failed earlier (--retry-failed tries again): " + state.failure->reason;
  } else {
    job.to_run = selection.force || !complete;
  }

  if (selection.force && job.to_run) {
    job.missing.clear();
    job.repeated.clear();
    job.predictions_need_force = false;
    for (std::int64_t chunk = 0; chunk < job.num_chunks; ++chunk)
      job.missing.push_back(static_cast<int>(chunk));
  } else if (state.preparation) {
    job.prepared = true;
    job.ranges = ranges_from_json(state.preparation->ranges_json);
  }
  return job;
}

}  // namespace

std::vector<JobInventory> take_inventory(const Plan& plan, results::Store* store,
                                         const Selection& selection) {
  std::vector<JobInventory> inventory;
  inventory.reserve(plan.jobs.size());
  for (const PlannedJob& planned : plan.jobs)
    inventory.push_back(take_one(planned, store, selection));
  return inventory;
}

std::string ranges_to_json(const std::vector<quant::ActivationRange>& ranges) {
  std::string text = "[";
  for (const quant::ActivationRange& range : ranges) {
    if (text.size() > 1) text += ',';
    text += '[';
    append(text, range.min);
    text += ',';
    append(text, range.max);
    text += ']';
  }
  return text + "]";
}

std::vector<quant::ActivationRange> ranges_from_json(const std::string& text) {
  return RangesParser(text).parse();
}

}  // namespace squant::runner
