#include "runner/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/models/models.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A folder with an IDX data set of 60 images of 28 x 28 in 10 classes, and made-up weights of both
// quickstart networks.
class PlanTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new fs::path(fs::path(testing::TempDir()) /
                           ("squant_plan_test_" + std::to_string(getpid())));
    fs::create_directories(*folder_);
    write_idx("images", {60, 28, 28}, 60 * 28 * 28);
    write_idx("labels", {60}, 60);
    write_idx("images32", {60, 32, 32}, 60 * 32 * 32);
    write_idx("labels12", {60}, 60, 12);
    for (const char* model : {"fmnist_resnet", "fmnist_mobilenet"}) {
      eval::write_safetensors(file(std::string(model) + ".safetensors"),
                              eval::generated_state_dict(eval::model_info(model).build()));
    }
    std::ofstream(file("reference.json")) << R"({"source": "here", "values": [
      {"model": "fmnist_resnet", "bits": "float", "top1": 91}, {"model": "fmnist_resnet", "bits": "w4", "mode": "squant", "top1": 88}]})";
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete folder_;
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  static void write_idx(const std::string& name, const std::vector<int>& dims, int count,
                        int num_values = 10) {
    std::ofstream out(file(name), std::ios::binary);
    const char magic[4] = {0, 0, 8, static_cast<char>(dims.size())};
    out.write(magic, 4);
    for (const int dim : dims) {
      const char bytes[4] = {0, 0, static_cast<char>(dim >> 8), static_cast<char>(dim & 255)};
      out.write(bytes, 4);
    }
    for (int i = 0; i < count; ++i) out.put(static_cast<char>(i % num_values));
  }

  // An experiment in the folder with this matrix (or several: "[{...}]").
  static std::string text(const std::string& matrix, const std::string& more = "") {
    return R"({"dataset": {"name": "small", "format": "idx", "images": "images", "labels": "labels"},
"checkpoints": {"fmnist_resnet": "fmnist_resnet.safetensors", "fmnist_mobilenet": "fmnist_mobilenet.safetensors"},
)" + more + (matrix.starts_with("[") ? R"("matrices": )" : R"("matrix": )") +
           matrix + "}";
  }

  static Plan plan(const std::string& experiment, const PlanOptions& options = {}) {
    return make_plan(parse_experiment(experiment, file("e.json")), options);
  }

  static std::vector<std::string> problems(const std::string& experiment,
                                           const PlanOptions& options = {}) {
    std::vector<std::string> texts;
    try {
      plan(experiment, options);
    } catch (const ExperimentError& error) {
      for (const Problem& problem : error.problems()) {
        std::string line = problem.text();
        for (std::size_t at; (at = line.find(folder_->string() + "/")) != std::string::npos;)
          line.erase(at, folder_->string().size() + 1);
        texts.push_back(line);
      }
    }
    return texts;
  }

  static std::vector<std::string> labels(const Plan& plan) {
    std::vector<std::string> list;
    for (const PlannedJob& job : plan.jobs) list.push_back(job.label);
    return list;
  }

  static std::vector<std::string> skipped(const Plan& plan) {
    std::vector<std::string> list;
    for (const SkippedCell& cell : plan.skipped) list.push_back(cell.label + ": " + cell.reason);
    return list;
  }

  static fs::path* folder_;
};
fs::path* PlanTest::folder_ = nullptr;

