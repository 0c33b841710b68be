// An experiment file, expanded: the jobs of the matrix, without duplicates, each with its identity.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/evaluator.h"
#include "results/rows.h"
#include "runner/experiment.h"

namespace squant::runner {

struct PlannedJob {
  eval::Job job;
  int dataset = 0;  // index into Plan::datasets; -1: no images are read (`evaluate` is false)
  bool evaluate =
      true;  // false: quantize only, row.num_images is 0; done when its preparation is stored
  int repeats = 0;      // of the quantization that is timed; 0: the evaluator's default
  results::JobRow row;  // identity and evaluation are empty where Plan::missing is not empty
  std::optional<results::ReferenceValue> reference;
  std::string label;  // "resnet18 w4a4 squant": unique within the plan
};

// A cell that will not run, and why.
struct SkippedCell {
  std::string label;
  std::string reason;  // "excluded by exclude[0]", "duplicate of resnet18 float", "not selected by
                       // --only mode=squant"
};

struct PlannedDataset {
  std::string name;  // as the experiment says; behind it "(nvJPEG 13.3.2)" where that decodes
  eval::DatasetSpec spec;
  std::string fingerprint;
  std::int64_t size = 0;                 // of the whole data set
  std::int64_t num_images = 0;           // that this run uses: the first ones
  std::int64_t chunk = 0;                // images per tile
  std::vector<std::int32_t> labels;      // of the images that this run uses
  std::vector<std::string> class_names;  // empty: not known
};

struct Plan {
  std::vector<PlannedDataset> datasets;
  std::vector<PlannedJob> jobs;
  std::vector<SkippedCell> skipped;
  std::vector<Problem>
      missing;  // only with PlanOptions::allow_missing: the plan can be shown, not run
};

// What the command line adds to the file.
struct PlanOptions {
  std::vector<std::string> only;   // KEY=VALUE, all must hold
  std::vector<std::string> where;  // expressions such as bits=w4a4,w3 or mode!=squant
  std::vector<std::string> exclude_where;
  std::int64_t num_images = 0;    // 0: as the file says
  bool keep_predictions = false;  // also where the file does not say so
  bool allow_missing =
      false;  // for --dry-run: files and environment variables that are missing go to Plan::missing
};

// Opens data sets and hashes checkpoints. Throws ExperimentError with every problem found, not the
// first alone.
Plan make_plan(const Experiment& experiment, const PlanOptions& options);

}  // namespace squant::runner
