// What a job's tiles add up to. Internal to results/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "results/rows.h"

namespace squant::results {

// 32 hex digits, the high 64-bit half first: each half of the sum is modulo 2^64.
// Throws StoreError for anything else.
std::string add_digests(const std::string& a, const std::string& b);
// The same digest in lower case.
std::string normal_digest(const std::string& digest);

// Is [first, first + count) a tile of the grid that cuts `num_images` images into chunks?
bool is_on_grid(std::int64_t first, std::int64_t count, std::int64_t chunk,
                std::int64_t num_images);

// A job as the database has it.
struct StoredJob {
  std::int64_t job_id = 0;
  std::int64_t num_images = 0;
  std::int64_t chunk = 0;
};

struct Totals {
  std::int64_t num_tiles = 0, num_images = 0, num_top1 = 0, num_top5 = 0, num_broken = 0;
  std::optional<std::string> digest;  // empty: no tiles, or some without digest
  double compute_ms = 0;
  std::string last_finished_at;

  void add(const TileRow& tile);
};

}  // namespace squant::results