TEST_F(PlanTest, FillsJobAndRow) {
  const Plan p = plan(
      text(R"({"model": "fmnist_resnet", "bits": "w4a6", "mode": "squant-c", "rounding": "paper",
                               "calibration_images": 8})",
           R"("reference": "reference.json",)"));
  ASSERT_EQ(p.jobs.size(), 1u);
  ASSERT_EQ(p.datasets.size(), 1u);
  EXPECT_EQ(p.datasets[0].name, "small");
  EXPECT_EQ(p.datasets[0].size, 60);
  EXPECT_EQ(p.datasets[0].num_images, 60);
  EXPECT_EQ(p.datasets[0].chunk, 500);
  const eval::Job& job = p.jobs[0].job;
  EXPECT_EQ(job.model, "fmnist_resnet");
  EXPECT_EQ(job.checkpoint, file("fmnist_resnet.safetensors"));
  EXPECT_EQ(job.checkpoint_sha256, eval::sha256_file(job.checkpoint));
  EXPECT_EQ(job.weight_bits, 4);
  EXPECT_EQ(job.activation_bits, 6);
  EXPECT_EQ(job.mode, quant::Mode::kEC);
  EXPECT_EQ(job.rounding, quant::Rounding::kPaper);
  EXPECT_EQ(job.sigma, 14);
  EXPECT_EQ(job.calibration_images, 8);
  const results::JobRow& row = p.jobs[0].row;
  EXPECT_EQ(row.identity.size(), 64u);
  EXPECT_EQ(row.evaluation.size(), 64u);
  EXPECT_EQ(row.bits, "w4a6");
  EXPECT_EQ(row.mode, "squant-c");
  EXPECT_EQ(row.rounding, "paper");
  EXPECT_EQ(row.engine, "integer");
  EXPECT_EQ(row.dataset_name, "small");
  EXPECT_EQ(row.dataset_fingerprint, p.datasets[0].fingerprint);
  EXPECT_EQ(row.dataset_size, p.datasets[0].size);
  EXPECT_EQ(row.num_images, 60);
  EXPECT_EQ(row.chunk, 500);
  EXPECT_THAT(row.checkpoint_note, testing::Not(IsEmpty()));
  EXPECT_EQ(p.jobs[0].label, "fmnist_resnet w4a6 squant-c");
  EXPECT_FALSE(p.jobs[0].reference);
}

TEST_F(PlanTest, AxesThatDoNotApplyDoNotMultiply) {
  const Plan p = plan(text(
      R"({"model": "fmnist_resnet", "bits": ["float", "w4", "w4a4"], "mode": ["squant-e", "squant"],
                               "sigma": [11, 12]})"));
  EXPECT_THAT(
      labels(p),
      ElementsAre("fmnist_resnet float", "fmnist_resnet w4 squant-e", "fmnist_resnet w4 squant",
                  "fmnist_resnet w4a4 squant-e sigma=11", "fmnist_resnet w4a4 squant-e sigma=12",
                  "fmnist_resnet w4a4 squant sigma=11", "fmnist_resnet w4a4 squant sigma=12"));
  EXPECT_THAT(p.skipped, IsEmpty());
}

TEST_F(PlanTest, ZipWalksListsTogether) {
  const Plan p = plan(text(R"({"model": ["fmnist_resnet", "fmnist_mobilenet"],
                               "zip": [{"bits": ["w4a4", "w6a6"], "sigma": [11, 13]}]})"));
  EXPECT_THAT(labels(p),
              ElementsAre("fmnist_resnet w4a4 squant", "fmnist_resnet w6a6 squant",
                          "fmnist_mobilenet w4a4 squant", "fmnist_mobilenet w6a6 squant"));
  EXPECT_EQ(p.jobs[0].job.sigma, 11);
  EXPECT_EQ(p.jobs[1].job.sigma, 13);
}

TEST_F(PlanTest, ExcludesIncludesAndFindsDuplicates) {
  const Plan p = plan(
      text(R"([{"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w4", "w4a4"],
                                "exclude": [{"model": "fmnist_mobilenet", "bits": ["w4", "w4a4"]}, {"sigma": 12}],
                                "include": [{"model": "fmnist_mobilenet", "bits": "w2"}]},
                               {"model": "fmnist_resnet", "bits": ["w4", "w5"]},
                               {"model": "fmnist_resnet", "bits": ["w5", "w5"]}])"));
  EXPECT_THAT(labels(p), ElementsAre("fmnist_resnet float", "fmnist_resnet w4 squant",
                                     "fmnist_mobilenet float", "fmnist_mobilenet w2 squant",
                                     "fmnist_resnet w5 squant"));
  EXPECT_THAT(skipped(p),
              ElementsAre("fmnist_resnet w4a4 squant: excluded by matrices[0].exclude[1]",
                          "fmnist_mobilenet w4 squant: excluded by matrices[0].exclude[0]",
                          "fmnist_mobilenet w4a4 squant: excluded by matrices[0].exclude[0]",
                          "fmnist_resnet w4 squant: duplicate: matrices[0] has it already",
                          "fmnist_resnet w5 squant: duplicate: matrices[1] has it already",
                          "fmnist_resnet w5 squant: duplicate: matrices[1] has it already"));
}

