// What of a plan the database has already, and what is to be done.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "quant/activation.h"
#include "results/store.h"
#include "runner/plan.h"

namespace squant::runner {

// Which jobs the command line asks for, beyond those that are unfinished and have not failed.
struct Selection {
  bool force = false;         // finished ones too, from the start
  bool retry_failed = false;  // those that failed earlier
  bool only_failed = false;   // those alone
};

enum class JobStatus : std::uint8_t { kNew, kPartly, kFinished, kFailed };

struct JobInventory {
  JobStatus status = JobStatus::kNew;
  bool to_run = false;
  std::string why_not;  // where it is neither to be run nor finished
  std::int64_t num_chunks = 0;
  std::vector<int> missing;  // chunks to compute: indices
  // Those of them that are stored and counted: only their predictions are missing.
  std::set<int> repeated;
  // Predictions are asked for and will not be there: the job was finished in tiles of another size.
  bool predictions_need_force = false;
  bool prepared = false;
  std::vector<quant::ActivationRange> ranges;
  std::optional<results::FailureRow> failure;
};

// One entry per job of the plan, in its order. `store` may be null: there is no database yet. Reads
// only.
std::vector<JobInventory> take_inventory(const Plan& plan, results::Store* store,
                                         const Selection& selection);

// PreparationRow::ranges_json: shortest decimal form that gives the same float32 back.
std::string ranges_to_json(const std::vector<quant::ActivationRange>& ranges);
// Throws std::invalid_argument for text that ranges_to_json() did not make.
std::vector<quant::ActivationRange> ranges_from_json(const std::string& text);

}  // namespace squant::runner
