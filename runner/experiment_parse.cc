// The sections of an experiment file, read into the structs of experiment.h. Every key that is known stands in
// experiment_keys(); a value that is wrong becomes a problem and is left out.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include "eval/models/models.h"
#include "runner/experiment.h"
#include "runner/experiment_json.h"
#include "runner/wording.h"

namespace squant::runner {
namespace {

constexpr std::int64_t kMaxFileBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaxImages = 1'000'000'000;
constexpr std::int64_t kMaxCalibrationImages = 65'536;
constexpr std::int64_t kMaxRepeats = 100'000;
constexpr std::int64_t kDefaultCalibrationImages = 256;  // as published
constexpr std::int64_t kDefaultRepeats = 11;
constexpr double kMaxSigma = 1000;

// The published spans of the activation ranges, the same for all models.
const std::map<int, double> kPublishedSigma = {{4, 12.0}, {6, 14.0}, {8, 25.0}};

const std::vector<std::string> kFormats = {"idx", "fashion-mnist", "image_folder"};

constexpr const char* kNoCache = "none";  // means the same to open_dataset()

constexpr Axis kAxes[kNumAxes] = {Axis::kDataset,  Axis::kModel, Axis::kBits,              Axis::kMode,
                                  Axis::kRounding, Axis::kSigma, Axis::kCalibrationImages, Axis::kEngine};

bool is_setting(Axis axis) { return axis >= Axis::kMode; }

std::vector<std::string> known_models() {
  std::vector<std::string> names;
  for (const eval::ModelInfo& model : eval::all_models()) names.push_back(model.name);
  return names;
}

class Parser {
 public:
  explicit Parser(Experiment& experiment) : experiment_(experiment), problems_(experiment.problems) {}

  void parse(const JsonNode& root) {
    if (!is_object(root, "", "experiment")) return;
    experiment_.name = std::filesystem::path(experiment_.path).stem().string();
    read(root, "", "$schema", [&](const JsonNode& node, const std::string& key) { text(node, key); });
    read(root, "", "name", [&](const JsonNode& node, const std::string& key) {
      experiment_.name = text(node, key).value_or("");
    });
    read(root, "", "description", [&](const JsonNode& node, const std::string& key) {
      experiment_.description = text(node, key).value_or("");
    });
    read(root, "", "reference", [&](const JsonNode& node, const std::string& key) { experiment_.reference = path(node, key); });
    read(root, "", "tolerance", [&](const JsonNode& node, const std::string& key) {
      experiment_.tolerance = number(node, key, 0, 100);
    });
    parse_measure(root, "", default_measure_, default_repeats_);
    parse_datasets(root);
    read(root, "", "checkpoints", [&](const JsonNode& node, const std::string& key) { parse_checkpoints(node, key); });
    parse_settings(root);
    parse_matrices(root);
  }

 private:
  using Reader = std::function<void(const JsonNode&, const std::string&)>;

  Origin origin(const JsonNode& node, const std::string& key) const {
    return {node.override_text.empty() ? experiment_.path : node.override_text, node.line, key};
  }
  void problem(const JsonNode& node, const std::string& key, std::string what) {
    problems_.push_back({origin(node, key), std::move(what)});
  }
  static std::string child(const std::string& key, const std::string& name) { return key.empty() ? name : key + "." + name; }
  static std::string element(const std::string& key, std::size_t i) { return key + "[" + std::to_string(i) + "]"; }

  // Calls `reader` with the member, if it is there.
  static void read(const JsonNode& object, const std::string& key, const char* name, const Reader& reader) {
    if (const JsonNode* node = object.find(name); node != nullptr) reader(*node, child(key, name));
  }

  // --- values

  std::optional<std::string> text(const JsonNode& node, const std::string& key) {
    if (node.kind == JsonNode::Kind::kString && !node.text.empty()) return node.text;
    problem(node, key, node.kind == JsonNode::Kind::kString ? "must not be empty" : "must be a string, is " + describe(node));
    return std::nullopt;
  }

  std::optional<std::int64_t> integer(const JsonNode& node, const std::string& key, std::int64_t low, std::int64_t high) {
    if (node.kind == JsonNode::Kind::kInteger && node.integer >= low && node.integer <= high) return node.integer;
    problem(node, key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high) + ", is " + describe(node));
    return std::nullopt;
  }

