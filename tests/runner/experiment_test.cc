#include "runner/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "runner/wording.h"

namespace squant::runner {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is wrong with a text, a line each.
std::vector<std::string> problems_of(const std::string& text,
                                     const std::vector<std::string>& overrides = {}) {
  std::vector<Problem> problems;
  try {
    problems = parse_experiment(text, "dir/e.json", overrides).problems;
  } catch (const ExperimentError& error) {
    problems = error.problems();
  }
  std::vector<std::string> texts;
  for (const Problem& problem : problems) texts.push_back(problem.text());
  return texts;
}

// A whole file on one line, with a matrix of this text.
std::string with_matrix(const std::string& matrix) {
  return R"({"dataset": {"format": "fashion-mnist", "images": "test"},
             "matrix": {)" +
         matrix + "}}";
}
const char* const kCells = R"("model": "fmnist_resnet", "bits": "w4a4")";

std::string whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ExperimentTest, ReadsAWholeFile) {
  setenv("SQUANT_TEST_FOLDER", "/data", 1);
  const Experiment e = parse_experiment(R"({
    "$schema": "experiment.schema.json",
    "name": "all keys", "description": "text",
    "datasets": {"a": {"format": "idx", "images": "${SQUANT_TEST_FOLDER}/i", "labels": "l", "num_images": 7, "chunk": 3},
                 "b": {"format": "image_folder", "images": "../b", "labels": "/l", "cache": "c",
                       "order": "files"}},
    "checkpoints": {"fmnist_resnet": "nets/r.safetensors"},
    "reference": "ref.json", "tolerance": 0.5, "measure": "evaluate", "repeats": 3,
    "settings": {"mode": "squant-k", "rounding": "paper", "sigma": {"4": 11.5}, "calibration_images": 32, "engine": "simulated"},
    "matrices": [{"description": "one", "dataset": "a", "model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w4a8"]},
                 {"dataset": ["a", "b"], "model": "fmnist_resnet", "bits": "w3", "measure": "quantize_time", "repeats": 5,
                  "rounding": "current", "mode": ["squant-e", "squant"], "sigma": 9, "calibration_images": 8, "engine": "auto",
                  "exclude": [{"mode": "squant"}], "include": [{"bits": "w5"}]}]
  })",
                                        "dir/e.json");
  ASSERT_THAT(e.problems, IsEmpty());
  EXPECT_EQ(e.name, "all keys");
  EXPECT_EQ(e.description, "text");
  ASSERT_EQ(e.datasets.size(), 2u);
  EXPECT_EQ(e.datasets[0].spec.images, "/data/i");
  EXPECT_EQ(e.datasets[0].spec.labels, "dir/l");
  EXPECT_EQ(e.datasets[0].num_images, 7);
  EXPECT_EQ(e.datasets[0].chunk, 3);
  EXPECT_EQ(e.datasets[1].spec.images, "b");
  EXPECT_EQ(e.datasets[1].spec.labels, "/l");
  EXPECT_EQ(e.datasets[1].spec.cache, "dir/c");
  EXPECT_EQ(e.datasets[0].spec.order, "random");
  EXPECT_EQ(e.datasets[1].spec.order, "files");
  EXPECT_EQ(e.checkpoints.at("fmnist_resnet").path, "dir/nets/r.safetensors");
  EXPECT_EQ(e.reference->path, "dir/ref.json");
  EXPECT_EQ(e.tolerance, 0.5);
  ASSERT_EQ(e.matrices.size(), 2u);
  const ExperimentMatrix& first = e.matrices[0];
  EXPECT_EQ(first.key, "matrices[0]");
  EXPECT_EQ(first.axes.at(Axis::kModel).size(), 2u);
  EXPECT_EQ(first.axes.at(Axis::kBits)[1].bits, (Bits{4, 8}));
  EXPECT_EQ(first.axes.at(Axis::kMode)[0].mode, quant::Mode::kEK);
  EXPECT_EQ(first.axes.at(Axis::kRounding)[0].rounding, quant::Rounding::kPaper);
  EXPECT_EQ(first.axes.at(Axis::kSigma)[0].sigma.of(4), 11.5);
  EXPECT_EQ(first.axes.at(Axis::kSigma)[0].sigma.of(8), 25)
      << "a width that is not named keeps the published value";
  EXPECT_EQ(first.axes.at(Axis::kSigma)[0].sigma.of(5), std::nullopt);
  EXPECT_EQ(first.axes.at(Axis::kCalibrationImages)[0].calibration_images, 32);
  EXPECT_EQ(first.axes.at(Axis::kEngine)[0].engine, eval::EngineChoice::kSimulated);
  const ExperimentMatrix& second = e.matrices[1];
  EXPECT_EQ(second.measure, Measure::kQuantizeTime);
  EXPECT_EQ(second.repeats, 5);
  EXPECT_EQ(second.axes.at(Axis::kDataset)[1].dataset, 1);
  EXPECT_EQ(second.axes.at(Axis::kSigma)[0].sigma.of(5), 9);
  ASSERT_EQ(second.include.size(), 1u);
  EXPECT_EQ(second.include[0].at(Axis::kModel)[0].text, "fmnist_resnet")
      << "the matrix's only model";
  EXPECT_EQ(second.include[0].at(Axis::kMode)[0].mode, quant::Mode::kEK)
      << "the matrix has two modes: the setting counts";
}

