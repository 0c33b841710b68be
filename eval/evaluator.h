// The face of eval/ for the runner: jobs in, counts out. No torch header is needed to include it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/images/dataset.h"
#include "quant/activation.h"
#include "quant/saturation.h"
#include "quant/stage_errors.h"

namespace squant::eval {

// Raised whenever the same job could give other logits or counts than before: part of every job's
// identity.
inline constexpr int kNumericsVersion = 1;

enum class EngineChoice : std::uint8_t {
  kAuto,       // integer where activations are quantized, else float
  kSimulated,  // fake quantization in float32, as published; never exact
};

// What decides a job's logits, apart from the images.
struct Job {
  std::string model;
  std::string checkpoint;         // path of the file
  std::string checkpoint_sha256;  // of the file the plan saw; a worker refuses another one
  int weight_bits = 0;            // 0: float network
  int activation_bits = 0;        // 0: float activations
  quant::Mode mode = quant::Mode::kEKC;
  quant::Rounding rounding = quant::Rounding::kCurrent;
  double sigma = 0;
  std::int64_t calibration_images = 0;
  EngineChoice engine = EngineChoice::kAuto;
  // Decides no logit: whether the class of each image is answered too.
  bool keep_predictions = false;
};

// Facts about one layer, kept with the job.
struct LayerFacts {
  std::string name;
  quant::WeightShape shape;
  double quantize_ms = 0;
  std::optional<quant::StageErrors> errors;     // empty: float weights
  quant::ActivationRange input_range;           // 0, 0: not quantized
  std::optional<quant::Saturation> saturation;  // of calibration's inputs; empty: not quantized
  double sum_bound = 0;  // max over channels of sum |w| * max |x|: integer sums stay below it
  std::string kernel;  // which convolution computes it: "int8", "float32", "float64", "float"; on a
                       // GPU "mma", "depthwise", "loops"
};

struct Preparation {
  std::vector<quant::ActivationRange> ranges;  // per layer; empty for float activations
  std::vector<LayerFacts> layers;
  // The whole model in one call, and each layer on its own: medians of `repeats` after one warm-up.
  // On the CPU wall time; on a GPU CUDA events, from weights to codes in its memory.
  double quantize_ms = 0;
  std::string
      quantize_device;  // "cpu", "cuda"; "cuda, cpu": some layers here, some there; "": none
  double calibrate_ms = 0;
  std::int64_t num_weights = 0;
  std::string engine;  // "float", "simulated", "integer"
  bool exact = false;
};

// 128 bits: the sum over images of XXH3-128(logits as little-endian float32, seed = image index),
// each 64-bit half mod 2^64. A sum, so that the digest of a set of images does not depend on how it
// was cut into tiles.
struct Digest {
  std::uint64_t low = 0, high = 0;
  Digest& operator+=(const Digest& other);
  bool operator==(const Digest&) const = default;
  std::string hex() const;
  static Digest from_hex(const std::string& text);  // throws std::invalid_argument
};

// One job on one chunk of images. Of equal logits the lower class wins.
struct TileCounts {
  std::int64_t num_images = 0;
  std::int64_t num_top1 = 0;
  std::int64_t num_top5 = 0;
  std::int64_t num_broken = 0;  // images that could not be decoded: counted as wrong, not evaluated
  bool has_digest = false;      // exact engines only
  Digest digest;
  double compute_ms = 0;  // evaluation alone, decoding not included
  // A letter an image: '1' right with the first guess, '5' within five, '0' wrong, 'x' broken.
  std::string outcomes;
  // The class of each image, -1 for a broken one or one whose logits are no numbers. Empty unless
  // Job::keep_predictions.
  std::vector<std::int32_t> predictions;
};

struct EvaluatorOptions {
  // Or "cuda": integer engines run on the current GPU; the others, too, where LibTorch's CUDA part
  // is installed.
  std::string device = "cpu";
  int num_threads = 0;  // 0: one per allowed core
  // Images an engine is given at a time; on a GPU, of one batch there. 0: chosen by the program;
  // does not change exact results.
  int batch_size = 0;
  // Bytes for prepared jobs kept between tiles; on a GPU, as many again for a tile's images.
  std::int64_t memory_budget = std::int64_t{2} << 30;
};

// Per worker. Keeps checkpoints, prepared jobs and the last chunk between calls. Not thread-safe.
class Evaluator {
 public:
  // Throws std::invalid_argument for a device that is not there.
  explicit Evaluator(const EvaluatorOptions& options);
  ~Evaluator();

  // Quantizes, `repeats` times for the clock, and calibrates. Throws std::invalid_argument for a
  // job that cannot run (unknown model, wrong checkpoint).
  Preparation prepare(const Job& job, int repeats = 3);

  // Loads images [first, first + count) of the data set, once for all jobs of the tile.
  // `ranges` as prepare() gave them; may come from another worker.
  struct TileJob {
    Job job;
    std::vector<quant::ActivationRange> ranges;
  };
  struct TileResult {
    TileCounts counts;
    std::string error;  // not empty: this job failed with this reason, the others went on
  };
  struct Tile {
    double load_ms = 0;
    std::vector<std::string> broken;  // path and reason of each broken image
    std::vector<TileResult> results;  // one per job, in order
  };
  // `progress` (may be empty) is called after each batch and each job, with the number of jobs
  // done.
  Tile run_tile(const DatasetSpec& dataset, std::int64_t first, std::int64_t count,
                const std::vector<TileJob>& jobs, const std::function<void(std::size_t)>& progress);

  std::string device_name() const;  // the GPU's name, or the CPU's model name

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace squant::eval
