// When the workers of a run were busy, from the tiles alone. Internal to results/.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "results/connection.h"

namespace squant::results {

// Milliseconds since 1970 of "2026-01-31T12:00:00.000Z"; -1 for anything else.
std::int64_t parse_utc_ms(std::string_view text);

// What is needed of a tile. Times are enough at a millisecond, durations in single precision: there
// may be millions.
struct TileTime {
  std::int64_t finished_ms = 0;  // since 1970
  std::int32_t rank = 0;
  float compute_ms = 0, load_ms = 0;
};

// A worker's time within [start_ms, end_ms), cut into equal bins.
struct Lane {
  int rank = 0;
  std::int64_t num_tiles = 0;
  std::vector<double> compute_ms, load_ms;  // in each bin; together at most the bin
  double total_compute_ms = 0, total_load_ms = 0;
};
struct Timeline {
  std::int64_t start_ms = 0, end_ms = 0;
  std::vector<Lane> lanes;  // by rank
  double bin_ms(std::size_t num_bins) const {
    return static_cast<double>(end_ms - start_ms) / static_cast<double>(num_bins);
  }
};

// All stored tiles by the run that computed them, only of these runs if any are given. One pass
// over the table.
std::map<std::int64_t, std::vector<TileTime>> read_tile_times(
    Connection& connection, const std::vector<std::int64_t>& run_ids);

// Jobs of one tile arrive together, each with its share of the time: a worker computed from the
// arrival before, or for as long as the shares add up to, and decoded once before that.
// `started_ms`: when the run began. Sorts `tiles`, which must not be empty.
Timeline make_timeline(std::vector<TileTime>& tiles, std::int64_t started_ms, std::size_t num_bins);

}  // namespace squant::results