TEST_F(PlanTest, TwoDataSetsWithTheSameContentAreOne) {
  const Plan p =
      plan(R"({"datasets": {"a": {"format": "idx", "images": "images", "labels": "labels"},
                                       "b": {"format": "idx", "images": "images", "labels": "labels"},
                                       "c": {"format": "idx", "images": "images", "labels": "labels", "num_images": 30, "chunk": 7}},
                          "checkpoints": {"fmnist_resnet": "fmnist_resnet.safetensors"},
                          "matrix": {"dataset": ["a", "b", "c"], "model": "fmnist_resnet", "bits": "w4"}})");
  EXPECT_THAT(labels(p), ElementsAre("fmnist_resnet w4 squant dataset=a",
                                     "fmnist_resnet w4 squant dataset=c"));
  EXPECT_THAT(
      skipped(p),
      ElementsAre(
          "fmnist_resnet w4 squant dataset=b: duplicate of fmnist_resnet w4 squant dataset=a"));
  EXPECT_EQ(p.jobs[0].row.evaluation, p.jobs[1].row.evaluation);
  EXPECT_NE(p.jobs[0].row.identity, p.jobs[1].row.identity);
  EXPECT_EQ(p.jobs[1].row.chunk, 7);
}

TEST_F(PlanTest, WhatDoesNotDecideLeavesTheIdentity) {
  const auto identity = [](const std::string& experiment, const PlanOptions& options = {}) {
    return plan(experiment, options).jobs.back().row.identity;
  };
  const std::string matrix = R"({"model": "fmnist_resnet", "bits": "w4a4"})";
  const std::string before = identity(text(matrix));
  fs::copy_file(file("fmnist_resnet.safetensors"), file("elsewhere.safetensors"),
                fs::copy_options::overwrite_existing);
  fs::copy_file(file("images"), file("images_too"), fs::copy_options::overwrite_existing);
  std::string moved = text(
      matrix, R"("name": "n", "description": "d", "reference": "reference.json", "tolerance": 3,)");
  moved.replace(moved.find("fmnist_resnet.safetensors"), 25, "elsewhere.safetensors");
  moved.replace(moved.find("\"images\": \"images\""), 18, R"("chunk": 7, "images": "images_too")");
  moved.replace(moved.find("small"), 5, "other");
  EXPECT_EQ(identity(moved), before);
  EXPECT_EQ(identity(text(R"([{"model": "fmnist_mobilenet", "bits": "w3"},
                              {"model": "fmnist_resnet", "bits": "w4a4", "mode": "squant", "sigma": {"4": 12.0, "8": 3}}])")),
            before);
  PlanOptions fewer;
  fewer.num_images = 59;
  EXPECT_NE(identity(text(matrix), fewer), before);
  EXPECT_EQ(plan(text(matrix), fewer).jobs[0].row.num_images, 59);
  EXPECT_NE(identity(text(R"({"model": "fmnist_resnet", "bits": "w4a4", "engine": "simulated"})")),
            before);
}

TEST_F(PlanTest, FiltersSayWhyACellDoesNotRun) {
  const std::string experiment =
      text(R"({"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w4", "w4a4"],
                                          "mode": ["squant-e", "squant"]})");
  PlanOptions options;
  options.only = {"model=fmnist_resnet"};
  options.where = {"bits=w4a4,w4 and mode!=squant-e"};
  options.exclude_where = {"sigma=12.0"};
  const Plan p = plan(experiment, options);
  EXPECT_THAT(labels(p), ElementsAre("fmnist_resnet w4 squant"));
  EXPECT_THAT(
      skipped(p),
      AllOf(
          Contains("fmnist_resnet float: not selected by --where bits=w4a4,w4 and mode!=squant-e"),
          Contains("fmnist_resnet w4a4 squant: excluded by --exclude-where sigma=12.0"),
          Contains("fmnist_mobilenet w4 squant: not selected by --only model=fmnist_resnet")));
  EXPECT_EQ(p.skipped.size(), 9u);

  PlanOptions commas;
  commas.where = {"bits=float,w4,mode=squant,model!=fmnist_resnet"};
  EXPECT_THAT(labels(plan(experiment, commas)), ElementsAre("fmnist_mobilenet w4 squant"));
}

