// squant-results report, as a user calls it, and the page it makes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "results/report.h"
#include "tests/results/program_fixture.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class ReportTest : public ProgramTest {
 protected:
  // One run over float, w4a4 and w3 in two modes, prepared and evaluated.
  void add_run(const std::string& model) {
    const auto store = Store::open_writer(folder_.path("results.sqlite"));
    const std::int64_t id = begin_sample_run(*store, "the <first> & \"best\"");
    std::vector<Store::PlannedJob> jobs = {
        {sample_job(model, "float", "float"), ReferenceValue{72, 0.2, "table 1", 72}}};
    for (const char* bits : {"w4a4", "w3"}) {
      for (const char* mode : {"squant-e", "squant"}) {
        jobs.push_back({sample_job(model, bits, mode), ReferenceValue{66, 0.2, "table 1", 72}});
      }
    }
    store->add_jobs(id, jobs);
    for (const auto& planned : jobs) {
      store->add_preparation(sample_preparation(planned.job, id));
      const bool is_float = planned.job.weight_bits == 0;
      store->commit_tiles(sample_tiles(planned.job, id,
                                       is_float                       ? 180
                                       : planned.job.mode == "squant" ? 165
                                                                      : 120));
    }
    store->finish_run(id, 0);
  }
  void add_failure(const std::string& model, const std::string& reason) {
    const auto store = Store::open_writer(folder_.path("results.sqlite"));
    const std::int64_t id = begin_sample_run(*store);
    const JobRow job = sample_job(model, "w6a6", "squant");
    store->add_jobs(id, std::vector<Store::PlannedJob>{{job, {}}});
    store->add_failure({job.identity, id, 0, reason, "", "2026-01-31T12:00:00.000Z"});
  }
  std::string page(const ReportOptions& options = {}) {
    return report_page(*Connection::open_reader(folder_.path("results.sqlite")), options);
  }
  // What tests/results/check_page.py has to say.
  Answer check(const std::string& text) {
    std::ofstream(folder_.path("page.html"), std::ios::binary) << text;
    return run_command("python3 " SQUANT_SOURCE_DIR "/tests/results/check_page.py '" +
                       folder_.path("page.html") + "'");
  }
};

TEST_F(ReportTest, PageIsWholeAndShowsEverySection) {
  add_run("resnet18");
  const std::string text = page();
  const Answer checked = check(text);
  EXPECT_EQ(checked.code, 0) << checked.text;
  EXPECT_THAT(checked.text, StartsWith("6 drawings, "));
  for (const char* id :
       {"results", "accuracy", "ablation", "time", "layers", "timeline", "origin"}) {
    EXPECT_THAT(text, HasSubstr("<section id=\"" + std::string(id) + "\"")) << id;
  }
  EXPECT_THAT(text, HasSubstr("5 jobs: 3 pass, 2 fail; 1,000 images each"));
  EXPECT_THAT(text, HasSubstr("w4a4 squant-e 24.00, squant 6.00")) << "points lost against float";
  EXPECT_THAT(text, HasSubstr("ZeroQ 38 s, GDFQ 1.70 h")) << "the paper's times of resnet18";
}

TEST_F(ReportTest, NoNameCanBreakThePage) {
  const std::string hostile = "</style><script>alert(1)</script>]]>&amp;'\" größe \xff\x01";
  add_run(hostile);
  add_failure(hostile, "<img src=x onerror=alert(1)>\n\"quoted\"");
  const std::string text = page();
  const Answer checked = check(text);
  EXPECT_EQ(checked.code, 0) << checked.text;
  EXPECT_THAT(text, Not(HasSubstr("<script")));
  EXPECT_THAT(text,
              HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;]]&gt;&amp;amp;&#39;&quot; größe"));
  EXPECT_THAT(text, HasSubstr("&lt;img src=x onerror=alert(1)&gt;"));
}

