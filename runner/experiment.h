// Experiment files: what to run, as the user wrote it. The format: docs/experiments.md.
//
// Reading happens in two steps, so that every problem is reported in one go: load_experiment()
// reads the file and keeps what is wrong with it in Experiment::problems; make_plan()
// (runner/plan.h) looks at checkpoints and data sets and then throws one ExperimentError with all
// problems of both steps.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluator.h"
#include "eval/images/dataset.h"
#include "quant/squant.h"

namespace squant::runner {

// Where something was said.
struct Origin {
  std::string
      source;  // the experiment file's path, "--set matrix.bits=w4", "--where bits=w9", "--images"
  int line = 0;     // in the file, from 1; 0: not in a file
  std::string key;  // dotted: "matrices[0].bits[2]"; may be empty
};

// One thing that is wrong.
struct Problem {
  Origin origin;
  std::string what;
  std::string text() const;  // "experiments/a.json:12: matrix.bits[2]: what", "--set x=1: x: what"
};

// Wrong use or bad input: exit code 2. what() is every problem's text(), a line each.
class ExperimentError : public std::invalid_argument {
 public:
  explicit ExperimentError(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

// "float", "w4" (weights only), "w4a4".
struct Bits {
  int weight = 0;      // 0: float network
  int activation = 0;  // 0: float activations
  auto operator<=>(const Bits&) const = default;
  std::string text() const;
};
// Throws std::invalid_argument that says the grammar.
Bits parse_bits(const std::string& text);

// "auto", "simulated".
const char* engine_choice_name(eval::EngineChoice engine);
eval::EngineChoice parse_engine_choice(
    const std::string& name);  // throws std::invalid_argument, lists the names

enum class Measure : std::uint8_t {
  kEvaluate,      // quantize and evaluate on images
  kQuantizeTime,  // quantize only: no images are read; the median of `repeats` runs after a warm-up
};
const char* measure_name(Measure measure);  // "evaluate", "quantize_time"

// A path with ${ENV} replaced and made relative to the experiment file. An unset variable is a
// problem only where the path is needed.
struct PathValue {
  std::string path;
  std::string problem;  // not empty: cannot be used, for this reason
  Origin origin;
};

// How many standard deviations the activation range spans: one for all widths, or one per width of
// the activations.
struct Sigma {
  std::optional<double> fixed;
  std::map<int, double> per_bits;
  // Of `activation_bits`; none: not given for this width.
  std::optional<double> of(int activation_bits) const;
  bool operator==(const Sigma&) const = default;
};

// Words of a data set that stand where paths do; they mean the same to eval::open_dataset().
inline constexpr const char* kFashionMnist =
    "fashion-mnist";                             // a format: `images` is "test" or "train"
inline constexpr const char* kNoCache = "none";  // `cache`

struct ExperimentDataset {
  std::string name;
  eval::DatasetSpec spec;           // paths as in the PathValues below
  PathValue images, labels, cache;  // labels, cache: path may be empty
  std::int64_t num_images = 0;      // the first ones; 0: all
  std::int64_t chunk = 0;           // images per tile; 0: chosen by the program
  Origin origin;
};

// One choice of an axis. Only the member of the axis it stands in means something.
struct AxisValue {
  std::string text;  // as shown and as filters see it
  Bits bits;
  quant::Mode mode = quant::Mode::kEKC;
  quant::Rounding rounding = quant::Rounding::kCurrent;
  Sigma sigma;
  std::int64_t calibration_images = 0;
  eval::EngineChoice engine = eval::EngineChoice::kAuto;
  int dataset = 0;  // index into Experiment::datasets
  Origin origin;
};

// What a matrix may vary. The order is that of expansion: the first varies slowest.
enum class Axis : std::uint8_t {
  kDataset,
  kModel,
  kBits,
  kMode,
  kRounding,
  kSigma,
  kCalibrationImages,
  kEngine
};
inline constexpr int kNumAxes = 8;
const char* axis_name(Axis axis);  // the key in the file: "dataset", "model", ...

using AxisValues = std::map<Axis, std::vector<AxisValue>>;

struct ExperimentMatrix {
  std::string key;  // "matrix", "matrices[1]"
  Measure measure = Measure::kEvaluate;
  int repeats = 11;
  // Crossed; with those of `zips` complete: settings and defaults are filled in.
  AxisValues axes;
  // Each: lists of one length, walked together, crossed with the rest.
  std::vector<AxisValues> zips;
  // A cell goes when all keys of an entry match.
  std::vector<AxisValues> exclude;
  // Small matrices of their own, complete, added after the exclusion.
  std::vector<AxisValues> include;
  Origin origin;
};

struct Experiment {
  std::string path;  // as given
  std::string name;
  std::string description;
  std::vector<ExperimentDataset> datasets;
  std::map<std::string, PathValue> checkpoints;  // by model
  std::optional<PathValue> reference;
  std::optional<double> tolerance;  // percentage points; replaces the reference file's
  bool keep_predictions = false;    // of each image, for tests that pair images
  std::vector<ExperimentMatrix> matrices;
  std::string canonical_json;     // the effective file (overrides applied), keys sorted, one line
  std::vector<Problem> problems;  // not empty: the rest is incomplete, make_plan() will throw
};

// `overrides`: KEY=VALUE with a dotted key ("matrix.bits", "matrices[0].mode", "settings.sigma.4");
// VALUE is JSON, or else taken as a string. Throws ExperimentError where nothing more can be said:
// the file cannot be read or is not JSON.
Experiment load_experiment(const std::string& path, const std::vector<std::string>& overrides = {});
// The same from memory; `path` names the text in messages and is the base of relative paths.
// Touches no file.
Experiment parse_experiment(std::string_view text, const std::string& path,
                            const std::vector<std::string>& overrides = {});

// The keys the format knows, for tests, documentation and editors.
struct ExperimentKey {
  const char* section;  // "experiment", "dataset", "settings", "matrix", "cell": an entry of zip,
                        // exclude or include
  const char* key;
};
const std::vector<ExperimentKey>& experiment_keys();

}  // namespace squant::runner