TEST(ExperimentTest, PredictionsAreKeptOnRequest) {
  const auto with_settings = [](const std::string& settings) {
    std::string text = with_matrix(kCells);
    return text.insert(text.find('{') + 1, "\"settings\": {" + settings + "}, ");
  };
  EXPECT_FALSE(parse_experiment(with_matrix(kCells), "dir/e.json").keep_predictions);
  EXPECT_TRUE(
      parse_experiment(with_settings("\"predictions\": true"), "dir/e.json").keep_predictions);
  EXPECT_THAT(problems_of(with_settings("\"predictions\": 1")),
              ElementsAre(HasSubstr("settings.predictions: must be true or false, is")));
}

TEST(ExperimentTest, OnlyAnImageFolderHasADecoder) {
  const auto with = [](const std::string& dataset, const std::vector<std::string>& set = {}) {
    return parse_experiment(R"({"dataset": {"images": "i", )" + dataset +
                                R"(}, "matrix": {"model": "resnet18", "bits": "w4"}})",
                            "dir/e.json", set);
  };
  const auto problem = [&](const std::string& dataset) {
    const Experiment e = with(dataset);
    return e.problems.size() == 1 ? e.problems[0].text() : "";
  };
  EXPECT_EQ(with(R"("format": "image_folder")").datasets[0].spec.decoder, "libjpeg");
  const Experiment chosen = with(R"("format": "image_folder")", {"dataset.decoder=nvjpeg"});
  EXPECT_THAT(chosen.problems, IsEmpty());
  EXPECT_EQ(chosen.datasets[0].spec.decoder, "nvjpeg");
  EXPECT_EQ(problem(R"("format": "image_folder", "decoder": "nvjpg")"),
            "dir/e.json:1: dataset.decoder: unknown decoder 'nvjpg'; did you mean 'nvjpeg'?");
  EXPECT_EQ(problem(R"("format": "idx", "decoder": "nvjpeg")"),
            "dir/e.json:1: dataset.decoder: only the JPEG files of an 'image_folder' have a "
            "decoder, the format is 'idx'");
}

TEST(ExperimentTest, DefaultsAreThePublishedOnes) {
  const Experiment e = parse_experiment(with_matrix(kCells), "dir/e.json");
  ASSERT_THAT(e.problems, IsEmpty());
  EXPECT_EQ(e.name, "e");
  EXPECT_EQ(e.datasets[0].name, "fashion-mnist");
  const AxisValues& axes = e.matrices[0].axes;
  EXPECT_EQ(axes.at(Axis::kMode)[0].mode, quant::Mode::kEKC);
  EXPECT_EQ(axes.at(Axis::kRounding)[0].rounding, quant::Rounding::kCurrent);
  EXPECT_EQ(axes.at(Axis::kSigma)[0].sigma,
            (Sigma{std::nullopt, {{4, 12.0}, {6, 14.0}, {8, 25.0}}}));
  EXPECT_EQ(axes.at(Axis::kCalibrationImages)[0].calibration_images, 256);
}