  std::optional<double> number(const JsonNode& node, const std::string& key, double low, double high) {
    if (node.is_number() && node.number >= low && node.number <= high) return node.number;
    problem(node, key, "must be a number from " + number_text(low) + " to " + number_text(high) + ", is " + describe(node));
    return std::nullopt;
  }

  std::optional<double> sigma_number(const JsonNode& node, const std::string& key) {
    if (node.is_number() && node.number > 0 && node.number <= kMaxSigma) return node.number;
    problem(node, key, "must be a number above 0, at most " + number_text(kMaxSigma) + ", is " + describe(node));
    return std::nullopt;
  }

  PathValue path(const JsonNode& node, const std::string& key) {
    PathValue value;
    value.origin = origin(node, key);
    const std::optional<std::string> written = text(node, key);
    if (!written) return value;
    std::string replaced;
    std::size_t at = 0;
    while (at < written->size()) {
      const std::size_t start = written->find("${", at);
      replaced += written->substr(at, start - at);
      if (start == std::string::npos) break;
      const std::size_t end = written->find('}', start);
      if (end == std::string::npos || end == start + 2) {
        problem(node, key, "'${' wants a variable's name and '}', in " + in_quotes(*written));
        return value;
      }
      const std::string variable = written->substr(start + 2, end - start - 2);
      const char* found = std::getenv(variable.c_str());
      if (found == nullptr || *found == '\0') {
        value.problem = "environment variable " + printable(variable, 60) + " is not set, needed in " + in_quotes(*written);
        return value;
      }
      replaced += found;
      at = end + 1;
    }
    // An absolute path replaces the folder.
    value.path = (std::filesystem::path(experiment_.path).parent_path() / replaced).lexically_normal().string();
    return value;
  }

  // Is it an object, with keys of this section alone?
  bool is_object(const JsonNode& node, const std::string& key, const char* section) {
    if (node.kind != JsonNode::Kind::kObject) {
      problem(node, key, "must be an object, is " + describe(node));
      return false;
    }
    std::vector<std::string> known;
    for (const ExperimentKey& entry : experiment_keys()) {
      if (std::string_view(entry.section) == section) known.emplace_back(entry.key);
    }
    for (const auto& [name, value] : node.members) {
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        problem(value, child(key, name), "unknown key" + suggestion(name, known));
      }
    }
    return true;
  }

  // One of a list, or the thing itself.
  static std::vector<std::pair<const JsonNode*, std::string>> elements(const JsonNode& node, const std::string& key) {
    std::vector<std::pair<const JsonNode*, std::string>> list;
    if (node.kind != JsonNode::Kind::kArray) return {{&node, key}};
    for (std::size_t i = 0; i < node.items.size(); ++i) list.emplace_back(&node.items[i], element(key, i));
    return list;
  }

  // --- sections

  void parse_measure(const JsonNode& object, const std::string& key, Measure& measure, int& repeats) {
    read(object, key, "measure", [&](const JsonNode& node, const std::string& at) {
      const std::optional<std::string> name = text(node, at);
      if (!name) return;
      for (const Measure choice : {Measure::kEvaluate, Measure::kQuantizeTime}) {
        if (*name == measure_name(choice)) {
          measure = choice;
          return;
        }
      }
      problem(node, at, "unknown measure " + in_quotes(*name) + suggestion(*name, {"evaluate", "quantize_time"}));
    });
    read(object, key, "repeats", [&](const JsonNode& node, const std::string& at) {
      repeats = static_cast<int>(integer(node, at, 1, kMaxRepeats).value_or(repeats));
    });
  }

  void parse_datasets(const JsonNode& root) {
    const JsonNode* one = root.find("dataset");
    const JsonNode* many = root.find("datasets");
    if (one != nullptr && many != nullptr) problem(*many, "datasets", "'dataset' is given too: only one of the two");
    if (one != nullptr) {
      parse_dataset(*one, "dataset", "");
    } else if (many != nullptr) {
      if (many->kind != JsonNode::Kind::kObject) {
        problem(*many, "datasets", "must be an object (a name and a data set each), is " + describe(*many));
        return;
      }
      for (const auto& [name, node] : many->members) parse_dataset(node, child("datasets", name), name);
    }
  }

