// The small parts of squant-sweep: command line, shares of a host, progress.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "runner/cores.h"
#include "runner/options.h"
#include "runner/progress.h"
#include "runner/provenance.h"

namespace squant::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(OptionsTest, RepeatedOptionsTakeOneValueEach) {
  const ParsedOptions parsed =
      parse_options({"squant-sweep", "--only", "model=a", "--only", "bits=w4,w3", "--set",
                     "matrix.bits=[\"w4\",\"w3\"]", "exp.json", "--images", "500"});
  ASSERT_TRUE(parsed.options) << parsed.err;
  EXPECT_EQ(parsed.options->experiment, "exp.json");
  EXPECT_THAT(parsed.options->only, ElementsAre("model=a", "bits=w4,w3"));
  EXPECT_THAT(parsed.options->set, ElementsAre("matrix.bits=[\"w4\",\"w3\"]"));
  EXPECT_EQ(parsed.options->images, 500);
  EXPECT_EQ(parsed.options->db, "results.sqlite");
}

TEST(OptionsTest, WrongUseEndsWithCodeTwoAndNamesTheOption) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"a.json", "b.json"},
      {"a.json", "--images", "0"},
      {"a.json", "--images", "5x"},
      {"a.json", "--threads", "-1"},
      {"a.json", "--device", "tpu"},
      {"a.json", "--time-budget", "-5"},
      {"a.json", "--quiet", "--verbose"},
      {"a.json", "--broadcast", "tcp"},
      {"a.json", "--unknown"},
  };
  for (std::vector<std::string> arguments : wrong) {
    arguments.insert(arguments.begin(), "squant-sweep");
    const ParsedOptions parsed = parse_options(arguments);
    EXPECT_FALSE(parsed.options) << shell_line(arguments);
    EXPECT_EQ(parsed.exit_code, 2) << shell_line(arguments);
    EXPECT_THAT(parsed.err, testing::StartsWith("squant-sweep: ")) << shell_line(arguments);
  }
}

TEST(OptionsTest, BroadcastsOverNcclAreRefusedBetweenCpus) {
  Options options;
  for (const char* way : {"auto", "mpi", "off"}) {
    options.broadcast = way;
    EXPECT_NO_THROW(check_broadcast(options)) << way;
  }
  options.broadcast = "nccl";
  EXPECT_THROW(check_broadcast(options), std::invalid_argument);
}

TEST(OptionsTest, HelpAndVersionAreNoErrors) {
  const ParsedOptions help = parse_options({"squant-sweep", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--retry-failed"));
  const ParsedOptions version = parse_options({"squant-sweep", "--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, HasSubstr("squant-sweep "));
}

TEST(ProvenanceTest, ACommandLineCanBePastedBack) {
  EXPECT_EQ(shell_line({"squant-sweep", "a b.json", "--where", "mode!=squant", "it's", ""}),
            "squant-sweep 'a b.json' --where 'mode!=squant' 'it'\\''s' ''");
}

TEST(CoresTest, ListsReadAndWriteAsTheKernelDoes) {
  EXPECT_EQ(cpus_text({0, 1, 2, 5, 8, 9}), "0-2,5,8-9");
  EXPECT_EQ(parse_cpus("0-2,5,8-9"), (CpuSet{0, 1, 2, 5, 8, 9}));
  EXPECT_EQ(cpus_text({}), "");
  EXPECT_TRUE(parse_cpus("").empty());
  for (const char* bad : {"a", "1-", "-1", "1,,2", "99999999"})
    EXPECT_THROW(parse_cpus(bad), std::invalid_argument) << bad;
  EXPECT_FALSE(allowed_cpus().empty());
}

TEST(CoresTest, WorkersShareTheProcessorsTheyHaveInCommon) {
  const CpuSet all = parse_cpus("0-15");
  EXPECT_EQ(thread_share(all, {all}, 0), 16);
  EXPECT_EQ(thread_share(all, {all, all, all}, 0), 5);
  const CpuSet low = parse_cpus("0-7");
  const CpuSet high = parse_cpus("8-15");
  EXPECT_EQ(thread_share(low, {low, high}, 0), 8) << "bound apart";
  EXPECT_EQ(thread_share({3}, {{3}, {3}}, 0), 1) << "never none";
  EXPECT_EQ(thread_share(all, {all, all}, 6), 3) << "a container's quota counts";
}

TEST(ProgressTest, LinesFitTheTerminalAndFailuresAreAlwaysAmongThem) {
  SweepView view;
  for (int i = 0; i < 100; ++i)
    view.rows.push_back({"model" + std::to_string(i), RowView::State::kWaiting, 1000, 0, 0});
  view.rows[90] = {"broken", RowView::State::kFailed, 1000, 500, 400};
  view.jobs_total = 100;
  view.evaluations_total = 100000;
  const auto lines = live_lines(view, 60, 20);
  EXPECT_LE(lines.size(), 20U);
  bool shown = false;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 60U);
    shown = shown || line.starts_with("broken");
  }
  EXPECT_TRUE(shown);
  EXPECT_THAT(lines[lines.size() - 2], HasSubstr("and 83 more"));
}

TEST(ProgressTest, ARowShowsItsIntervalAndTheSummaryWhatIsLeft) {
  SweepView view;
  view.rows.push_back({"resnet18 w4a4", RowView::State::kRunning, 10000, 5000, 3300});
  view.jobs_total = 1;
  view.evaluations = 5000;
  view.evaluations_total = 10000;
  view.images_per_s = 1234;
  view.workers = view.workers_busy = 3;
  view.remaining_s = 200;
  const auto lines = live_lines(view, 100, 24);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], HasSubstr(" 50%  top-1  66.00 [ 64.7  67.3]  running"));
  EXPECT_EQ(lines[1],
            "0/1 jobs  5,000/10,000 evaluations  1,234 images/s  3 of 3 workers busy  about 3 min "
            "20 s left");
}

TEST(ProgressTest, NumbersReadWell) {
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(-1000), "-1,000");
  EXPECT_EQ(duration_text(0.24), "0.2 s");
  EXPECT_EQ(duration_text(9.99), "10 s");
  EXPECT_EQ(duration_text(59.7), "1 min 00 s");
  EXPECT_EQ(duration_text(7500), "2 h 05 min");
}

}  // namespace
}  // namespace squant::runner