TEST_F(PlanTest, WrongFiltersAreErrors) {
  PlanOptions options;
  options.only = {"modl=x", "bits=w9", "model=fmnist_resne", "w4"};
  options.where = {"mode=", "sigma=many", "measure=time"};
  options.exclude_where = {"bits=w4 and", "dataset=smal"};
  EXPECT_THAT(
      problems(text(R"({"model": "fmnist_resnet", "bits": "w4"})"), options),
      ElementsAre(
          "--only modl=x: unknown key 'modl'; did you mean 'model'?",
          "--only bits=w9: 'bits' must be 'float', 'wW' (weights only) or 'wWaA' with W and A from "
          "2 to 8, is 'w9'",
          "--only model=fmnist_resne: 'model' is never 'fmnist_resne'; did you mean "
          "'fmnist_resnet'?",
          "--only w4: must be KEY=VALUE or KEY!=VALUE, as in bits=w4a4,w3",
          "--where mode=: 'mode' has no value",
          "--where sigma=many: 'sigma' must be a number, is 'many'",
          "--where measure=time: 'measure' is never 'time'; known: evaluate, quantize_time",
          "--exclude-where bits=w4 and: 'bits' must be 'float', 'wW' (weights only) or 'wWaA' with "
          "W and A from 2 to 8, is 'w4 and'",
          "--exclude-where dataset=smal: 'dataset' is never 'smal'; did you mean 'small'?"));
}

TEST_F(PlanTest, NothingLeftIsAnError) {
  PlanOptions options;
  options.only = {"mode=squant-e"};
  EXPECT_THAT(problems(text(R"({"model": "fmnist_resnet", "bits": ["w4", "w5"]})"), options),
              ElementsAre("e.json: no job is left: of 2 cells each is excluded or not selected, "
                          "the last one (fmnist_resnet w5 "
                          "squant) not selected by --only mode=squant-e"));
}

TEST_F(PlanTest, SaysEverythingThatIsWrongAtOnceInTheOrderOfTheFile) {
  std::ofstream(file("cut.safetensors"), std::ios::binary) << std::string(5, 'x');
  EXPECT_THAT(
      problems(R"({
"dataset": {"format": "idx", "images": "nowhere", "labels": "labels"},
"checkpoints": {"fmnist_resnet": "fmnist_mobilenet.safetensors",
                "fmnist_mobilenet": "cut.safetensors"},
"reference": "${SQUANT_TEST_UNSET}/r.json",
"matrices": [
  {"model": ["fmnist_resnet",
             "fmnist_mobilenet"],
   "bits": ["float", "w4a4",
            "w4a5"],
   "mode": ["squant",
            "squant-e&k"]},
  {"model": "fmnist_resnet", "measure": "quantize_time",
   "bits": ["w4", "float"]},
  {"model":
     "resnet18", "bits": "w4"}
]})"),
      ElementsAre(
          "e.json:2: dataset.images: nowhere: no such file or folder",
          AllOf(HasSubstr("e.json:3: checkpoints.fmnist_resnet: fmnist_mobilenet.safetensors: "),
                HasSubstr("does not fit the network")),
          HasSubstr("e.json:4: checkpoints.fmnist_mobilenet: cut.safetensors: "),
          "e.json:5: reference: environment variable SQUANT_TEST_UNSET is not set, needed in "
          "'${SQUANT_TEST_UNSET}/r.json'",
          "e.json:10: matrices[0].bits[2]: no sigma is known for 5-bit activations: give "
          "'settings.sigma.5'",
          "e.json:12: matrices[0].mode[1]: unknown mode 'squant-e&k'; did you mean 'squant-e'?",
          "e.json:14: matrices[1].bits[1]: 'float' has no time to quantize: leave it out where "
          "'measure' is "
          "'quantize_time'",
          "e.json:15: matrices[2].model: no checkpoint is given for it: add \"resnet18\" to "
          "'checkpoints'"));
}

