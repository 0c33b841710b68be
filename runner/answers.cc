#include "runner/answers.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "runner/inventory.h"
#include "runner/provenance.h"

namespace squant::runner {

namespace {

// One letter an image, and together they say the same as the counts.
bool has_its_outcomes(const eval::TileCounts& counts) {
  const auto num = [&](char letter) {
    return std::count(counts.outcomes.begin(), counts.outcomes.end(), letter);
  };
  const auto size = std::ssize(counts.outcomes);
  const bool has_predictions =
      counts.predictions.empty() || std::ssize(counts.predictions) == counts.num_images;
  return has_predictions && size == counts.num_images && num('1') == counts.num_top1 &&
         num('1') + num('5') == counts.num_top5 && num('x') == counts.num_broken &&
         num('1') + num('5') + num('0') + num('x') == size;
}

results::CodeErrors code_errors(const quant::SquantErrors& errors) {
  return {errors.squared, errors.max_kernel, errors.max_channel};
}

results::LayerRow layer_row(int index, const eval::LayerFacts& layer) {
  results::LayerRow row;
  row.layer = index;
  row.name = layer.name;
  row.out = layer.shape.out;
  row.in = layer.shape.in;
  row.kernel = layer.shape.kernel;
  row.quantize_ms = layer.quantize_ms;
  if (layer.errors) {
    const quant::StageErrors& stages = *layer.errors;
    row.errors_e = code_errors(stages.e);
    if (stages.k) row.errors_k = code_errors(*stages.k);
    row.errors = code_errors(stages.c ? *stages.c : stages.k ? *stages.k : stages.e);
  }
  row.range_min = layer.input_range.min;
  row.range_max = layer.input_range.max;
  if (layer.saturation) {
    row.saturated_low = layer.saturation->low;
    row.saturated_high = layer.saturation->high;
  }
  row.sum_bound = layer.sum_bound;
  row.kernel_kind = layer.kernel;
  return row;
}

}  // namespace

std::uint64_t fingerprint_of(const eval::TileCounts& counts) {
  if (!counts.has_digest) return 0;
  const std::array<std::uint64_t, 6> facts{
      counts.digest.low,
      counts.digest.high,
      static_cast<std::uint64_t>(counts.num_top1),
      static_cast<std::uint64_t>(counts.num_top5),
      static_cast<std::uint64_t>(counts.num_broken),
      XXH3_64bits(counts.outcomes.data(), counts.outcomes.size())};
  return XXH3_64bits(facts.data(), sizeof facts) | 1U;
}

std::string miscounted(const eval::TileCounts& counts, std::int64_t count) {
  if (counts.num_images == count && has_its_outcomes(counts)) return "";
  return "the answer accounts for " + std::to_string(counts.num_images) + " images (" +
         std::to_string(counts.num_top1) + " top-1, " + std::to_string(counts.num_top5) +
         " top-5, " + std::to_string(counts.num_broken) + " broken) where " +
         std::to_string(count) + " were asked for";
}

results::PreparationRow preparation_row(const Computed& by, const eval::Preparation& preparation) {
  results::PreparationRow row;
  row.evaluation = by.evaluation;
  row.run_id = by.run_id;
  row.rank = by.rank;
  row.ranges_json = ranges_to_json(preparation.ranges);
  row.quantize_ms = preparation.quantize_ms;
  row.quantize_device = preparation.quantize_device;
  row.calibrate_ms = preparation.calibrate_ms;
  row.num_weights = preparation.num_weights;
  row.finished_at = utc_now();
  for (const eval::LayerFacts& layer : preparation.layers) {
    row.layers.push_back(layer_row(static_cast<int>(row.layers.size()), layer));
  }
  return row;
}

results::TileRow tile_row(const Computed& by, const results::TileRange& range,
                          const eval::TileCounts& counts, double load_ms) {
  results::TileRow row;
  row.evaluation = by.evaluation;
  row.first = range.first;
  row.count = range.count;
  row.num_top1 = counts.num_top1;
  row.num_top5 = counts.num_top5;
  row.num_broken = counts.num_broken;
  if (counts.has_digest) row.digest = counts.digest.hex();
  row.run_id = by.run_id;
  row.rank = by.rank;
  row.compute_ms = counts.compute_ms;
  row.load_ms = load_ms;
  row.finished_at = utc_now();
  row.outcomes = counts.outcomes;
  row.predictions = counts.predictions;
  return row;
}

results::WorkerRow worker_row(std::int64_t run_id, int rank, const Hello& hello) {
  return {run_id,
          rank,
          hello.host,
          hello.pid,
          hello.device,
          hello.device_name,
          hello.device_uuid,
          hello.driver,
          hello.num_threads};
}

}  // namespace squant::runner