TEST_F(ReportTest, ADatabaseWithoutResultsIsAPageToo) {
  { Store::open_writer(folder_.path("results.sqlite")); }
  EXPECT_EQ(check(page()).code, 0);
  EXPECT_THAT(page(), HasSubstr("No job fits."));
}

TEST_F(ReportTest, SelectionLimitsThePage) {
  add_run("resnet18");
  add_run("resnet50");
  ReportOptions options;
  options.selection.where = {"model=resnet50", "bits=w4a4"};
  const std::string text = page(options);
  EXPECT_EQ(check(text).code, 0);
  EXPECT_THAT(text, AllOf(HasSubstr("2 jobs: 1 pass, 1 fail"),
                          HasSubstr("model=resnet50, bits=w4a4, as it was on")));
  EXPECT_THAT(text, Not(HasSubstr("Workers of run 1 "))) << "the run of the other model";
}

TEST_F(ReportTest, TheFileIsWrittenAsAWholeOrNotAtAll) {
  add_run("resnet18");
  EXPECT_EQ(run("report -o page.html").text, "");
  const std::string first = read_file(folder_.path("page.html"));
  EXPECT_THAT(first, AllOf(StartsWith("<!DOCTYPE html>"), EndsWith("</html>\n")));
  EXPECT_EQ(run("report --out - | head -c 15").text, "<!DOCTYPE html>");
  std::ofstream(folder_.path("page.html")) << "old";
  for (const char* arguments :
       {"report -o page.html --where model=", "report -o page.html --run 7",
        "report -o page.html --times nothing.json", "report -o page.html --db nothing.sqlite"}) {
    EXPECT_EQ(run(arguments).code, 2) << arguments;
  }
  EXPECT_EQ(read_file(folder_.path("page.html")), "old");
  const Answer no_folder = run("report -o no/such/folder/page.html");
  EXPECT_EQ(no_folder.code, 2);
  EXPECT_EQ(
      no_folder.text,
      "squant-results: no/such/folder/page.html: cannot write it: No such file or directory\n");
  EXPECT_EQ(run("report -o .").text, "squant-results: .: cannot write it: Is a directory\n");
  EXPECT_EQ(run("report -o /dev/full").text,
            "squant-results: /dev/full: cannot write it: No space left on device\n");
  EXPECT_EQ(run_command("ls '" + folder_.folder().string() + "' | grep -v sqlite").text,
            "page.html\n")
      << "nothing is left lying about";
}

TEST_F(ReportTest, TimesOfOtherMethodsComeFromAFileOnRequest) {
  add_run("resnet18");
  std::ofstream(folder_.path("times.json"))
      << R"({"source": "ours", "values": [{"model": "resnet18", "layers": 21, "another_s": 90}]})";
  EXPECT_EQ(run("report -o page.html --times times.json").text, "");
  EXPECT_THAT(read_file(folder_.path("page.html")),
              AllOf(HasSubstr("another 90 s"), Not(HasSubstr("ZeroQ"))));
  std::ofstream(folder_.path("times.json"))
      << R"({"source": "x", "values": [{"model": "a", "x_ms": -1}]})";
  EXPECT_EQ(run("report -o page.html --times times.json").text,
            "squant-results: times.json: x_ms: must be a number above 0\n");
  std::ofstream(folder_.path("times.json")) << "[]";
  EXPECT_THAT(run("report -o page.html --times times.json").text,
              StartsWith("squant-results: times.json: no file of times"));
}

TEST_F(ReportTest, EveryDocumentedCommandRuns) {
  add_run("resnet18");
  std::istringstream lines(read_file(SQUANT_SOURCE_DIR "/docs/report.md"));
  int num_commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("squant-results ")) continue;
    ++num_commands;
    const Answer answer = run(line.substr(line.find(' ') + 1));
    EXPECT_EQ(answer.code, 0) << line << '\n' << answer.text;
    EXPECT_EQ(answer.text, "") << line;
  }
  EXPECT_GE(num_commands, 5);
}

}  // namespace
}  // namespace squant::results
