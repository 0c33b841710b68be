// What workers answer, checked and as rows of the database.
#pragma once

#include <cstdint>
#include <string>

#include "eval/evaluator.h"
#include "results/rows.h"
#include "results/store.h"
#include "runner/messages.h"

namespace squant::runner {

// Equal for equal answers; 0 where the engine does not promise the same bits everywhere.
std::uint64_t fingerprint_of(const eval::TileCounts& counts);

// An answer must account for each of `count` images exactly once: empty, or what is wrong.
std::string miscounted(const eval::TileCounts& counts, std::int64_t count);

// Who computed, for which run. The rows' time is now.
struct Computed {
  std::string evaluation;
  std::int64_t run_id = 0;
  int rank = 0;
};
results::PreparationRow preparation_row(const Computed& by, const eval::Preparation& preparation);
results::TileRow tile_row(const Computed& by, const results::TileRange& range,
                          const eval::TileCounts& counts, double load_ms);
results::WorkerRow worker_row(std::int64_t run_id, int rank, const Hello& hello);

}  // namespace squant::runner