TEST(ExperimentTest, SaysEverythingThatIsWrongAtOnceWithLineAndKey) {
  EXPECT_THAT(
      problems_of(R"({
  "nmae": "x",
  "dataset": {"format": "ixd", "images": 3},
  "checkpoints": {"fmnist_resnt": "x", "fmnist_resnet": ""},
  "tolerance": -1,
  "settings": {
    "rounding": "papr",
    "sigma": {"9": 1, "4": 0},
    "calibration_images": 2.5
  },
  "matrices": [{
    "model": ["fmnist_resnet",
              "fmnist_mobilnet"],
    "bits": ["w4a4", "w9", 4,
             "w1a4"],
    "mode": [],
    "exclude": [{"bit": "w4"}]
  }]
})"),
      ElementsAre(
          "dir/e.json:2: nmae: unknown key; did you mean 'name'?",
          "dir/e.json:5: tolerance: must be a number from 0 to 100, is a number (-1)",
          "dir/e.json:3: dataset.format: unknown format 'ixd'; did you mean 'idx'?",
          "dir/e.json:3: dataset.images: must be a string, is a number (3)",
          "dir/e.json:4: checkpoints.fmnist_resnt: unknown model; did you mean 'fmnist_resnet'?",
          "dir/e.json:4: checkpoints.fmnist_resnet: must not be empty",
          "dir/e.json:7: settings.rounding: unknown rounding 'papr'; did you mean 'paper'?",
          "dir/e.json:8: settings.sigma.9: unknown width of activations; known: 2 to 8",
          "dir/e.json:8: settings.sigma.4: must be a number above 0, at most 1000, is a number (0)",
          "dir/e.json:9: settings.calibration_images: must be a whole number from 1 to 65536, is a "
          "number (2.5)",
          "dir/e.json:13: matrices[0].model[1]: unknown model 'fmnist_mobilnet'; did you mean "
          "'fmnist_mobilenet'?",
          "dir/e.json:14: matrices[0].bits[1]: must be 'float', 'wW' (weights only) or 'wWaA' with "
          "W and A "
          "from 2 to 8, is 'w9'",
          "dir/e.json:14: matrices[0].bits[2]: must be a string, is a number (4)",
          "dir/e.json:15: matrices[0].bits[3]: must be 'float', 'wW' (weights only) or 'wWaA' with "
          "W and A "
          "from 2 to 8, is 'w1a4'",
          "dir/e.json:16: matrices[0].mode: is empty: nothing would run",
          "dir/e.json:17: matrices[0].exclude[0].bit: unknown key; did you mean 'bits'?"));
}

TEST(ExperimentTest, SaysWhatIsMissingOrGivenTwice) {
  EXPECT_THAT(problems_of("{}"),
              ElementsAre("dir/e.json:1: 'matrix' is missing: what is to be run?"));
  EXPECT_THAT(problems_of("[]"), ElementsAre("dir/e.json:1: must be an object, is a list"));
  EXPECT_THAT(
      problems_of(R"({"matrix": {"model": "fmnist_resnet"}})"),
      ElementsAre("dir/e.json:1: matrix: there is no data set to evaluate on: give 'dataset'",
                  "dir/e.json:1: matrix: 'bits' is missing"));
  EXPECT_THAT(
      problems_of(
          R"({"dataset": {"format": "idx", "images": "i"}, "datasets": {}, "matrix": {}, "matrices": []})"),
      ElementsAre("dir/e.json:1: datasets: 'dataset' is given too: only one of the two",
                  "dir/e.json:1: matrices: 'matrix' is given too: only one of the two",
                  "dir/e.json:1: matrix: 'model' is missing",
                  "dir/e.json:1: matrix: 'bits' is missing"));
  EXPECT_THAT(
      problems_of(R"({"dataset": {}, "matrices": []})"),
      ElementsAre(
          "dir/e.json:1: dataset: 'format' is missing; known: idx, fashion-mnist, image_folder",
          "dir/e.json:1: dataset: 'images' is missing",
          "dir/e.json:1: matrices: is empty: nothing would run"));
  EXPECT_THAT(
      problems_of(
          R"({"datasets": {"a": {"format": "idx", "images": "i"}, "b": {"format": "idx", "images": "i"}},
                              "matrices": [{"model": "fmnist_resnet", "bits": "w4"},
                                           {"model": "fmnist_resnet", "bits": "w4", "dataset": "c"}]})"),
      ElementsAre("dir/e.json:2: matrices[0]: 'dataset' is missing: there are several",
                  "dir/e.json:3: matrices[1].dataset: unknown data set 'c'; known: a, b"));
}

