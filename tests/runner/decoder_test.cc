// A data set whose JPEG files nvJPEG decodes: another cell, and nothing that runs where it cannot.
// nvJPEG is the one that is made of libjpeg (host_nvjpeg.h).
#include "runner/decoder_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "eval/checkpoint/safetensors.h"
#include "eval/models/models.h"
#include "runner/experiment.h"
#include "tests/eval/host_nvjpeg.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

class DecoderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new fs::path(fs::path(testing::TempDir()) /
                           ("squant_decoder_test_" + std::to_string(getpid())));
    fs::create_directories(*folder_ / "val/n01440764");
    fs::copy_file(std::string(SQUANT_TESTS_DATA_DIR) + "/images/pictures/yuv444.jpg",
                  *folder_ / "val/n01440764/a.JPEG");
    eval::write_safetensors((*folder_ / "weights.safetensors").string(),
                            eval::generated_state_dict(eval::model_info("sqnxt23_w2").build()));
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete folder_;
  }
  void SetUp() override { host_nvjpeg_behave(13, 1, 0); }

  static Plan plan(const std::vector<std::string>& set, const PlanOptions& options = {}) {
    const std::string text =
        R"({"dataset": {"name": "val", "format": "image_folder", "images": "val"},
            "checkpoints": {"sqnxt23_w2": "weights.safetensors"},
            "matrix": {"model": "sqnxt23_w2", "bits": "w4"}})";
    return make_plan(parse_experiment(text, (*folder_ / "e.json").string(), set), options);
  }
  static Plan by_libjpeg() { return plan({}); }
  static Plan by_nvjpeg() { return plan({"dataset.decoder=nvjpeg"}); }

  static fs::path* folder_;
};
fs::path* DecoderTest::folder_ = nullptr;

// The first of all: a library that will do stays loaded.
TEST_F(DecoderTest, ALibraryThatWillNotDoIsAProblemOfTheDataSet) {
  host_nvjpeg_behave(11, 1, 0);
  EXPECT_THAT(error_of([] { by_nvjpeg(); }),
              AllOf(HasSubstr("e.json:1: dataset: decoder nvjpeg: nvJPEG 11.3.2 is too old here"),
                    HasSubstr("decoder libjpeg needs neither")));
  PlanOptions dry_run;
  dry_run.allow_missing = true;
  const Plan shown = plan({"dataset.decoder=nvjpeg"}, dry_run);
  ASSERT_EQ(shown.missing.size(), 1u);
  EXPECT_THAT(shown.missing[0].text(), HasSubstr("too old"));
}

TEST_F(DecoderTest, NvjpegMakesAnotherCellThatNamesItsVersion) {
  const results::JobRow exact = by_libjpeg().jobs[0].row;
  const results::JobRow other = by_nvjpeg().jobs[0].row;
  EXPECT_NE(other.identity, exact.identity);
  EXPECT_NE(other.evaluation, exact.evaluation);
  EXPECT_NE(other.dataset_fingerprint, exact.dataset_fingerprint);
  EXPECT_EQ(other.dataset_name, "val (nvJPEG 13.3.2)");
  EXPECT_THAT(other.config_json, HasSubstr(R"("decoder":"nvJPEG 13.3.2")"));
  EXPECT_EQ(exact.dataset_name, "val");
  EXPECT_THAT(exact.config_json, Not(HasSubstr("decoder")));
}

TEST_F(DecoderTest, SayingLibjpegSaysNothingNew) {
  EXPECT_EQ(plan({"dataset.decoder=libjpeg"}).jobs[0].row.identity,
            by_libjpeg().jobs[0].row.identity);
}

TEST_F(DecoderTest, BothCanStandInOneExperiment) {
  const std::string text =
      R"({"datasets": {"a": {"format": "image_folder", "images": "val"},
                       "b": {"format": "image_folder", "images": "val", "decoder": "nvjpeg"}},
          "checkpoints": {"sqnxt23_w2": "weights.safetensors"},
          "matrix": {"model": "sqnxt23_w2", "bits": "w4", "dataset": ["a", "b"]}})";
  const Plan both = make_plan(parse_experiment(text, (*folder_ / "e.json").string()), {});
  EXPECT_EQ(both.jobs.size(), 2u);
  EXPECT_EQ(both.datasets[1].spec.decoder_version, "13.3.2");
}

TEST_F(DecoderTest, WorkersWithoutGpuAreRefusedBeforeAnythingRuns) {
  EXPECT_EQ(error_of([] { check_decoders(by_nvjpeg(), "cpu", false); }),
            "the data set 'val (nvJPEG 13.3.2)' has the decoder nvjpeg, which works on the GPUs of "
            "workers, and here they work on the CPU: give --device cuda, which says what is "
            "missing, or take the decoder libjpeg");
  check_decoders(by_nvjpeg(), "cuda", false);
  check_decoders(by_libjpeg(), "cpu", true);
}

TEST_F(DecoderTest, ImagesThatArePackedAreRefused) {
  EXPECT_THAT(error_of([] { check_decoders(by_nvjpeg(), "cuda", true); }),
              HasSubstr("--broadcast-images"));
}

TEST_F(DecoderTest, TheUserIsToldThatPixelsDiffer) {
  EXPECT_THAT(decoder_notice(by_nvjpeg()),
              AllOf(HasSubstr("val (nvJPEG 13.3.2)"), HasSubstr("Its pixels differ")));
  EXPECT_EQ(decoder_notice(by_libjpeg()), "");
}

}  // namespace
}  // namespace squant::runner