  void parse_dataset(const JsonNode& node, const std::string& key, const std::string& name) {
    if (!is_object(node, key, "dataset")) return;
    ExperimentDataset dataset;
    dataset.origin = origin(node, key);
    dataset.name = name;
    const JsonNode* format = node.find("format");
    if (format == nullptr) problem(node, key, "'format' is missing" + suggestion("", kFormats));
    read(node, key, "format", [&](const JsonNode& value, const std::string& at) {
      dataset.spec.format = text(value, at).value_or("");
      if (!dataset.spec.format.empty() && std::find(kFormats.begin(), kFormats.end(), dataset.spec.format) == kFormats.end()) {
        problem(value, at, "unknown format " + in_quotes(dataset.spec.format) + suggestion(dataset.spec.format, kFormats));
      }
    });
    // Of Fashion-MNIST's two parts one is named; all else are paths.
    const bool images_are_named = dataset.spec.format == "fashion-mnist";
    if (node.find("images") == nullptr) problem(node, key, "'images' is missing");
    read(node, key, "images", [&](const JsonNode& value, const std::string& at) {
      if (images_are_named) {
        dataset.images.origin = origin(value, at);
        dataset.images.path = text(value, at).value_or("");
      } else {
        dataset.images = path(value, at);
      }
    });
    read(node, key, "labels", [&](const JsonNode& value, const std::string& at) { dataset.labels = path(value, at); });
    read(node, key, "cache", [&](const JsonNode& value, const std::string& at) {
      if (value.text == kNoCache) {
        dataset.cache = {kNoCache, "", origin(value, at)};
      } else {
        dataset.cache = path(value, at);
      }
    });
    read(node, key, "num_images", [&](const JsonNode& value, const std::string& at) {
      dataset.num_images = integer(value, at, 1, kMaxImages).value_or(0);
    });
    read(node, key, "chunk", [&](const JsonNode& value, const std::string& at) {
      dataset.chunk = integer(value, at, 1, kMaxImages).value_or(0);
    });
    read(node, key, "name", [&](const JsonNode& value, const std::string& at) {
      if (name.empty()) {
        dataset.name = text(value, at).value_or("");
      } else {
        problem(value, at, "the data set has a name already: " + in_quotes(name));
      }
    });
    if (dataset.name.empty()) dataset.name = dataset.spec.format;
    dataset.spec.images = dataset.images.path;
    dataset.spec.labels = dataset.labels.path;
    dataset.spec.cache = dataset.cache.path;
    experiment_.datasets.push_back(std::move(dataset));
  }

  void parse_checkpoints(const JsonNode& node, const std::string& key) {
    if (node.kind != JsonNode::Kind::kObject) {
      problem(node, key, "must be an object (a model and a path each), is " + describe(node));
      return;
    }
    for (const auto& [model, value] : node.members) {
      if (is_model(model)) {
        experiment_.checkpoints[model] = path(value, child(key, model));
      } else {
        problem(value, child(key, model), "unknown model" + suggestion(model, models_));
      }
    }
  }

  void parse_settings(const JsonNode& root) {
    default_sigma_.per_bits = kPublishedSigma;
    read(root, "", "settings", [&](const JsonNode& node, const std::string& key) {
      if (!is_object(node, key, "settings")) return;
      read(node, key, axis_name(Axis::kSigma), [&](const JsonNode& value, const std::string& at) {
        if (const std::optional<Sigma> sigma = parse_sigma(value, at)) default_sigma_ = *sigma;
      });
      for (const Axis axis : kAxes) {
        if (!is_setting(axis) || axis == Axis::kSigma) continue;
        read(node, key, axis_name(axis), [&](const JsonNode& value, const std::string& at) {
          if (const std::optional<AxisValue> parsed = parse_value(axis, value, at)) settings_[axis] = {*parsed};
        });
      }
    });
  }

  // Widths that are not named keep the value of the level above.
  std::optional<Sigma> parse_sigma(const JsonNode& node, const std::string& key) {
    if (node.kind != JsonNode::Kind::kObject) {
      if (!node.is_number()) {
        problem(node, key, "must be a number, or an object with one per width (\"4\": 12), is " + describe(node));
        return std::nullopt;
      }
      const std::optional<double> fixed = sigma_number(node, key);
      if (!fixed) return std::nullopt;
      return Sigma{*fixed, {}};
    }
    Sigma sigma = default_sigma_;
    for (const auto& [name, value] : node.members) {
      const std::string at = child(key, name);
      const int width = name.size() == 1 ? name[0] - '0' : 0;
      if (width < quant::kMinBits || width > quant::kMaxBits) {
        problem(value, at, "unknown width of activations; known: 2 to 8");
      } else if (const std::optional<double> parsed = sigma_number(value, at)) {
        if (sigma.fixed) sigma = Sigma{};
        sigma.per_bits[width] = *parsed;
      }
    }
    return sigma;
  }

