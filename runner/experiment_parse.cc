// The sections of an experiment file, read into the structs of experiment.h. Every key that is
// known stands in experiment_keys(); a value that is wrong becomes a problem and is left out.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "runner/experiment.h"
#include "runner/experiment_axes.h"
#include "runner/experiment_json.h"
#include "runner/wording.h"

namespace squant::runner {
namespace {

constexpr std::int64_t kMaxFileBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaxImages = 1'000'000'000;
constexpr std::int64_t kMaxRepeats = 100'000;
constexpr std::int64_t kDefaultRepeats = 11;

const std::vector<std::string> kOrders = {eval::kRandomOrder, eval::kFileOrder};
const std::vector<std::string> kDecoders = {eval::kLibjpeg, eval::kNvjpeg};
const std::vector<std::string> kFormats = {"idx", kFashionMnist, "image_folder"};

class Parser : private AxisReader {
 public:
  explicit Parser(Experiment& experiment)
      : AxisReader(experiment), experiment_(experiment), problems_(experiment.problems) {}

  void parse(const JsonNode& root) {
    if (!is_object(root, "", "experiment")) return;
    experiment_.name = std::filesystem::path(experiment_.path).stem().string();
    read_member(root, "", "$schema",
                [&](const JsonNode& node, const std::string& key) { text(node, key); });
    read_member(root, "", "name", [&](const JsonNode& node, const std::string& key) {
      experiment_.name = text(node, key).value_or("");
    });
    read_member(root, "", "description", [&](const JsonNode& node, const std::string& key) {
      experiment_.description = text(node, key).value_or("");
    });
    read_member(root, "", "reference", [&](const JsonNode& node, const std::string& key) {
      experiment_.reference = path(node, key);
    });
    read_member(root, "", "tolerance", [&](const JsonNode& node, const std::string& key) {
      experiment_.tolerance = number(node, key, 0, 100);
    });
    parse_measure(root, "", default_measure_, default_repeats_);
    parse_datasets(root);
    read_member(root, "", "checkpoints", [&](const JsonNode& node, const std::string& key) {
      parse_checkpoints(node, key);
    });
    read_member(root, "", "settings",
                [&](const JsonNode& node, const std::string& key) { parse_settings(node, key); });
    parse_matrices(root);
  }

 private:
  void parse_settings(const JsonNode& node, const std::string& key) {
    read_settings(node, key);
    read_member(node, key, "predictions", [&](const JsonNode& value, const std::string& at) {
      experiment_.keep_predictions = boolean(value, at).value_or(false);
    });
  }

  void parse_measure(const JsonNode& object, const std::string& key, Measure& measure,
                     int& repeats) {
    read_member(object, key, "measure", [&](const JsonNode& node, const std::string& at) {
      const std::optional<std::string> name = text(node, at);
      if (!name) return;
      for (const Measure choice : {Measure::kEvaluate, Measure::kQuantizeTime}) {
        if (*name == measure_name(choice)) {
          measure = choice;
          return;
        }
      }
      problem(
          node, at,
          "unknown measure " + in_quotes(*name) + suggestion(*name, {"evaluate", "quantize_time"}));
    });
    read_member(object, key, "repeats", [&](const JsonNode& node, const std::string& at) {
      repeats = static_cast<int>(integer(node, at, 1, kMaxRepeats).value_or(repeats));
    });
  }

  void parse_datasets(const JsonNode& root) {
    const JsonNode* one = root.find("dataset");
    const JsonNode* many = root.find("datasets");
    if (one != nullptr && many != nullptr)
      problem(*many, "datasets", "'dataset' is given too: only one of the two");
    if (one != nullptr) {
      parse_dataset(*one, "dataset", "");
    } else if (many != nullptr) {
      if (many->kind != JsonNode::Kind::kObject) {
        problem(*many, "datasets",
                "must be an object (a name and a data set each), is " + describe(*many));
        return;
      }
      for (const JsonNode& node : many->members) {
        parse_dataset(node, child_key("datasets", node.key), node.key);
      }
    }
  }