TEST_F(PlanTest, OnlyWhatASelectedJobNeedsMustBeThere) {
  PlanOptions options;
  options.only = {"model=fmnist_resnet"};
  const Plan p = plan(R"({"dataset": {"format": "idx", "images": "images", "labels": "labels"},
    "checkpoints": {"fmnist_resnet": "fmnist_resnet.safetensors", "fmnist_mobilenet": "${SQUANT_TEST_UNSET}/x"},
    "matrix": {"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": "w4"}})",
                      options);
  EXPECT_THAT(labels(p), ElementsAre("fmnist_resnet w4 squant"));
}

TEST_F(PlanTest, ANetworkMustFitItsDataSet) {
  EXPECT_THAT(
      problems(
          R"({"datasets": {"large": {"format": "idx", "images": "images32", "labels": "labels"},
                                        "classes": {"format": "idx", "images": "images", "labels": "labels12"}},
                          "checkpoints": {"fmnist_resnet": "fmnist_resnet.safetensors"},
                          "matrix": {"dataset": ["large", "classes"], "bits": ["w4", "w5"],
"model": "fmnist_resnet"}})"),
      ElementsAre(
          AllOf(HasSubstr(
                    "e.json:5: matrix.model: fmnist_resnet does not fit the data set 'large': "),
                HasSubstr("1 x 32 x 32"), HasSubstr("1 x 28 x 28")),
          "e.json:5: matrix.model: fmnist_resnet does not fit the data set 'classes': it tells 10 "
          "classes apart, "
          "the data set has 12"));
}

TEST_F(PlanTest, ADataSetHasNoMoreImagesThanItHas) {
  PlanOptions options;
  options.num_images = 61;
  const std::string experiment = text(R"({"model": "fmnist_resnet", "bits": "w4"})");
  EXPECT_THAT(problems(experiment, options),
              ElementsAre("--images 61: 61 images are asked for, the data set 'small' has 60"));
}

TEST_F(PlanTest, AttachesReferences) {
  const Plan p =
      plan(text(R"({"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w4"]})",
                R"("reference": "reference.json", "tolerance": 0.7,)"));
  ASSERT_EQ(p.jobs.size(), 4u);
  ASSERT_TRUE(p.jobs[0].reference);
  ASSERT_TRUE(p.jobs[1].reference);
  EXPECT_EQ(p.jobs[1].reference->top1_pct, 88);
  EXPECT_EQ(p.jobs[1].reference->tolerance, 0.7);
  EXPECT_EQ(p.jobs[1].reference->source, "here");
  EXPECT_EQ(p.jobs[1].reference->baseline_top1_pct, 91);
  EXPECT_FALSE(p.jobs[2].reference);
}

TEST_F(PlanTest, ATimingNeedsNoImages) {
  const Plan p = plan(
      R"({"checkpoints": {"fmnist_resnet": "fmnist_resnet.safetensors"}, "reference": "reference.json",
    "matrix": {"measure": "quantize_time", "repeats": 3, "model": "fmnist_resnet", "bits": ["w4", "w4a4"]}})");
  ASSERT_EQ(p.jobs.size(), 2u);
  EXPECT_THAT(p.datasets, IsEmpty());
  EXPECT_EQ(p.jobs[0].label, "fmnist_resnet w4 squant quantize_time");
  EXPECT_FALSE(p.jobs[0].evaluate);
  EXPECT_EQ(p.jobs[0].repeats, 3);
  EXPECT_EQ(p.jobs[0].dataset, -1);
  EXPECT_EQ(p.jobs[0].row.num_images, 0);
  EXPECT_EQ(p.jobs[0].row.identity.size(), 64u);
  EXPECT_FALSE(p.jobs[0].reference);
}

TEST_F(PlanTest, TheQuickstartHas42JobsWithReferences) {
  const std::string path = std::string(SQUANT_SOURCE_DIR) + "/experiments/quickstart.json";
  const std::string small = R"({"format": "idx", "images": ")" + file("images") +
                            R"(", "labels": ")" + file("labels") + R"("})";
  const Plan p = make_plan(load_experiment(path, {"dataset=" + small}), {});
  EXPECT_EQ(p.jobs.size(), 42u);
  EXPECT_THAT(p.skipped, IsEmpty());
  for (const PlannedJob& job : p.jobs) EXPECT_TRUE(job.reference) << job.label;
}

