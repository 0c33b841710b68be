#include "eval/image_outcome.h"

#include <cmath>

namespace squant::eval {
namespace {

// The letter of an image in TileCounts::outcomes. Of equal logits the lower class wins; a label
// whose logit is no number is wrong.
char outcome_of(std::span<const float> logits, std::int32_t label) {
  const float own = logits[static_cast<std::size_t>(label)];
  if (std::isnan(own)) return '0';
  std::int64_t rank = 0;
  for (std::size_t c = 0; c < logits.size(); ++c) {
    rank += logits[c] > own || (logits[c] == own && c < static_cast<std::size_t>(label)) ? 1 : 0;
  }
  return rank < 1 ? '1' : rank < 5 ? '5' : '0';
}

// The class whose label would be right; -1 where no logit is a number.
std::int32_t predicted_class(std::span<const float> logits) {
  std::int32_t best = -1;
  for (std::size_t c = 0; c < logits.size(); ++c) {
    if (std::isnan(logits[c])) continue;
    if (best < 0 || logits[c] > logits[static_cast<std::size_t>(best)])
      best = static_cast<std::int32_t>(c);
  }
  return best;
}

}  // namespace

void count_image(std::span<const float> logits, std::int32_t label, std::size_t at,
                 TileCounts& counts) {
  const char outcome = outcome_of(logits, label);
  counts.outcomes[at] = outcome;
  counts.num_top1 += outcome == '1' ? 1 : 0;
  counts.num_top5 += outcome == '1' || outcome == '5' ? 1 : 0;
  if (!counts.predictions.empty()) counts.predictions[at] = predicted_class(logits);
}

}  // namespace squant::eval
