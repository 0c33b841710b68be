#include "results/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>

#include "tests/results/sample.h"

namespace squant::results {
namespace {

using testing::TemporaryFolder;

class ReferenceTest : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return path_;
  }
  // The message, without the folder.
  std::string error_of(const std::string& text) {
    try {
      Reference::load(write(text));
    } catch (const std::invalid_argument& error) {
      std::string message = error.what();
      for (std::size_t at; (at = message.find(path_)) != std::string::npos;)
        message.replace(at, path_.size(), "FILE");
      return message;
    }
    return "no error";
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path("paper.json");
};

TEST_F(ReferenceTest, ValuesInheritSourceToleranceAndTheModelsFloatBaseline) {
  const Reference reference = Reference::load(write(R"({
    "source": "SQuant, ICLR 2022", "tolerance": 0.25, "note": "as printed",
    "values": [
      {"model": "resnet18", "bits": "float", "top1": 71.08},
      {"model": "resnet18", "bits": "w4a4", "mode": "squant", "top1": 66.14, "source": "table 1"},
      {"model": "resnet50", "bits": "w4", "mode": "squant-e", "top1": 10, "tolerance": 1}
    ]})"));
  const auto squant = reference.find("resnet18", "w4a4", "squant");
  ASSERT_TRUE(squant);
  EXPECT_EQ(squant->top1_pct, 66.14);
  EXPECT_EQ(squant->tolerance, 0.25);
  EXPECT_EQ(squant->source, "table 1");
  EXPECT_EQ(squant->baseline_top1_pct, 71.08);
  EXPECT_EQ(reference.find("resnet18", "float", "float")->source, "SQuant, ICLR 2022");
  EXPECT_EQ(reference.find("resnet50", "w4", "squant-e")->tolerance, 1);
  EXPECT_FALSE(reference.find("resnet50", "w4", "squant-e")->baseline_top1_pct);
  EXPECT_FALSE(reference.find("resnet18", "w4a4", "squant-e"));
}

TEST_F(ReferenceTest, ToleranceIsReplacedForAllValues) {
  Reference reference = Reference::load(write(R"({"values": [
    {"model": "m", "bits": "float", "top1": 1, "tolerance": 3},
    {"model": "m", "bits": "w4", "mode": "squant", "top1": 1}]})"));
  reference.set_tolerance(0.5);
  EXPECT_EQ(reference.find("m", "float", "float")->tolerance, 0.5);
  EXPECT_EQ(reference.find("m", "w4", "squant")->tolerance, 0.5);
}

TEST_F(ReferenceTest, EveryProblemIsNamedWithItsLineAtOnce) {
  EXPECT_EQ(error_of(R"({
  "tolerence": 0.2,
  "values": [
    {"model": "resnet18", "bits": "w4a4", "mode": "squantt", "top1": 66.14},
    {"model": "resnet18", "bits": "w9a4", "mode": "squant", "top1": 66.14},
    {"model": "resnet18", "bits": "w4a4",
     "top1": 101}
  ]
})"),
            "FILE:2: tolerence: unknown key; did you mean 'tolerance'?\n"
            "FILE:4: values[0].mode: unknown mode \"squantt\"; did you mean 'squant'?\n"
            "FILE:5: values[1].bits: must be \"float\", \"w4\" or \"w4a4\" with widths 2 to 8, got "
            "\"w9a4\"\n"
            "FILE:7: values[2].top1: must be a number from 0 to 100, got 101\n"
            "FILE:6: values[2]: the key \"mode\" is missing");
}

TEST_F(ReferenceTest, WrongShapesAreErrorsNotCrashes) {
  EXPECT_EQ(error_of("[]"), "FILE:1: must be an object {\"source\": ..., \"values\": [...]}");
  EXPECT_EQ(error_of("{}"), "FILE:1: the key \"values\" is missing");
  EXPECT_EQ(error_of(R"({"values": 3})"), "FILE:1: values: must be a list");
  EXPECT_EQ(error_of(R"({"values": [3]})"),
            "FILE:1: values[0]: must be an object {\"model\": ..., \"bits\": ..., \"top1\": ...}");
  EXPECT_EQ(error_of(R"({"values": [{"model": 3, "bits": "float", "top1": 1}]})"),
            "FILE:1: values[0].model: must be a text, and not empty");
  EXPECT_EQ(error_of(R"({"values": [{"model": "m", "bits": "w4", "mode": "float", "top1": 1}]})"),
            "FILE:1: values[0]: mode \"float\" belongs to bits \"float\", and only to them");
  EXPECT_EQ(error_of(R"({"values": [], "values": []})"), "FILE:1: values: the key stands twice");
  EXPECT_THAT(error_of("{\"values\":\n [}"), ::testing::StartsWith("FILE:2: not JSON: "));
  EXPECT_THAT(error_of(""), ::testing::StartsWith("FILE:1: not JSON: "));
  EXPECT_THAT(error_of("{\"values\": [1e999]}"), ::testing::StartsWith("FILE: not JSON: "));
  EXPECT_THROW(Reference::load(folder_.path("nowhere.json")), std::invalid_argument);
  EXPECT_THROW(Reference::load(folder_.folder().string()), std::invalid_argument);
}

TEST_F(ReferenceTest, TwoValuesForOneCellAreAnError) {
  EXPECT_EQ(error_of(R"({"values": [{"model": "m", "bits": "float", "top1": 1},
  {"model": "m", "bits": "float", "mode": "float", "top1": 2}]})"),
            "FILE:2: values[1]: a second value of m float float");
}

}  // namespace
}  // namespace squant::results
