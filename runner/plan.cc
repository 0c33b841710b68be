#include "runner/plan.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/manifest.h"
#include "eval/images/nvjpeg_library.h"
#include "eval/models/models.h"
#include "results/reference.h"
#include "runner/decoder_check.h"
#include "runner/expand.h"
#include "runner/filter.h"
#include "runner/identity.h"
#include "runner/labels.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;

// A tile should take seconds: long enough that its hand-out costs nothing, short enough that a lost
// one costs little.
constexpr std::int64_t kSmallImageChunk = 500;
constexpr std::int64_t kPhotographChunk = 250;

std::string absolute_path(const std::string& path) {
  return path.empty() ? path : fs::absolute(path).lexically_normal().string();
}

bool is_photographs(const eval::DatasetSpec& spec) { return spec.format == "image_folder"; }

class Planner {
 public:
  Planner(const Experiment& experiment, const PlanOptions& options)
      : experiment_(experiment), options_(options), problems_(experiment.problems) {}

  Plan run() {
    parse_filters();
    select(expand(experiment_, problems_));
    load_reference();
    for (const Selected& selected : selected_) add_job(selected);
    if (!problems_.empty()) {
      // In the order of the file; what has no line comes last.
      std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
        return a.origin.line > 0 && (b.origin.line == 0 || a.origin.line < b.origin.line);
      });
      throw ExperimentError(std::move(problems_));
    }
    return std::move(plan_);
  }

 private:
  struct Selected {
    Cell cell;
    Origin origin;
    std::string label;
  };
  struct OpenCheckpoint {
    std::string sha256;  // empty: missing or wrong, which is said already
    std::string note;    // which published file it is
  };
  struct OpenDataset {
    std::unique_ptr<eval::Dataset> dataset;  // nullptr: missing or wrong, which is said already
    int index = -1;                          // into Plan::datasets
    std::map<std::string, bool> fits;        // by model
  };

  // --- which cells

  void parse_filters() {
    const auto add = [&](const char* source, const std::vector<std::string>& expressions,
                         std::vector<Filter>& filters) {
      for (const std::string& expression : expressions) {
        try {
          filters.emplace_back(source, expression, experiment_);
        } catch (const ExperimentError& error) {
          problems_.insert(problems_.end(), error.problems().begin(), error.problems().end());
        }
      }
    };
    add("--only", options_.only, wanted_);
    add("--where", options_.where, wanted_);
    add("--exclude-where", options_.exclude_where, unwanted_);
  }

  std::string not_selected(const Cell& cell) const {
    for (const Filter& filter : wanted_) {
      if (!filter.matches(cell, experiment_)) return "not selected by " + filter.text();
    }
    for (const Filter& filter : unwanted_) {
      if (filter.matches(cell, experiment_)) return "excluded by " + filter.text();
    }
    return "";
  }

  void select(const std::vector<ExpandedCell>& cells) {
    const Labels labels(cells, experiment_);
    std::map<Cell, int> first_matrix;
    for (const ExpandedCell& expanded : cells) {
      const Cell& cell = expanded.cell;
      std::string reason = expanded.excluded.empty() ? not_selected(cell) : expanded.excluded;
      const std::string label = labels.of(cell);
      if (reason.empty()) {
        const auto [first, is_new] = first_matrix.emplace(cell, expanded.matrix);
        if (!is_new) {
          const ExperimentMatrix& first_with_it =
              experiment_.matrices[static_cast<std::size_t>(first->second)];
          reason = "duplicate: " + first_with_it.key + " has it already";
        }
      }
      if (reason.empty()) {
        selected_.push_back({cell, expanded.origin, label});
      } else {
        plan_.skipped.push_back({label, reason});
      }
    }
    if (selected_.empty() && problems_.empty()) {
      problems_.push_back({{experiment_.path, 0, ""}, nothing_left(cells.size())});
    }
  }

  std::string nothing_left(std::size_t num_cells) const {
    if (num_cells == 0) return "the matrix has no cells: there is nothing to run";
    return "no job is left: of " + std::to_string(num_cells) +
           " cells each is excluded or not selected, the last one (" + plan_.skipped.back().label +
           ") " + plan_.skipped.back().reason;
  }

  // --- what the cells need

  void problem(const Origin& origin, std::string what) {
    problems_.push_back({origin, std::move(what)});
  }

  void missing(const Origin& origin, std::string what) {
    std::vector<Problem>& list = options_.allow_missing ? plan_.missing : problems_;
    list.push_back({origin, std::move(what)});
  }

  // Is the path there? Says what is wrong if not.
  bool present(const PathValue& value) {
    if (!value.problem.empty()) {
      missing(value.origin, value.problem);
      return false;
    }
    std::error_code error;
    if (!value.path.empty() && fs::exists(value.path, error)) return true;
    if (!value.path.empty()) {
      missing(value.origin,
              value.path + ": " + (error ? error.message() : "no such file or folder"));
    }
    return false;
  }

  void load_reference() {
    if (!experiment_.reference || !present(*experiment_.reference)) return;
    try {
      reference_ = results::Reference::load(experiment_.reference->path);
    } catch (const std::invalid_argument& error) {
      problem(experiment_.reference->origin, error.what());
      return;
    }
    if (experiment_.tolerance) reference_->set_tolerance(*experiment_.tolerance);
  }

  const OpenCheckpoint& checkpoint(const Selected& selected) {
    const std::string& model = selected.cell.model;
    const auto [entry, is_new] = checkpoints_.try_emplace(model);
    if (!is_new) return entry->second;
    const auto found = experiment_.checkpoints.find(model);
    if (found == experiment_.checkpoints.end()) {
      problem(selected.origin,
              "no checkpoint is given for it: add \"" + model + "\" to 'checkpoints'");
    } else if (present(found->second)) {
      // Read as a whole: a truncated file, or another network's, is found before any work is done.
      try {
        const eval::Checkpoint loaded = eval::load_checkpoint(found->second.path);
        eval::check_state_dict(eval::model_info(model).build(), loaded.tensors, found->second.path);
        entry->second = {loaded.sha256, eval::describe_origin(loaded, model)};
      } catch (const std::invalid_argument& error) {
        problem(found->second.origin, error.what());
      }
    }
    return entry->second;
  }

  OpenDataset& dataset(int index) {
    const auto [entry, is_new] = datasets_.try_emplace(index);
    OpenDataset& open = entry->second;
    if (!is_new) return open;
    const ExperimentDataset& wanted = experiment_.datasets[static_cast<std::size_t>(index)];
    const bool images_are_named = wanted.spec.format == kFashionMnist;
    bool whole = images_are_named || present(wanted.images);
    if (!wanted.labels.origin.key.empty()) whole = present(wanted.labels) && whole;
    if (!wanted.cache.problem.empty()) {
      missing(wanted.cache.origin, wanted.cache.problem);
      whole = false;
    }
    if (!whole) return open;
    PlannedDataset planned;
    planned.name = wanted.name;
    planned.spec = wanted.spec;
    if (!images_are_named) planned.spec.images = absolute_path(planned.spec.images);
    planned.spec.labels = absolute_path(planned.spec.labels);
    if (planned.spec.cache != kNoCache) planned.spec.cache = absolute_path(planned.spec.cache);
    try {
      if (planned.spec.decoder == eval::kNvjpeg)
        planned.spec.decoder_version = eval::nvjpeg().version;
      eval::DatasetSpec without_cache = planned.spec;  // a plan leaves nothing on the disk
      without_cache.cache = kNoCache;
      open.dataset = eval::open_dataset(without_cache);
      planned.fingerprint = open.dataset->fingerprint();
    } catch (const eval::NvjpegUnavailable& error) {
      missing(wanted.origin, error.what());
      return open;
    } catch (const std::invalid_argument& error) {
      problem(wanted.origin, error.what());
      open.dataset.reset();
      return open;
    }
    if (const std::string decoder = other_decoder(planned.spec); !decoder.empty())
      planned.name += " (" + decoder + ")";
    planned.size = open.dataset->size();
    planned.num_images = num_images(wanted, planned.size);
    planned.chunk = wanted.chunk > 0              ? wanted.chunk
                    : is_photographs(wanted.spec) ? kPhotographChunk
                                                  : kSmallImageChunk;
    planned.labels = open.dataset->labels(planned.num_images);
    planned.class_names = open.dataset->class_names();
    open.index = static_cast<int>(plan_.datasets.size());
    plan_.datasets.push_back(std::move(planned));
    return open;
  }

  std::int64_t num_images(const ExperimentDataset& wanted, std::int64_t size) {
    const bool from_options = options_.num_images > 0;
    const std::int64_t count = from_options ? options_.num_images : wanted.num_images;
    if (count <= size) return count > 0 ? count : size;
    const Origin origin =
        from_options ? Origin{"--images " + std::to_string(count), 0, ""} : wanted.origin;
    problem(origin, std::to_string(count) + " images are asked for, the data set '" + wanted.name +
                        "' has " + std::to_string(size));
    return size;
  }

  bool fits(OpenDataset& open, const Selected& selected) {
    const auto [entry, is_new] = open.fits.try_emplace(selected.cell.model, true);
    if (!is_new) return entry->second;
    const std::string& name =
        experiment_.datasets[static_cast<std::size_t>(selected.cell.dataset)].name;
    const eval::ModelInfo& model = eval::model_info(selected.cell.model);
    const std::string whom = model.name + " does not fit the data set '" + name + "': ";
    try {
      open.dataset->load(0, 0, model.input, 1);  // no image: can it give this shape?
      if (model.num_classes >= open.dataset->num_classes()) return true;
      problem(selected.origin, whom + "it tells " + std::to_string(model.num_classes) +
                                   " classes apart, the data set has " +
                                   std::to_string(open.dataset->num_classes()));
    } catch (const std::invalid_argument& error) {
      problem(selected.origin, whom + error.what());
    }
    return entry->second = false;
  }

  // --- jobs

  static std::string engine_class(const Cell& cell) {
    if (cell.bits.activation == 0) return "float";
    return cell.engine == eval::EngineChoice::kSimulated ? "simulated" : "integer";
  }

  void add_job(const Selected& selected) {
    const Cell& cell = selected.cell;
    const OpenCheckpoint& weights = checkpoint(selected);
    OpenDataset* images = cell.measure == Measure::kEvaluate ? &dataset(cell.dataset) : nullptr;
    bool known = !weights.sha256.empty();
    if (images != nullptr) known = images->dataset != nullptr && fits(*images, selected) && known;

    PlannedJob planned;
    planned.label = selected.label;
    planned.evaluate = images != nullptr;
    planned.repeats = cell.repeats;
    planned.dataset = images == nullptr ? -1 : images->index;
    planned.job = make_job(cell, weights.sha256);
    planned.row.checkpoint_note = weights.note;
    fill_row(cell, planned);
    if (known && !identify(cell, planned)) return;
    if (reference_ && planned.evaluate)
      planned.reference = reference_->find(planned.row.model, planned.row.bits, planned.row.mode);
    plan_.jobs.push_back(std::move(planned));
  }

  eval::Job make_job(const Cell& cell, const std::string& sha256) const {
    eval::Job job;
    job.model = cell.model;
    if (const auto found = experiment_.checkpoints.find(cell.model);
        found != experiment_.checkpoints.end()) {
      job.checkpoint = absolute_path(found->second.path);
    }
    job.checkpoint_sha256 = sha256;
    job.weight_bits = cell.bits.weight;
    job.activation_bits = cell.bits.activation;
    job.mode = cell.mode;
    job.rounding = cell.rounding;
    job.sigma = cell.sigma;
    job.calibration_images = cell.calibration_images;
    job.engine = cell.engine;
    job.keep_predictions = cell.measure == Measure::kEvaluate &&
                           (experiment_.keep_predictions || options_.keep_predictions);
    return job;
  }

  void fill_row(const Cell& cell, PlannedJob& planned) const {
    results::JobRow& row = planned.row;
    const eval::Job& job = planned.job;
    row.model = job.model;
    row.bits = cell.bits.text();
    row.weight_bits = job.weight_bits;
    row.activation_bits = job.activation_bits;
    row.mode = job.weight_bits == 0 ? "float" : quant::mode_name(job.mode);
    row.rounding = quant::rounding_name(job.rounding);
    row.sigma = job.sigma;
    row.calibration_images = job.calibration_images;
    row.engine = engine_class(cell);
    row.checkpoint_path = job.checkpoint;
    row.checkpoint_sha256 = job.checkpoint_sha256;
    row.numerics_version = eval::kNumericsVersion;
    if (planned.dataset < 0) return;
    const PlannedDataset& dataset = plan_.datasets[static_cast<std::size_t>(planned.dataset)];
    row.dataset_name = dataset.name;
    row.dataset_fingerprint = dataset.fingerprint;
    row.dataset_size = dataset.size;
    row.num_images = dataset.num_images;
    row.chunk = dataset.chunk;
  }

  // False: another job has this identity, as when two data sets of the experiment are one.
  bool identify(const Cell& cell, PlannedJob& planned) {
    const eval::ModelInfo& model = eval::model_info(cell.model);
    IdentityInput input;
    input.model = cell.model;
    input.checkpoint_sha256 = planned.row.checkpoint_sha256;
    input.weight_bits = cell.bits.weight;
    input.activation_bits = cell.bits.activation;
    input.mode = cell.mode;
    input.rounding = cell.rounding;
    input.sigma = cell.sigma;
    input.calibration_images = cell.calibration_images;
    input.engine = planned.row.engine;
    input.numerics_version = eval::kNumericsVersion;
    input.evaluate = planned.evaluate;
    input.dataset_fingerprint = planned.row.dataset_fingerprint;
    input.input = model.input;
    if (planned.evaluate) {
      const PlannedDataset& dataset = plan_.datasets[static_cast<std::size_t>(planned.dataset)];
      input.crop = is_photographs(dataset.spec) ? "0.875" : "none";
      input.decoder = other_decoder(dataset.spec);
    }
    input.mean = model.mean;
    input.stddev = model.stddev;
    input.num_images = planned.row.num_images;
    input.repeats = cell.repeats;
    Identity identity = make_identity(input);
    const auto [first, is_new] = identities_.emplace(identity.identity, planned.label);
    if (!is_new) {
      plan_.skipped.push_back({planned.label, "duplicate of " + first->second});
      return false;
    }
    planned.row.identity = std::move(identity.identity);
    planned.row.evaluation = std::move(identity.evaluation);
    planned.row.config_json = std::move(identity.config_json);
    return true;
  }

  const Experiment& experiment_;
  const PlanOptions& options_;
  std::vector<Problem> problems_;
  std::vector<Filter> wanted_, unwanted_;
  std::vector<Selected> selected_;
  std::optional<results::Reference> reference_;
  std::map<std::string, OpenCheckpoint> checkpoints_;  // by model
  std::map<int, OpenDataset> datasets_;                // by index into Experiment::datasets
  std::map<std::string, std::string> identities_;      // and the label of the job that has it
  Plan plan_;
};

}  // namespace

Plan make_plan(const Experiment& experiment, const PlanOptions& options) {
  return Planner(experiment, options).run();
}

}  // namespace squant::runner