  // --- axes

  bool is_model(const std::string& name) const { return std::find(models_.begin(), models_.end(), name) != models_.end(); }

  std::optional<AxisValue> parse_value(Axis axis, const JsonNode& node, const std::string& key) {
    AxisValue value;
    value.origin = origin(node, key);
    if (axis == Axis::kSigma) {
      const std::optional<Sigma> sigma = parse_sigma(node, key);
      if (!sigma) return std::nullopt;
      value.sigma = *sigma;
      return value;
    }
    if (axis == Axis::kCalibrationImages) {
      const std::optional<std::int64_t> count = integer(node, key, 1, kMaxCalibrationImages);
      if (!count) return std::nullopt;
      value.calibration_images = *count;
      return value;
    }
    const std::optional<std::string> name = text(node, key);
    if (!name) return std::nullopt;
    value.text = *name;
    if (axis == Axis::kModel) {
      if (is_model(*name)) return value;
      problem(node, key, "unknown model " + in_quotes(*name) + suggestion(*name, models_));
      return std::nullopt;
    }
    if (axis == Axis::kDataset) return dataset_value(std::move(value), node, key);
    try {
      if (axis == Axis::kBits) value.bits = parse_bits(*name);
      if (axis == Axis::kEngine) value.engine = parse_engine_choice(*name);
    } catch (const std::invalid_argument& error) {
      problem(node, key, error.what());
      return std::nullopt;
    }
    if (axis == Axis::kMode && !parse_named(*name, kModes, quant::mode_name, value.mode, node, key)) return std::nullopt;
    if (axis == Axis::kRounding && !parse_named(*name, kRoundings, quant::rounding_name, value.rounding, node, key)) return std::nullopt;
    return value;
  }

  static constexpr quant::Mode kModes[] = {quant::Mode::kE, quant::Mode::kEK, quant::Mode::kEC, quant::Mode::kEKC};
  static constexpr quant::Rounding kRoundings[] = {quant::Rounding::kCurrent, quant::Rounding::kPaper};

  template <typename Enum, std::size_t N>
  bool parse_named(const std::string& name, const Enum (&choices)[N], const char* (*name_of)(Enum), Enum& value,
                   const JsonNode& node, const std::string& key) {
    std::vector<std::string> known;
    for (const Enum choice : choices) {
      known.emplace_back(name_of(choice));
      if (name == known.back()) {
        value = choice;
        return true;
      }
    }
    problem(node, key, "unknown name " + in_quotes(name) + suggestion(name, known));
    return false;
  }

  std::optional<AxisValue> dataset_value(AxisValue value, const JsonNode& node, const std::string& key) {
    std::vector<std::string> known;
    for (std::size_t i = 0; i < experiment_.datasets.size(); ++i) {
      known.push_back(experiment_.datasets[i].name);
      if (value.text == known.back()) {
        value.dataset = static_cast<int>(i);
        return value;
      }
    }
    problem(node, key, "unknown data set " + in_quotes(value.text) + suggestion(value.text, known));
    return std::nullopt;
  }

  std::vector<AxisValue> parse_axis(Axis axis, const JsonNode& node, const std::string& key) {
    std::vector<AxisValue> values;
    if (node.kind == JsonNode::Kind::kArray && node.items.empty()) problem(node, key, "is empty: nothing would run");
    for (const auto& [item, at] : elements(node, key)) {
      if (std::optional<AxisValue> value = parse_value(axis, *item, at)) values.push_back(std::move(*value));
    }
    return values;
  }

  AxisValues parse_axes(const JsonNode& object, const std::string& key) {
    AxisValues axes;
    for (const Axis axis : kAxes) {
      read(object, key, axis_name(axis), [&](const JsonNode& node, const std::string& at) { axes[axis] = parse_axis(axis, node, at); });
    }
    return axes;
  }

  // --- matrices

  void parse_matrices(const JsonNode& root) {
    const JsonNode* one = root.find("matrix");
    const JsonNode* many = root.find("matrices");
    if (one == nullptr && many == nullptr) problem(root, "", "'matrix' is missing: what is to be run?");
    if (one != nullptr && many != nullptr) problem(*many, "matrices", "'matrix' is given too: only one of the two");
    if (one != nullptr) {
      parse_matrix(*one, "matrix");
    } else if (many != nullptr) {
      if (many->kind != JsonNode::Kind::kArray || many->items.empty()) {
        problem(*many, "matrices", many->kind == JsonNode::Kind::kArray ? "is empty: nothing would run"
                                                                        : "must be a list of matrices, is " + describe(*many));
        return;
      }
      for (const auto& [node, key] : elements(*many, "matrices")) parse_matrix(*node, key);
    }
  }

