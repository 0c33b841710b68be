#include "runner/answers.h"

#include <xxhash.h>

#include <array>

#include "runner/inventory.h"
#include "runner/provenance.h"

namespace squant::runner {

std::uint64_t fingerprint_of(const eval::TileCounts& counts) {
  if (!counts.has_digest) return 0;
  const std::array<std::uint64_t, 5> facts{
      counts.digest.low, counts.digest.high, static_cast<std::uint64_t>(counts.num_top1),
      static_cast<std::uint64_t>(counts.num_top5), static_cast<std::uint64_t>(counts.num_broken)};
  return XXH3_64bits(facts.data(), sizeof facts) | 1U;
}

std::string miscounted(const eval::TileCounts& counts, std::int64_t count) {
  if (counts.num_images == count && counts.num_top1 >= 0 && counts.num_top1 <= counts.num_top5 &&
      counts.num_top5 <= count && counts.num_broken >= 0 && counts.num_broken <= count) {
    return "";
  }
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
  row.calibrate_ms = preparation.calibrate_ms;
  row.num_weights = preparation.num_weights;
  row.finished_at = utc_now();
  for (const eval::LayerFacts& layer : preparation.layers) {
    row.layers.push_back({static_cast<int>(row.layers.size()), layer.name, layer.shape.out,
                          layer.shape.in, layer.shape.kernel, layer.quantize_ms,
                          layer.errors.squared, layer.errors.max_kernel, layer.errors.max_channel,
                          layer.input_range.min, layer.input_range.max, layer.sum_bound,
                          layer.kernel});
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
