#include "results/verdict.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "results/printer.h"

namespace squant::results {
namespace {

constexpr double kNormalQuantile = 1.959963984540054;  // of 97.5%
// Absorbs the rounding of 100 * k / n and of decimal references; far below one image of any data
// set.
constexpr double kRoundingPct = 1e-9;

std::string number(double value, int decimals = 2) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

// "10,000 images"
std::string images(std::int64_t n) { return with_thousands(n) + (n == 1 ? " image" : " images"); }

// "250 of 10,000 images"
std::string part_of(std::int64_t part, std::int64_t all) {
  return with_thousands(part) + " of " + images(all);
}

std::string interval_text(const Interval& interval) {
  return "95% interval " + number(interval.low) + " to " + number(interval.high);
}

// "0.31 below", "exactly at"
std::string offset_text(double difference) {
  if (std::abs(difference) < 0.005) return "equal to";
  return number(std::abs(difference)) + (difference < 0 ? " below" : " above");
}

std::string broken_text(std::int64_t num_broken) {
  if (num_broken == 0) return {};
  return "; " + images(num_broken) + " could not be decoded and count as wrong";
}

// Is the float network itself not what the reference had? Broken images only lower it, so what they
// may explain is not laid on the weights.
bool baseline_is_off(const VerdictInput& input) {
  if (!input.baseline_top1_pct || !input.reference->baseline_top1_pct) return false;
  const double difference = *input.baseline_top1_pct - *input.reference->baseline_top1_pct;
  const double broken_pct =
      100.0 * static_cast<double>(input.num_broken) / static_cast<double>(input.num_images);
  return difference > kBaselineTolerancePct + kRoundingPct ||
         difference + broken_pct < -kBaselineTolerancePct - kRoundingPct;
}

}  // namespace

Interval wilson_interval_pct(std::int64_t successes, std::int64_t n) {
  if (n <= 0) return {0, 100};
  const double total = static_cast<double>(n);
  const double p = static_cast<double>(successes) / total;
  const double z2 = kNormalQuantile * kNormalQuantile;
  const double center = (p + z2 / (2 * total)) / (1 + z2 / total);
  const double half = kNormalQuantile / (1 + z2 / total) *
                      std::sqrt(p * (1 - p) / total + z2 / (4 * total * total));
  // The ends are exact where nothing or everything is right; elsewhere rounding must not leave [0,
  // 100].
  return {successes == 0 ? 0 : std::max(0.0, 100 * (center - half)),
          successes == n ? 100 : std::min(100.0, 100 * (center + half))};
}

Verdict judge(const VerdictInput& input) {
  const double n = static_cast<double>(std::max<std::int64_t>(input.num_images, 1));
  const double top1 = 100.0 * static_cast<double>(input.num_top1) / n;
  const Interval interval = wilson_interval_pct(input.num_top1, input.num_images);
  const std::string broken = broken_text(input.num_broken);

  if (input.num_images < input.num_planned) {
    const std::string progress = part_of(input.num_images, input.num_planned);
    if (input.failed) return {VerdictKind::kFailed, "failed after " + progress};
    if (input.num_images == 0) return {VerdictKind::kUnfinished, progress + " evaluated"};
    return {VerdictKind::kUnfinished, progress + " evaluated: " + number(top1) + "% so far, " +
                                          interval_text(interval) + broken};
  }
  if (input.num_images == 0)
    return {VerdictKind::kNoReference, "quantized and timed, no images evaluated"};
  if (!input.reference) {
    return {VerdictKind::kNoReference,
            "no reference value to compare " + number(top1) + "% with" + broken};
  }

  const ReferenceValue& reference = *input.reference;
  const double difference = top1 - reference.top1_pct;
  const std::string comparison = number(top1) + "% is " + offset_text(difference) +
                                 " the reference's " + number(reference.top1_pct) + "%";
  const bool is_whole = input.num_reference > 0 && input.num_images >= input.num_reference;
  if (is_whole) {
    if (baseline_is_off(input)) {
      const double baseline_difference = *input.baseline_top1_pct - *reference.baseline_top1_pct;
      return {VerdictKind::kWeightsDiffer,
              "the float baseline, " + number(*input.baseline_top1_pct) + "%, is " +
                  offset_text(baseline_difference) + " the reference's " +
                  number(*reference.baseline_top1_pct) +
                  "%: the checkpoint's weights are not the reference's" + broken};
    }
    const bool is_within = std::abs(difference) <= reference.tolerance + kRoundingPct;
    return {is_within ? VerdictKind::kPass : VerdictKind::kFail,
            comparison + (is_within ? ", within " : ", outside the tolerance of ") +
                number(reference.tolerance) + broken};
  }

  const bool is_excluded = reference.top1_pct < interval.low - reference.tolerance - kRoundingPct ||
                           reference.top1_pct > interval.high + reference.tolerance + kRoundingPct;
  const std::string subset =
      " on " +
      (input.num_reference > 0 ? part_of(input.num_images, input.num_reference)
                               : images(input.num_images) + " of a data set of unknown size") +
      ": " + interval_text(interval);
  if (is_excluded) {
    return {VerdictKind::kFail, comparison + subset +
                                    " excludes it by more than the tolerance of " +
                                    number(reference.tolerance) + broken};
  }
  return {VerdictKind::kInconclusive, comparison + subset + " does not exclude it" + broken};
}

const char* verdict_name(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kPass:
      return "pass";
    case VerdictKind::kFail:
      return "fail";
    case VerdictKind::kInconclusive:
      return "inconclusive";
    case VerdictKind::kNoReference:
      return "no reference";
    case VerdictKind::kWeightsDiffer:
      return "weights differ";
    case VerdictKind::kFailed:
      return "failed";
    case VerdictKind::kUnfinished:
      return "unfinished";
  }
  return "no reference";
}

}  // namespace squant::results