TEST(ExperimentTest, SaysWhatIsWrongWithAZip) {
  EXPECT_THAT(
      problems_of(with_matrix(R"("model": "fmnist_resnet", "bits": "w4",
      "zip": [{"sigma": [1, 2], "calibration_images": [1, 2, 3]}, {"bits": ["w4"], "mode": "squant"}])")),
      ElementsAre("dir/e.json:3: matrix.zip[0].calibration_images: has 3 elements, 'sigma' has 2: "
                  "lists in one zip "
                  "must be of one length",
                  "dir/e.json:3: matrix.zip[1].mode: must be a list, is a string ('squant')",
                  "dir/e.json:3: matrix.zip[1].bits: is given outside of this zip too"));
}

TEST(ExperimentTest, RefusesWhatIsNotJson) {
  EXPECT_THAT(problems_of(""), ElementsAre(HasSubstr("dir/e.json:1: not valid JSON: ")));
  EXPECT_THAT(
      problems_of("{\n\"matrix\": {\n\"bits\": [\"w4\",\n]}}"),
      ElementsAre(
          "dir/e.json:4: matrix.bits[1]: not valid JSON: a comma before a closing bracket"));
  EXPECT_THAT(problems_of("{\n\"name\": \"x\",\n}"), ElementsAre(HasSubstr("dir/e.json:3: ")));
  EXPECT_THAT(problems_of("{\n\"name\": \"x\",\n}"),
              ElementsAre(HasSubstr("not valid JSON: a comma before a closing bracket")));
  EXPECT_THAT(problems_of("{\"name\":\n \"\xff\"}"),
              ElementsAre(testing::AllOf(HasSubstr("dir/e.json:2: name: not valid JSON: "),
                                         HasSubstr("ill-formed UTF-8"), HasSubstr("\\xff"))));
  EXPECT_THAT(problems_of("{\"name\": 'x'}"), ElementsAre(HasSubstr("not valid JSON: ")));
  EXPECT_THAT(problems_of("{\"tolerance\": 1e999}"),
              ElementsAre(HasSubstr("not valid JSON: number overflow")));
  EXPECT_THAT(problems_of("{} {}"), ElementsAre(HasSubstr("not valid JSON: ")));
}

TEST(ExperimentTest, RefusesDeepNesting) {
  EXPECT_THAT(problems_of("{\"matrix\":\n" + std::string(100'000, '[')),
              ElementsAre(HasSubstr("nested deeper than 16 levels")));
}

TEST(ExperimentTest, ManyMistakesDoNotFloodTheTerminal) {
  std::string keys = "{";
  for (int i = 0; i < 1001; ++i) keys += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  EXPECT_THAT(problems_of(keys + "}"),
              ElementsAre("dir/e.json:1: k1000: is key 1001 of its object: too many"));
  std::string list = "[1";
  for (int i = 0; i < 1000; ++i) list += ",1";
  const std::vector<std::string> problems =
      problems_of(with_matrix("\"model\": \"fmnist_resnet\", \"bits\": " + list + "]"));
  EXPECT_EQ(problems.size(), 201u);
  EXPECT_THAT(problems.back(), HasSubstr("there are more problems than these"));
}

TEST(ExperimentTest, FindsRepeatedKeys) {
  EXPECT_THAT(
      problems_of(
          "{\"dataset\": {\"format\": \"fashion-mnist\", \"images\": \"test\"},\n"
          "\"matrix\": {\"model\": \"fmnist_resnet\",\n\"bits\": \"w4\",\n\"bits\": \"w8\"}}"),
      ElementsAre("dir/e.json:4: matrix.bits: stands here twice: first in line 3"));
}

TEST(ExperimentTest, CountsLinesBehindNumbersAndWithCarriageReturns) {
  // The parser looks at the character after a number before it hands the number out.
  EXPECT_THAT(
      problems_of("{\r\n\"tolerance\": 101\r\n\r\n,\r\n\"repeats\":\r\n0\r\n}"),
      ElementsAre("dir/e.json:2: tolerance: must be a number from 0 to 100, is a number (101)",
                  "dir/e.json:5: repeats: must be a whole number from 1 to 100000, is a number (0)",
                  "dir/e.json:1: 'matrix' is missing: what is to be run?"));
}

TEST(ExperimentTest, AnUnsetVariableIsKeptForWhoNeedsThePath) {
  unsetenv("SQUANT_TEST_UNSET");
  const Experiment e = parse_experiment(
      R"({"dataset": {"format": "idx", "images": "${SQUANT_TEST_UNSET}/val"}, "matrix": {"model": "fmnist_resnet", "bits": "w4"}})",
      "e.json");
  EXPECT_THAT(e.problems, IsEmpty());
  EXPECT_EQ(
      e.datasets[0].images.problem,
      "environment variable SQUANT_TEST_UNSET is not set, needed in '${SQUANT_TEST_UNSET}/val'");
  EXPECT_EQ(e.datasets[0].images.origin.key, "dataset.images");
  EXPECT_THAT(problems_of(R"({"reference": "${OPEN", "matrix": {}})"),
              testing::Contains(
                  "dir/e.json:1: reference: '${' wants a variable's name and '}', in '${OPEN'"));
}

TEST(ExperimentTest, OverridesComeBeforeValidation) {
  const Experiment e = parse_experiment(
      with_matrix(R"("model": "fmnist_resnet", "bits": "w9")"), "e.json",
      {"matrix.bits=[\"w4\", \"w3\"]", "settings.sigma.5=13", "name=x=y", "dataset.num_images=10"});
  ASSERT_THAT(e.problems, IsEmpty());
  EXPECT_EQ(e.matrices[0].axes.at(Axis::kBits).size(), 2u);
  EXPECT_EQ(e.matrices[0].axes.at(Axis::kSigma)[0].sigma.of(5), 13);
  EXPECT_EQ(e.name, "x=y");
  EXPECT_EQ(e.datasets[0].num_images, 10);
  EXPECT_THAT(e.canonical_json, HasSubstr(R"("bits":["w4","w3"])"));

  EXPECT_THAT(
      problems_of(with_matrix(R"("model": ["fmnist_resnet"], "bits": "w4")"),
                  {"matrx.bits=w4", "matrix.model[3]=x", "name.x=1", "matrix.mode=squant-x", "bits",
                   "a..b=1", "[0]=1", "matrix.bits=[w4", "matrix.model[0]=fmnist_resne",
                   "settings.engine=\"gpu\""}),
      ElementsAre(
          "--set matrix.model[3]=x: matrix.model: has 1 elements: there is no [3]",
          "--set bits: must be KEY=VALUE, as in settings.sigma.4=12 or matrices[0].bits=w4a4",
          "--set a..b=1: must be KEY=VALUE, as in settings.sigma.4=12 or matrices[0].bits=w4a4",
          "--set [0]=1: must be KEY=VALUE, as in settings.sigma.4=12 or matrices[0].bits=w4a4",
          HasSubstr("--set matrix.bits=[w4: matrix.bits: not valid JSON: "),
          "--set matrx.bits=w4: matrx: unknown key; did you mean 'matrix'?",
          "--set name.x=1: name: must be a string, is an object",
          "--set settings.engine=\"gpu\": settings.engine: unknown engine 'gpu'; known: auto, "
          "simulated",
          "--set matrix.model[0]=fmnist_resne: matrix.model[0]: unknown model 'fmnist_resne'; did "
          "you mean "
          "'fmnist_resnet'?",
          HasSubstr("--set matrix.mode=squant-x: matrix.mode: unknown mode 'squant-x'; did you "
                    "mean 'squant-")));
}

TEST(ExperimentTest, FilesThatCannotBeReadAreNamed) {
  const auto message = [](const std::string& path) -> std::string {
    try {
      load_experiment(path);
    } catch (const ExperimentError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("/nowhere/e.json"), "/nowhere/e.json: no such file");
  EXPECT_EQ(message("/"), "/: is not a file");
  const std::string large = testing::TempDir() + "/large.json";
  std::ofstream(large).close();
  std::filesystem::resize_file(large, (16 << 20) + 1);
  EXPECT_EQ(message(large), large + ": is larger than 16 MiB: not an experiment file");
  std::filesystem::remove(large);
}

TEST(BitsTest, RoundTrips) {
  for (const char* text : {"float", "w2", "w8", "w2a8", "w8a2"})
    EXPECT_EQ(parse_bits(text).text(), text);
  for (const char* text :
       {"", "w", "w1", "w9", "w4a", "w4a9", "w44", "a4", "W4", "w4a4 ", "w4b4", "w04"}) {
    EXPECT_THROW(parse_bits(text), std::invalid_argument) << text;
  }
}

TEST(WordingTest, SuggestsWhatIsNear) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("bist", "bits"), 1) << "a swap of neighbours is one edit";
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(suggestion("SQUANT-E", {"squant", "squant-e"}), "; did you mean 'squant-e'?");
  EXPECT_EQ(suggestion("zebra", {"bits", "mode"}), "; known: bits, mode");
  EXPECT_EQ(printable("a\x1b[1m\xff\xc3\xa4\xed\xa0\x80", 99),
            "a\\x1b[1m\\xff\xc3\xa4\\xed\\xa0\\x80");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

// --- the schema, the documentation and the shipped files say the same as the parser

nlohmann::json schema() {
  return nlohmann::json::parse(
      whole_file(std::string(SQUANT_SOURCE_DIR) + "/experiments/experiment.schema.json"));
}

TEST(SchemaTest, KnowsTheKeysOfTheParserAndNoOthers) {
  std::map<std::string, std::set<std::string>> parser, file;
  for (const ExperimentKey& key : experiment_keys()) parser[key.section].insert(key.key);
  const nlohmann::json root = schema();
  const auto keys = [](const nlohmann::json& object) {
    EXPECT_EQ(object.at("additionalProperties"), false);
    std::set<std::string> names;
    for (const auto& [name, value] : object.at("properties").items()) names.insert(name);
    return names;
  };
  file["experiment"] = keys(root);
  for (const char* section : {"dataset", "settings", "matrix", "cell"})
    file[section] = keys(root.at("$defs").at(section));
  EXPECT_EQ(file, parser);
}

TEST(SchemaTest, KnowsTheNamesOfTheParser) {
  const nlohmann::json definitions = schema().at("$defs");
  const auto names = [&](const char* definition) {
    return definitions.at(definition).at("enum").get<std::vector<std::string>>();
  };
  for (const std::string& name : names("mode"))
    EXPECT_THAT(problems_of(with_matrix(kCells + (", \"mode\": \"" + name + "\""))), IsEmpty());
  for (const std::string& name : names("rounding"))
    EXPECT_THAT(problems_of(with_matrix(kCells + (", \"rounding\": \"" + name + "\""))), IsEmpty());
  for (const std::string& name : names("engine"))
    EXPECT_THAT(problems_of(with_matrix(kCells + (", \"engine\": \"" + name + "\""))), IsEmpty());
  for (const std::string& name : names("measure"))
    EXPECT_THAT(problems_of(with_matrix(kCells + (", \"measure\": \"" + name + "\""))), IsEmpty());
  EXPECT_THAT(names("mode"), ElementsAre("squant-e", "squant-k", "squant-c", "squant"));
}

TEST(DocumentationTest, NamesEveryKey) {
  const std::string text = whole_file(std::string(SQUANT_SOURCE_DIR) + "/docs/experiments.md");
  for (const ExperimentKey& key : experiment_keys())
    EXPECT_THAT(text, HasSubstr("`" + std::string(key.key) + "`"));
}

TEST(ShippedExperimentsTest, AreFreeOfProblems) {
  for (const char* name : {"quickstart", "efficientnet_lite0", "table1", "table2", "table3",
                           "table4", "table5", "all"}) {
    const Experiment e =
        load_experiment(std::string(SQUANT_SOURCE_DIR) + "/experiments/" + name + ".json");
    for (const Problem& problem : e.problems) ADD_FAILURE() << problem.text();
    EXPECT_EQ(e.name, name);
    EXPECT_THAT(e.description, testing::Not(IsEmpty()));
  }
}

}  // namespace
}  // namespace squant::runner