  void parse_dataset(const JsonNode& node, const std::string& key, const std::string& name) {
    if (!is_object(node, key, "dataset")) return;
    ExperimentDataset dataset;
    dataset.origin = origin(node, key);
    dataset.name = name;
    const JsonNode* format = node.find("format");
    if (format == nullptr) problem(node, key, "'format' is missing" + suggestion("", kFormats));
    read_member(node, key, "format", [&](const JsonNode& value, const std::string& at) {
      dataset.spec.format = text(value, at).value_or("");
      if (!dataset.spec.format.empty() &&
          std::find(kFormats.begin(), kFormats.end(), dataset.spec.format) == kFormats.end()) {
        problem(value, at,
                "unknown format " + in_quotes(dataset.spec.format) +
                    suggestion(dataset.spec.format, kFormats));
      }
    });
    // Of Fashion-MNIST's two parts one is named; all else are paths.
    const bool images_are_named = dataset.spec.format == kFashionMnist;
    if (node.find("images") == nullptr) problem(node, key, "'images' is missing");
    read_member(node, key, "images", [&](const JsonNode& value, const std::string& at) {
      if (images_are_named) {
        dataset.images.origin = origin(value, at);
        dataset.images.path = text(value, at).value_or("");
      } else {
        dataset.images = path(value, at);
      }
    });
    read_member(node, key, "labels", [&](const JsonNode& value, const std::string& at) {
      dataset.labels = path(value, at);
    });
    read_member(node, key, "cache", [&](const JsonNode& value, const std::string& at) {
      if (value.text == kNoCache) {
        dataset.cache = {kNoCache, "", origin(value, at)};
      } else {
        dataset.cache = path(value, at);
      }
    });
    read_member(node, key, "order", [&](const JsonNode& value, const std::string& at) {
      dataset.spec.order = text(value, at).value_or(dataset.spec.order);
      if (std::find(kOrders.begin(), kOrders.end(), dataset.spec.order) == kOrders.end()) {
        problem(value, at,
                "unknown order " + in_quotes(dataset.spec.order) +
                    suggestion(dataset.spec.order, kOrders));
      }
    });
    read_member(node, key, "decoder", [&](const JsonNode& value, const std::string& at) {
      parse_decoder(value, at, dataset.spec);
    });
    read_member(node, key, "num_images", [&](const JsonNode& value, const std::string& at) {
      dataset.num_images = integer(value, at, 1, kMaxImages).value_or(0);
    });
    read_member(node, key, "chunk", [&](const JsonNode& value, const std::string& at) {
      dataset.chunk = integer(value, at, 1, kMaxImages).value_or(0);
    });
    read_member(node, key, "name", [&](const JsonNode& value, const std::string& at) {
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

  void parse_decoder(const JsonNode& value, const std::string& at, eval::DatasetSpec& spec) {
    const std::optional<std::string> name = text(value, at);
    if (!name) return;
    if (std::find(kDecoders.begin(), kDecoders.end(), *name) == kDecoders.end()) {
      problem(value, at, "unknown decoder " + in_quotes(*name) + suggestion(*name, kDecoders));
    } else if (spec.format != "image_folder") {
      problem(value, at,
              "only the JPEG files of an 'image_folder' have a decoder, the format is " +
                  in_quotes(spec.format));
    } else {
      spec.decoder = *name;
    }
  }

  void parse_checkpoints(const JsonNode& node, const std::string& key) {
    if (node.kind != JsonNode::Kind::kObject) {
      problem(node, key, "must be an object (a model and a path each), is " + describe(node));
      return;
    }
    for (const JsonNode& value : node.members) {
      const std::string& model = value.key;
      if (is_model(model)) {
        experiment_.checkpoints[model] = path(value, child_key(key, model));
      } else {
        problem(value, child_key(key, model), "unknown model" + suggestion(model, models()));
      }
    }
  }

  void parse_matrices(const JsonNode& root) {
    const JsonNode* one = root.find("matrix");
    const JsonNode* many = root.find("matrices");
    if (one == nullptr && many == nullptr)
      problem(root, "", "'matrix' is missing: what is to be run?");
    if (one != nullptr && many != nullptr)
      problem(*many, "matrices", "'matrix' is given too: only one of the two");
    if (one != nullptr) {
      parse_matrix(*one, "matrix");
    } else if (many != nullptr) {
      if (many->kind != JsonNode::Kind::kArray || many->items.empty()) {
        problem(*many, "matrices",
                many->kind == JsonNode::Kind::kArray
                    ? "is empty: nothing would run"
                    : "must be a list of matrices, is " + describe(*many));
        return;
      }
      for (const auto& [node, key] : elements_of(*many, "matrices")) parse_matrix(*node, key);
    }
  }

  void parse_matrix(const JsonNode& node, const std::string& key) {
    if (!is_object(node, key, "matrix")) return;
    ExperimentMatrix matrix;
    matrix.key = key;
    matrix.origin = origin(node, key);
    matrix.measure = default_measure_;
    matrix.repeats = default_repeats_;
    read_member(node, key, "description",
                [&](const JsonNode& value, const std::string& at) { text(value, at); });
    parse_measure(node, key, matrix.measure, matrix.repeats);
    matrix.axes = read_axes(node, key);
    bool usable = true;
    read_member(node, key, "zip", [&](const JsonNode& value, const std::string& at) {
      usable = parse_zips(value, at, matrix);
    });
    read_member(node, key, "exclude", [&](const JsonNode& value, const std::string& at) {
      for (const auto& [entry, entry_key] : elements_of(value, at)) {
        if (!is_object(*entry, entry_key, "cell")) continue;
        if (entry->members.empty())
          problem(*entry, entry_key, "is empty: it would exclude everything");
        matrix.exclude.push_back(read_axes(*entry, entry_key));
      }
    });
    std::vector<std::pair<const JsonNode*, std::string>> includes;
    read_member(node, key, "include", [&](const JsonNode& value, const std::string& at) {
      includes = elements_of(value, at);
    });

    AxisValues shared = single_values(matrix.axes);
    const bool only_includes = !includes.empty() && matrix.zips.empty() &&
                               node.find("model") == nullptr && node.find("bits") == nullptr;
    if (only_includes) {
      matrix.axes.clear();
    } else {
      usable = complete(matrix.axes, matrix.zips, matrix.measure, node, key) && usable;
    }
    for (const auto& [entry, entry_key] : includes) {
      if (!is_object(*entry, entry_key, "cell")) continue;
      AxisValues axes = read_axes(*entry, entry_key);
      axes.insert(shared.begin(), shared.end());
      if (complete(axes, {}, matrix.measure, *entry, entry_key))
        matrix.include.push_back(std::move(axes));
    }
    if (!usable) {
      matrix.axes.clear();
      matrix.zips.clear();
    }
    experiment_.matrices.push_back(std::move(matrix));
  }

  bool parse_zips(const JsonNode& node, const std::string& key, ExperimentMatrix& matrix) {
    const std::size_t before = problems_.size();
    for (const auto& [entry, entry_key] : elements_of(node, key)) {
      if (!is_object(*entry, entry_key, "cell")) continue;
      std::size_t length = 0;
      std::string first;
      for (const JsonNode& list : entry->members) {
        const std::string& name = list.key;
        if (list.kind != JsonNode::Kind::kArray) {
          problem(list, child_key(entry_key, name), "must be a list, is " + describe(list));
        } else if (first.empty()) {
          first = name;
          length = list.items.size();
        } else if (list.items.size() != length) {
          problem(list, child_key(entry_key, name),
                  "has " + std::to_string(list.items.size()) + " elements, '" + first + "' has " +
                      std::to_string(length) + ": lists in one zip must be of one length");
        }
      }
      AxisValues axes = read_axes(*entry, entry_key);
      for (const auto& [axis, values] : axes) {
        bool twice = matrix.axes.contains(axis);
        for (const AxisValues& zip : matrix.zips) twice = twice || zip.contains(axis);
        if (twice)
          problem(*entry, child_key(entry_key, axis_name(axis)),
                  "is given outside of this zip too");
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

  // Adds the settings' and built-in values of axes that are not given. False: something is missing
  // or empty.
  bool complete(AxisValues& axes, const std::vector<AxisValues>& zips, Measure measure,
                const JsonNode& node, const std::string& key) {
    bool whole = true;
    for (const Axis axis : all_axes()) {
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

  Experiment& experiment_;
  std::vector<Problem>& problems_;
  Measure default_measure_ = Measure::kEvaluate;
  int default_repeats_ = kDefaultRepeats;
};

std::string read_text(const std::string& path) {
  const auto fail = [&](const std::string& what) -> ExperimentError {
    return ExperimentError({{{path, 0, ""}, what}});
  };
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
    for (const char* key :
         {"$schema", "name", "description", "dataset", "datasets", "checkpoints", "reference",
          "tolerance", "measure", "repeats", "settings", "matrix", "matrices"}) {
      list.push_back({"experiment", key});
    }
    for (const char* key : {"name", "format", "images", "labels", "cache", "order", "decoder",
                            "num_images", "chunk"}) {
      list.push_back({"dataset", key});
    }
    for (const char* key : {"description", "measure", "repeats", "zip", "exclude", "include"}) {
      list.push_back({"matrix", key});
    }
    for (const Axis axis : all_axes()) {
      list.push_back({"matrix", axis_name(axis)});
      list.push_back({"cell", axis_name(axis)});
      if (is_setting(axis)) list.push_back({"settings", axis_name(axis)});
    }
    list.push_back({"settings", "predictions"});
    return list;
  }();
  return keys;
}

Experiment parse_experiment(std::string_view text, const std::string& path,
                            const std::vector<std::string>& overrides) {
  Experiment experiment;
  experiment.path = path;
  std::optional<JsonNode> root = parse_json(text, path, experiment.problems);
  if (!root) throw ExperimentError(std::move(experiment.problems));
  for (const std::string& assignment : overrides)
    apply_override(*root, assignment, experiment.problems);
  Parser(experiment).parse(*root);
  experiment.canonical_json = canonical_json(*root);
  return experiment;
}

Experiment load_experiment(const std::string& path, const std::vector<std::string>& overrides) {
  return parse_experiment(read_text(path), path, overrides);
}

}  // namespace squant::runner