  void parse_matrix(const JsonNode& node, const std::string& key) {
    if (!is_object(node, key, "matrix")) return;
    ExperimentMatrix matrix;
    matrix.key = key;
    matrix.origin = origin(node, key);
    matrix.measure = default_measure_;
    matrix.repeats = default_repeats_;
    read(node, key, "description", [&](const JsonNode& value, const std::string& at) { text(value, at); });
    parse_measure(node, key, matrix.measure, matrix.repeats);
    matrix.axes = parse_axes(node, key);
    bool usable = true;
    read(node, key, "zip", [&](const JsonNode& value, const std::string& at) { usable = parse_zips(value, at, matrix); });
    read(node, key, "exclude", [&](const JsonNode& value, const std::string& at) {
      for (const auto& [entry, entry_key] : elements(value, at)) {
        if (!is_object(*entry, entry_key, "cell")) continue;
        if (entry->members.empty()) problem(*entry, entry_key, "is empty: it would exclude everything");
        matrix.exclude.push_back(parse_axes(*entry, entry_key));
      }
    });
    std::vector<std::pair<const JsonNode*, std::string>> includes;
    read(node, key, "include", [&](const JsonNode& value, const std::string& at) { includes = elements(value, at); });

    AxisValues shared = single_values(matrix.axes);
    const bool only_includes = !includes.empty() && matrix.zips.empty() && node.find("model") == nullptr && node.find("bits") == nullptr;
    if (only_includes) {
      matrix.axes.clear();
    } else {
      usable = complete(matrix.axes, matrix.zips, matrix.measure, node, key) && usable;
    }
    for (const auto& [entry, entry_key] : includes) {
      if (!is_object(*entry, entry_key, "cell")) continue;
      AxisValues axes = parse_axes(*entry, entry_key);
      axes.insert(shared.begin(), shared.end());
      if (complete(axes, {}, matrix.measure, *entry, entry_key)) matrix.include.push_back(std::move(axes));
    }
    if (!usable) matrix.axes.clear();
    if (!usable) matrix.zips.clear();
    experiment_.matrices.push_back(std::move(matrix));
  }

  bool parse_zips(const JsonNode& node, const std::string& key, ExperimentMatrix& matrix) {
    const std::size_t before = problems_.size();
    for (const auto& [entry, entry_key] : elements(node, key)) {
      if (!is_object(*entry, entry_key, "cell")) continue;
      std::size_t length = 0;
      std::string first;
      for (const auto& [name, list] : entry->members) {
        if (list.kind != JsonNode::Kind::kArray) {
          problem(list, child(entry_key, name), "must be a list, is " + describe(list));
        } else if (first.empty()) {
          first = name;
          length = list.items.size();
        } else if (list.items.size() != length) {
          problem(list, child(entry_key, name), "has " + std::to_string(list.items.size()) + " elements, '" + first + "' has " +
                                                    std::to_string(length) + ": lists in one zip must be of one length");
        }
      }
      AxisValues axes = parse_axes(*entry, entry_key);
      for (const auto& [axis, values] : axes) {
        bool twice = matrix.axes.contains(axis);
        for (const AxisValues& zip : matrix.zips) twice = twice || zip.contains(axis);
        if (twice) problem(*entry, child(entry_key, axis_name(axis)), "is given outside of this zip too");
      }
      matrix.zips.push_back(std::move(axes));
    }
    return problems_.size() == before;
  }

  static AxisValues single_values(const AxisValues& axes) {
    AxisValues single;
    for (const auto& [axis, values] : axes) {
      if (values.size() == 1) single[axis] = values;
    }
    return single;
  }

  // Adds the settings' and built-in values of axes that are not given. False: something is missing or empty.
  bool complete(AxisValues& axes, const std::vector<AxisValues>& zips, Measure measure, const JsonNode& node, const std::string& key) {
    bool whole = true;
    for (const Axis axis : kAxes) {
      bool given = axes.contains(axis);
      for (const AxisValues& zip : zips) given = given || zip.contains(axis);
      if (given) {
        whole = whole && !(axes.contains(axis) && axes[axis].empty());
      } else if (std::optional<AxisValue> value = default_value(axis, measure, node, key)) {
        axes[axis] = {std::move(*value)};
      } else {
        whole = false;
      }
    }
    return whole;
  }