TEST_F(PlanTest, RefusesMoreThanAMillionCells) {
  std::string numbers = "[1";
  for (int i = 2; i <= 1001; ++i) numbers += "," + std::to_string(i);
  numbers += "]";
  std::string sigmas = "[0.5";
  for (int i = 1; i <= 999; ++i) sigmas += "," + std::to_string(i);
  sigmas += "]";
  EXPECT_THAT(
      problems(text(R"({"model": "fmnist_resnet", "bits": "w4a4", "calibration_images": )" +
                    numbers + R"(, "sigma": )" + sigmas + "}")),
      ElementsAre("e.json:3: matrix: more than 1,000,000 cells: the limit of one experiment"));
}

// --- the experiments that come with the program

Plan shipped(const std::string& name) {
  PlanOptions options;
  options.allow_missing = true;
  const std::string folder = std::string(SQUANT_SOURCE_DIR) + "/experiments/";
  return make_plan(load_experiment(folder + name + ".json"), options);
}

std::map<std::string, int> count_modes(const Plan& plan) {
  std::map<std::string, int> counts;
  std::set<std::string> labels;
  for (const PlannedJob& job : plan.jobs) {
    ++counts[job.row.mode];
    EXPECT_TRUE(labels.insert(job.label).second) << job.label;
    EXPECT_TRUE(job.row.identity.empty());
  }
  return counts;
}

using Counts = std::map<std::string, int>;

class ShippedExperimentsTest : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("IMAGENET_VAL");
    unsetenv("SQUANT_MODELS");
  }
};

TEST_F(ShippedExperimentsTest, HaveTheRightNumbersOfJobs) {
  EXPECT_EQ(count_modes(shipped("table1")), (Counts{{"squant", 14}, {"float", 5}}));
  EXPECT_EQ(count_modes(shipped("table2")), (Counts{{"squant", 8}, {"float", 3}}));
  EXPECT_EQ(count_modes(shipped("table3")), (Counts{{"squant", 5}}));
  EXPECT_EQ(count_modes(shipped("table4")),
            (Counts{{"squant-e", 2}, {"squant-k", 2}, {"squant-c", 2}, {"squant", 2}}));
  EXPECT_EQ(count_modes(shipped("table5")), (Counts{{"squant", 3}}));
  EXPECT_EQ(
      count_modes(shipped("all")),
      (Counts{{"float", 5}, {"squant-e", 2}, {"squant-k", 2}, {"squant-c", 2}, {"squant", 22}}));
  EXPECT_EQ(
      count_modes(shipped("efficientnet_lite0")),
      (Counts{{"float", 1}, {"squant-e", 1}, {"squant-k", 1}, {"squant-c", 1}, {"squant", 4}}));
}

TEST_F(ShippedExperimentsTest, FindTheirDuplicates) {
  std::vector<std::string> duplicates;
  for (const SkippedCell& cell : shipped("all").skipped) {
    if (cell.reason.starts_with("duplicate")) duplicates.push_back(cell.label + ": " + cell.reason);
  }
  EXPECT_THAT(duplicates, ElementsAre("resnet18 w3 squant: duplicate: matrices[3] has it already",
                                      "resnet18 w4 squant: duplicate: matrices[3] has it already"));
}

TEST_F(ShippedExperimentsTest, SayWhatIsMissing) {
  std::vector<std::string> missing;
  for (const Problem& problem : shipped("table4").missing) missing.push_back(problem.text());
  EXPECT_THAT(
      missing,
      ElementsAre(HasSubstr("checkpoints.resnet18: environment variable SQUANT_MODELS is not set"),
                  HasSubstr("dataset.images: environment variable IMAGENET_VAL is not set")));
}

TEST_F(ShippedExperimentsTest, HaveTheirPaperValues) {
  int num_values = 0;
  for (const PlannedJob& job : shipped("table1").jobs) {
    ASSERT_TRUE(job.reference) << job.label;
    EXPECT_EQ(job.reference->tolerance, 0.2);
    EXPECT_TRUE(job.reference->baseline_top1_pct) << job.label;
    ++num_values;
  }
  EXPECT_EQ(num_values, 19);
  for (const PlannedJob& job : shipped("table4").jobs) EXPECT_FALSE(job.reference) << job.label;
}

}  // namespace
}  // namespace squant::runner
