// The rows of the results database as plain structs: filled by the runner, stored and shown by this
// room. Columns and meaning: docs/database.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace squant::results {

// One start of squant-sweep.
struct RunRow {
  std::int64_t id = 0;  // set by the store
  std::string experiment_name;
  std::string experiment_path;
  std::string experiment_json;  // the effective experiment, canonical
  std::string command_line;
  std::string git_commit;
  bool git_dirty = false;
  std::string version;  // of the program
  std::string compiler;
  std::string libraries;  // "LibTorch 2.11.0, oneDNN 2.6.3, Open MPI 4.1.4, SQLite 3.40.1, ..."
  std::string host;
  std::string user;
  std::string slurm_job;  // empty outside Slurm
  int world_size = 0;
  std::string started_at;   // UTC, ISO 8601, milliseconds: 2026-01-31T12:00:00.000Z
  std::string finished_at;  // empty while it runs or after it died
  int exit_code = -1;       // -1 while it runs or after it died
  std::string
      uuid;  // 32 hex digits, the same in every database the run is merged into; set by the store
};

// A worker of one run.
struct WorkerRow {
  std::int64_t run_id = 0;
  int rank = 0;
  std::string host;
  int pid = 0;
  std::string device;       // "cpu", "cuda:0"
  std::string device_name;  // "AMD EPYC ...", "NVIDIA H200"
  std::string device_uuid;  // GPUs
  std::string driver;       // GPUs
  int num_threads = 0;
};

// One cell of a matrix on one set of images.
struct JobRow {
  std::string identity;  // hex SHA-256 of everything that decides the result
  std::string
      evaluation;  // the same without the number of images: tiles are stored under it and shared
  std::string config_json;  // what was hashed, canonical JSON
  std::string model;
  std::string bits;         // "float", "w4", "w4a4"
  int weight_bits = 0;      // 0: float
  int activation_bits = 0;  // 0: float
  std::string mode;         // "squant-e", ..., "squant"; "float" where weight_bits is 0
  std::string rounding;     // "current", "paper"
  double sigma = 0;
  std::int64_t calibration_images = 0;
  std::string engine;  // "integer", "float", "simulated"
  std::string checkpoint_path;
  std::string checkpoint_sha256;
  std::string checkpoint_note;  // "pytorchcv 0.0.51 resnet18" where a manifest knows the file
  std::string dataset_name;
  std::string dataset_fingerprint;
  std::int64_t num_images = 0;  // planned
  std::int64_t chunk =
      0;  // images per tile: tiles are [k * chunk, min((k + 1) * chunk, num_images))
  int numerics_version = 0;
  std::int64_t dataset_size =
      0;  // images of the whole data set: tells a subset from all; 0: unknown
};

// How far a layer's codes are from its weights, in code steps.
struct CodeErrors {
  double squared = 0;      // sum over the weights
  double max_kernel = 0;   // largest |sum of errors| of a weight kernel
  double max_channel = 0;  // ... of an output channel
};

struct LayerRow {
  int layer = 0;  // in layer order, from 0
  std::string name;
  std::int64_t out = 0, in = 0, kernel = 0;
  double quantize_ms = 0;
  CodeErrors errors;                    // after the mode's last stage
  std::optional<CodeErrors> errors_e;   // after rounding alone; empty: float weights
  std::optional<CodeErrors> errors_k;   // after SQuant-K; empty: the mode has no such stage
  double range_min = 0, range_max = 0;  // of the input activation; 0, 0: float
  // The share of the inputs that the range clamps, when it was measured; empty: float.
  std::optional<double> saturated_low, saturated_high;
  double sum_bound = 0;     // integer sums stay below it
  std::string kernel_kind;  // "int8", "float32", "float64", "float"
};

// What preparing (quantizing, calibrating) a job gave; once per `evaluation`.
struct PreparationRow {
  std::string evaluation;
  std::int64_t run_id = 0;
  int rank = 0;
  std::string ranges_json;  // [[min, max], ...] per layer, exact (shortest float round trip); "[]"
                            // for float activations
  double quantize_ms = 0;   // whole model
  std::string
      quantize_device;  // "cpu", "cuda", or "cuda, cpu"; empty: unknown, or nothing quantized
  double calibrate_ms = 0;
  std::int64_t num_weights = 0;
  std::string finished_at;
  std::vector<LayerRow> layers;
};

// A data set as far as jobs ask for it.
struct DatasetRow {
  std::string fingerprint;
  std::vector<std::int32_t> labels;      // of its first images
  std::vector<std::string> class_names;  // by class; empty: not known
};

struct TileRow {
  std::string evaluation;
  std::int64_t first = 0;  // image range [first, first + count)
  std::int64_t count = 0;
  std::int64_t num_top1 = 0;
  std::int64_t num_top5 = 0;
  std::int64_t num_broken = 0;
  std::optional<std::string> digest;  // 32 hex digits; empty where activations are float
  std::int64_t run_id = 0;
  int rank = 0;
  double compute_ms = 0;  // this job's share
  double load_ms = 0;     // decoding of the chunk, once for all jobs of the tile
  std::string finished_at;
  // A letter an image: '1' right with the first guess, '5' within five, '0' wrong, 'x' could not be
  // decoded. Empty: not known.
  std::string outcomes;
  std::vector<std::int32_t> predictions;  // the class of each image, -1: none; empty: not kept
};

struct FailureRow {
  std::string identity;
  std::int64_t run_id = 0;
  int rank = 0;
  std::string reason;
  std::string log_tail;
  std::string failed_at;
};

// What a job is compared with.
struct ReferenceValue {
  double top1_pct = 0;
  double tolerance = 0.2;                   // percentage points, absolute
  std::string source;                       // "SQuant, ICLR 2022, table 1"
  std::optional<double> baseline_top1_pct;  // of the float network in the same source
};

enum class VerdictKind : std::uint8_t {
  kPass,
  kFail,
  kInconclusive,
  kNoReference,
  kWeightsDiffer,
  kFailed,
  kUnfinished
};

// The row of the view `results`.
struct ResultRow {
  JobRow job;
  std::int64_t num_images = 0;  // evaluated
  std::int64_t num_top1 = 0;
  std::int64_t num_top5 = 0;
  std::int64_t num_broken = 0;
  double top1_pct = 0, top5_pct = 0;
  double ci_low_pct = 0, ci_high_pct = 0;  // 95% Wilson interval of top-1
  std::optional<std::string> digest;
  std::optional<double> reference_top1_pct;
  std::optional<double> tolerance;
  std::string reference_source;
  std::string verdict;       // "pass", "fail", "inconclusive", "no reference", "weights differ",
                             // "failed", "unfinished"
  std::string verdict_text;  // one sentence
  std::optional<double> quantize_ms;
  std::optional<double> images_per_s;  // num_images over the tiles' compute time
  std::string failure;                 // last reason
  std::optional<double> calibrate_ms;
  double compute_ms = 0;     // all tiles
  std::string completed_at;  // empty: not complete
  std::int64_t run_id =
      0;  // the run that reference and verdict are of: the latest with a reference, else the latest
  std::optional<double> reference_baseline_pct;
  std::int64_t job_id = 0;      // in this database, in the order of addition
  std::string quantize_device;  // as PreparationRow's; empty: not known
};

}  // namespace squant::results