  std::optional<AxisValue> default_value(Axis axis, Measure measure, const JsonNode& node, const std::string& key) {
    if (const auto setting = settings_.find(axis); setting != settings_.end()) return setting->second.front();
    AxisValue value;
    value.origin = origin(node, key);
    switch (axis) {
      case Axis::kModel:
      case Axis::kBits:
        problem(node, key, "'" + std::string(axis_name(axis)) + "' is missing");
        return std::nullopt;
      case Axis::kDataset:
        if (measure == Measure::kEvaluate && experiment_.datasets.empty()) {
          if (!dataset_missing_said_) problem(node, key, "there is no data set to evaluate on: give 'dataset'");
          dataset_missing_said_ = true;
          return std::nullopt;
        }
        if (measure == Measure::kEvaluate && experiment_.datasets.size() > 1) {
          problem(node, key, "'dataset' is missing: there are several");
          return std::nullopt;
        }
        value.dataset = experiment_.datasets.empty() ? -1 : 0;
        if (value.dataset == 0) value.text = experiment_.datasets.front().name;
        return value;
      case Axis::kMode: value.text = quant::mode_name(value.mode); return value;
      case Axis::kRounding: value.text = quant::rounding_name(value.rounding); return value;
      case Axis::kSigma: value.sigma = default_sigma_; return value;
      case Axis::kCalibrationImages: value.calibration_images = kDefaultCalibrationImages; return value;
      case Axis::kEngine: break;
    }
    value.text = engine_choice_name(value.engine);
    return value;
  }

  Experiment& experiment_;
  std::vector<Problem>& problems_;
  const std::vector<std::string> models_ = known_models();
  Measure default_measure_ = Measure::kEvaluate;
  int default_repeats_ = kDefaultRepeats;
  Sigma default_sigma_;
  AxisValues settings_;
  bool dataset_missing_said_ = false;
};

std::string read_text(const std::string& path) {
  const auto fail = [&](const std::string& what) -> ExperimentError { return ExperimentError({{{path, 0, ""}, what}}); };
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw fail("no such file");
  if (!std::filesystem::is_regular_file(status)) throw fail("is not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw fail("cannot be opened for reading");
  std::string text;
  text.resize(static_cast<std::size_t>(kMaxFileBytes) + 1);
  file.read(text.data(), kMaxFileBytes + 1);
  if (file.bad()) throw fail("cannot be read");
  if (file.gcount() > kMaxFileBytes) throw fail("is larger than 16 MiB: not an experiment file");
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

}  // namespace

const std::vector<ExperimentKey>& experiment_keys() {
  static const std::vector<ExperimentKey> keys = [] {
    std::vector<ExperimentKey> list;
    for (const char* key : {"$schema", "name", "description", "dataset", "datasets", "checkpoints", "reference",
                            "tolerance", "measure", "repeats", "settings", "matrix", "matrices"}) {
      list.push_back({"experiment", key});
    }
    for (const char* key : {"name", "format", "images", "labels", "cache", "num_images", "chunk"}) {
      list.push_back({"dataset", key});
    }
    for (const char* key : {"description", "measure", "repeats", "zip", "exclude", "include"}) {
      list.push_back({"matrix", key});
    }
    for (const Axis axis : kAxes) {
      list.push_back({"matrix", axis_name(axis)});
      list.push_back({"cell", axis_name(axis)});
      if (is_setting(axis)) list.push_back({"settings", axis_name(axis)});
    }
    return list;
  }();
  return keys;
}

Experiment parse_experiment(std::string_view text, const std::string& path, const std::vector<std::string>& overrides) {
  Experiment experiment;
  experiment.path = path;
  std::optional<JsonNode> root = parse_json(text, path, experiment.problems);
  if (!root) throw ExperimentError(std::move(experiment.problems));
  for (const std::string& assignment : overrides) apply_override(*root, assignment, experiment.problems);
  Parser(experiment).parse(*root);
  experiment.canonical_json = canonical_json(*root);
  return experiment;
}

Experiment load_experiment(const std::string& path, const std::vector<std::string>& overrides) {
  return parse_experiment(read_text(path), path, overrides);
}

}  // namespace squant::runner
