// Verdicts: does a result agree with its reference?
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "results/rows.h"

namespace squant::results {

struct Interval {
  double low = 0, high = 0;
};
// 95% Wilson score interval of a proportion (E. B. Wilson, 1927), in percent. n = 0 gives [0, 100].
Interval wilson_interval_pct(std::int64_t successes, std::int64_t n);

// What a verdict needs to know.
struct VerdictInput {
  std::int64_t num_images = 0;   // evaluated
  std::int64_t num_planned = 0;  // of this job
  std::int64_t num_reference =
      0;  // images behind the reference value: the whole data set; 0: unknown
  std::int64_t num_top1 = 0;
  std::int64_t num_broken = 0;
  bool failed = false;
  std::optional<ReferenceValue> reference;
  std::optional<double>
      baseline_top1_pct;  // of the float job with the same checkpoint and images, if it is finished
};
struct Verdict {
  VerdictKind kind = VerdictKind::kNoReference;
  std::string text;  // one sentence, with the figures
};
inline constexpr double kBaselineTolerancePct = 0.05;
// The whole data set: pass within tolerance, else fail. A subset: fail only if the interval widened
// by the tolerance excludes the reference; else inconclusive. A float baseline off by more than
// kBaselineTolerancePct on the whole data set: the weights differ, whatever this row says.
[[nodiscard]] Verdict judge(const VerdictInput& input);
const char* verdict_name(VerdictKind kind);

}  // namespace squant::results
