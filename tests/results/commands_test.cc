// squant-results as a user calls it: the program itself, on databases made here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "results/store.h"
#include "tests/results/program_fixture.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class CommandsTest : public ProgramTest {
 protected:
  // A run over these jobs, each with `num_top1` right in each tile of 250 and a reference of 66%
  // within 0.2.
  std::int64_t add_run(const std::string& name, const std::vector<JobRow>& jobs,
                       std::int64_t num_top1) {
    const auto store = Store::open_writer(folder_.path(name));
    const std::int64_t id = begin_sample_run(*store, "table1");
    std::vector<Store::PlannedJob> planned;
    for (const JobRow& job : jobs) planned.push_back({job, ReferenceValue{66, 0.2, "table 1", {}}});
    store->add_jobs(id, planned);
    for (const JobRow& job : jobs) {
      if (num_top1 >= 0) store->commit_tiles(sample_tiles(job, id, num_top1));
    }
    store->finish_run(id, 0);
    return id;
  }
  JobRow exact_ = sample_job("resnet18", "w4a4", "squant");
  JobRow inexact_ = sample_job("resnet18", "w4", "squant");
};

TEST_F(CommandsTest, HelpNamesEveryCommandAndWrongUseIsExitCodeTwo) {
  const Answer help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"show", "compare", "query", "runs", "status", "report", "export",
                              "merge", "explain", "doctor"}) {
    EXPECT_THAT(help.text, HasSubstr(std::string("\n  ") + command)) << command;
    EXPECT_EQ(run(std::string(command) + " --help").code, 0) << command;
  }
  EXPECT_THAT(run("--version").text, AllOf(StartsWith("squant-results "), HasSubstr("schema 3")));
  EXPECT_EQ(run("").code, 2);
  EXPECT_EQ(run("shwo").code, 2);
  EXPECT_EQ(run("show --frmat csv").code, 2);
  EXPECT_EQ(run("show --format xml").code, 2);
  const Answer missing = run("show");
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.text,
              HasSubstr("results.sqlite: cannot open the results database: there is no such file"));
}

TEST_F(CommandsTest, ShowFiltersByColumnsAndRuns) {
  add_run("results.sqlite", {exact_, inexact_}, 165);
  add_run("results.sqlite", {sample_job("resnet50", "w4a4", "squant")}, 150);
  EXPECT_THAT(run("show").text, HasSubstr("\n3 jobs: 2 pass, 1 fail; 1,000 images each\n"));
  EXPECT_THAT(run("show --where bits=w4a4,w8a8").text, HasSubstr("\n2 jobs:"));
  EXPECT_THAT(run("show --where bits=w4a4 --where model!=resnet50").text,
              HasSubstr("\n1 job: 1 pass"));
  EXPECT_THAT(run("show --where sigma=12").text, HasSubstr("\n2 jobs:"));
  EXPECT_THAT(run("show --run 1").text, HasSubstr("\n2 jobs: 2 pass"));
  EXPECT_THAT(run("show --run last --where verdict=fail").text, HasSubstr("\n1 job: 1 fail"));
  EXPECT_THAT(run("show --where digest!=x").text,
              HasSubstr("\n3 jobs:"));  // also where there is none
  const Answer unknown = run("show --where modl=resnet18");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.text,
              HasSubstr("the view results has no column 'modl'; did you mean 'model'?"));
  EXPECT_EQ(run("show --where model").code, 2);
  const Answer two = run("show --where model=resnet18,bits=w4a4");
  EXPECT_EQ(two.code, 2);
  EXPECT_THAT(two.text, HasSubstr("write --where bits=w4a4 beside the other one"));
  EXPECT_EQ(run("show --run 9").code, 2);
  EXPECT_EQ(run("show --run newest").code, 2);
}

TEST_F(CommandsTest, ShowOfARunJudgesByThatRunsReference) {
  add_run("results.sqlite", {exact_}, 165);
  {
    const auto store = Store::open_writer(folder_.path("results.sqlite"));
    const std::int64_t id = begin_sample_run(*store);
    store->add_jobs(
        id, std::vector<Store::PlannedJob>{{exact_, ReferenceValue{70, 0.2, "table 2", {}}}});
  }
  EXPECT_THAT(run("show").text, HasSubstr("70.00 (-4.00)  fail"));
  EXPECT_THAT(run("show --run 1").text, HasSubstr("66.00 (+0.00)  pass"));
  EXPECT_THAT(run("show --run 1 --where verdict=pass").text, HasSubstr("\n1 job: 1 pass"));
}

TEST_F(CommandsTest, QueryReadsAndNothingElse) {
  add_run("results.sqlite", {exact_}, 165);
  EXPECT_EQ(run("query 'SELECT model, num_top1 FROM results' --format csv").text,
            "model,num_top1\nresnet18,660\n");
  EXPECT_EQ(run("query \"SELECT x'00ff' AS a, NULL AS b, 0.5 AS c\" --format json").text,
            "[\n  {\"a\": \"x'00ff'\", \"b\": null, \"c\": 0.5}\n]\n");
  EXPECT_EQ(run("query 'PRAGMA user_version' --format csv").code, 0);
  EXPECT_EQ(run("query 'WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT 3) "
                "SELECT sum(i) FROM c'"
                " --format csv")
                .text,
            "sum(i)\n6\n");
  for (const char* sql :
       {"DELETE FROM job", "UPDATE run SET user = 1", "DROP VIEW results", "CREATE TABLE t (a)",
        "ATTACH 'other.sqlite' AS o", "PRAGMA user_version = 7", "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint", "VACUUM INTO 'copy.sqlite'", "BEGIN", "SELECT 1; DELETE FROM job",
        "SELEC 1", "", "-- nothing", "SELECT load_extension('x')"}) {
    const Answer answer = run(std::string("query \"") + sql + "\"");
    EXPECT_EQ(answer.code, 2) << sql << '\n' << answer.text;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path("other.sqlite")));
  EXPECT_FALSE(std::filesystem::exists(folder_.path("copy.sqlite")));
  EXPECT_EQ(plain_sql(folder_.path("results.sqlite"), "SELECT count(*) FROM job"), "1");
}

TEST_F(CommandsTest, StatusTellsAScriptWhatToDo) {
  add_run("results.sqlite", {exact_, inexact_}, 165);
  EXPECT_EQ(run("status").code, 0);
  add_run("results.sqlite", {sample_job("resnet50", "w4a4", "squant")}, 150);
  EXPECT_EQ(run("status").code, 1);
  EXPECT_EQ(run("status --run 1").code, 0);
  EXPECT_EQ(run("status --run all").code, 1);
  add_run("results.sqlite", {sample_job("vgg", "w4a4", "squant")}, -1);
  const Answer left = run("status --format csv");
  EXPECT_EQ(left.code, 3);
  EXPECT_EQ(left.text,
            "run,experiment,started,state,jobs,pass,fail,inconclusive,no reference,failed,left\n"
            "3,table1,2026-01-31T12:00:00,finished,1,0,0,0,0,0,1\n");
  EXPECT_EQ(run("status --run all").code, 3);
}

TEST_F(CommandsTest, FailedJobIsNotWorkLeftButExitCodeOne) {
  {
    const auto store = Store::open_writer(folder_.path("results.sqlite"));
    const std::int64_t id = begin_sample_run(*store);
    store->add_jobs(id, std::vector<Store::PlannedJob>{{exact_, {}}});
    store->add_failure({exact_.identity, id, 0, "out of memory", "", ""});
    EXPECT_THAT(run("status").text, HasSubstr("running"));
  }
  EXPECT_EQ(run("status").code, 1);
  EXPECT_THAT(run("status").text, HasSubstr("stopped"));
  const Answer doctor = run("doctor");
  EXPECT_EQ(doctor.code, 3);
  EXPECT_THAT(
      doctor.text,
      HasSubstr("1 jobs miss 4 tiles (1,000 images), 1 of them failed; to go on: squant-sweep "
                "experiments/sample.json --retry-failed"));
}

TEST_F(CommandsTest, RunsListsEveryStart) {
  add_run("results.sqlite", {exact_}, 165);
  EXPECT_THAT(run("runs").text,
              AllOf(HasSubstr("table1"), HasSubstr("1/1"), HasSubstr("01234567")));
  const auto parsed = nlohmann::json::parse(run("runs --format json").text);
  EXPECT_EQ(parsed.at(0)["command_line"], "squant-sweep experiments/table1.json");
}

TEST_F(CommandsTest, EqualDatabasesCompareEqual) {
  add_run("a.sqlite", {exact_, inexact_}, 165);
  add_run("b.sqlite", {inexact_, exact_}, 165);
  const Answer answer = run("compare a.sqlite b.sqlite --format csv");
  EXPECT_EQ(answer.code, 0);
  EXPECT_EQ(answer.text,
            "model,bits,mode,A top-1 %,B top-1 %,difference,A alone,B alone,test,p,digest,outcome,"
            "differs in\n"
            "resnet18,w4a4,squant,66.00,66.00,+0.00,,,,,equal,equal,\n"
            "resnet18,w4,squant,66.00,66.00,+0.00,,,,,,equal,\n");
}

TEST_F(CommandsTest, OtherDigestOfTheSameJobIsNeverWithinTolerance) {
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {exact_}, 165);
  ASSERT_EQ(plain_sql(folder_.path("b.sqlite"),
                      "UPDATE total SET digest = '" + std::string(32, '1') + "'"),
            "");
  const Answer answer = run("compare a.sqlite b.sqlite --tolerance 50");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text, AllOf(HasSubstr("differs"), HasSubstr("OTHER BITS")));
}

TEST_F(CommandsTest, FloatResultsOfTheSameJobMayDifferByTheTolerance) {
  add_run("a.sqlite", {inexact_}, 165);
  add_run("b.sqlite", {inexact_}, 166);  // 0.4 more
  EXPECT_EQ(run("compare a.sqlite b.sqlite").code, 1);
  EXPECT_EQ(run("compare a.sqlite b.sqlite --tolerance 0.4").code, 0);
}

TEST_F(CommandsTest, OtherJobsOfTheSameCellAreComparedWithWhatDiffers) {
  JobRow other = exact_;
  other.identity = "another job";
  other.evaluation = "another evaluation";
  other.rounding = "paper";
  other.checkpoint_sha256 = "sha256 of other weights";
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {other}, 165);
  const Answer answer = run("compare a.sqlite b.sqlite --format csv");
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.text,
              HasSubstr("+0.00,0,0,paired,1.0000,equal,within,\"checkpoint, rounding\"\n"));
}

// The same first images are right in every tile, so that the larger number of right ones has all of
// the smaller.
TEST_F(CommandsTest, DifferencesAreTestedImageByImageWhereTheyCanBe) {
  add_run("a.sqlite", {inexact_}, 165);
  add_run("b.sqlite", {inexact_}, 166);
  const Answer paired = run("compare a.sqlite b.sqlite --format csv");
  // 4 discordant images, all on one side: half of 2 / 16.
  EXPECT_THAT(paired.text, HasSubstr("66.00,66.40,+0.40,0,4,paired,0.0625,,outside,\n"));
  EXPECT_THAT(run("compare a.sqlite b.sqlite").text,
              HasSubstr("1 compared, 1 not in agreement; 0 differ by more than chance (p < 0.05)"));
  add_run("c.sqlite", {inexact_}, 168);
  EXPECT_THAT(run("compare a.sqlite c.sqlite").text,
              HasSubstr("1 differs by more than chance (p < 0.05)"));
  ASSERT_EQ(plain_sql(folder_.path("b.sqlite"), "UPDATE tile SET outcomes = NULL WHERE first = 0"),
            "");
  // 660 and 664 of 1,000: pooled 0.662, standard error 0.021155, z 0.18908, p 0.8500.
  EXPECT_THAT(run("compare a.sqlite b.sqlite --format csv").text,
              HasSubstr("66.00,66.40,+0.40,,,counts,0.8500,,outside,\n"));
}

TEST_F(CommandsTest, OtherImagesAreNotPaired) {
  JobRow other = inexact_;
  other.identity = "another job";
  other.evaluation = "another evaluation";
  other.dataset_fingerprint = "fingerprint of others";
  add_run("a.sqlite", {inexact_}, 165);
  add_run("b.sqlite", {other}, 165);
  EXPECT_THAT(run("compare a.sqlite b.sqlite --format csv").text,
              HasSubstr("+0.00,,,counts,1.0000,,within,dataset\n"));
}

TEST_F(CommandsTest, ReferencesAreTestedByCounts) {
  add_run("results.sqlite", {exact_}, 165);
  std::ofstream(folder_.path("paper.json"))
      << R"({"values": [{"model": "resnet18", "bits": "w4a4", "mode": "squant", "top1": 70}]})";
  // 660 and 700 of 1,000: pooled 0.68, standard error 0.020861, z 1.9174, p 0.0552.
  EXPECT_THAT(run("compare results.sqlite paper.json --format csv").text,
              HasSubstr("66.00,70.00,-4.00,counts,0.0552,outside\n"));
}

TEST_F(CommandsTest, ComparisonWithANewerDatabaseIsRefused) {
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {exact_}, 165);
  ASSERT_EQ(plain_sql(folder_.path("b.sqlite"), "PRAGMA user_version = 4"), "");
  const Answer answer = run("compare a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.text, HasSubstr("its schema version is 4, this program knows 3"));
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr const char* kVersionOne = SQUANT_SOURCE_DIR "/tests/data/results/version1";

// What the program of that time showed, and the column that came since, empty.
std::string shown_of_version_one() {
  std::istringstream lines(contents(std::string(kVersionOne) + ".csv"));
  std::string shown;
  for (std::string line; std::getline(lines, line);) {
    shown += line + (shown.empty() ? ",quantize_device\n" : ",\n");
  }
  return shown;
}

// As root nothing is unwritable, so that it is checked what is written as well.
TEST_F(CommandsTest, OlderDatabaseInAFolderThatIsNotWritableShowsWhatItsOwnProgramShowed) {
  namespace fs = std::filesystem;
  const fs::path folder = folder_.path("old");
  fs::create_directory(folder);
  fs::copy_file(std::string(kVersionOne) + ".sqlite", folder / "v1.sqlite");
  const std::string before = contents(folder / "v1.sqlite");
  fs::permissions(folder / "v1.sqlite", fs::perms::owner_read);
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(run("show --db old/v1.sqlite --format csv").text, shown_of_version_one());
  EXPECT_THAT(run("query --db old/v1.sqlite 'SELECT count(*) FROM classes' --format csv").text,
              HasSubstr("\n0\n"));
  EXPECT_EQ(run("status --db old/v1.sqlite").code, 3);
  fs::permissions(folder, fs::perms::owner_all);
  EXPECT_EQ(contents(folder / "v1.sqlite"), before);
}

TEST_F(CommandsTest, OlderDatabaseIsMergedAndComparedAndMigratedOnRequest) {
  namespace fs = std::filesystem;
  fs::copy_file(std::string(kVersionOne) + ".sqlite", folder_.path("v1.sqlite"));
  EXPECT_EQ(run("merge new.sqlite v1.sqlite").text,
            "v1.sqlite: 2 runs, 8 jobs, 11 tiles were new\n");
  EXPECT_EQ(plain_sql(folder_.path("v1.sqlite"), "PRAGMA user_version"), "1");
  EXPECT_EQ(run("compare new.sqlite v1.sqlite").code, 0)
      << run("compare new.sqlite v1.sqlite").text;
  EXPECT_EQ(run("doctor --db v1.sqlite --migrate").code, 3);
  EXPECT_EQ(plain_sql(folder_.path("v1.sqlite"), "PRAGMA user_version"), "3");
  EXPECT_EQ(run("show --db v1.sqlite --format csv").text, shown_of_version_one());
}

TEST_F(CommandsTest, RowsOfOneSideCountUnlessOnlyCommonOnesAreAskedFor) {
  add_run("a.sqlite", {exact_, inexact_}, 165);
  add_run("b.sqlite", {exact_, sample_job("resnet50", "w4", "squant")}, 165);
  const Answer answer = run("compare a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text, AllOf(HasSubstr("only in A"), HasSubstr("only in B")));
  EXPECT_EQ(run("compare a.sqlite b.sqlite --common").code, 0);
}

TEST_F(CommandsTest, RunsOfOneDatabaseAndReferencesAreCompared) {
  add_run("results.sqlite", {exact_}, 165);
  add_run("results.sqlite", {exact_}, 165);
  EXPECT_EQ(run("compare @1 @last").code, 0);
  EXPECT_EQ(run("compare results.sqlite@1 @2").code, 0);
  EXPECT_EQ(run("compare @1 @3").code, 2);
  EXPECT_EQ(run("compare @last paper").code, 0);
  std::ofstream(folder_.path("paper.json"))
      << R"({"values": [{"model": "resnet18", "bits": "w4a4", "mode": "squant", "top1": 66.5}]})";
  EXPECT_EQ(run("compare results.sqlite paper.json").code, 1);
  EXPECT_EQ(run("compare paper.json results.sqlite --tolerance 0.5").code, 0);
  EXPECT_EQ(run("compare paper paper.json").code, 2);
}

TEST_F(CommandsTest, ComparisonWithAViewOfUnknownColumnsIsRefused) {
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {exact_}, 165);
  ASSERT_EQ(plain_sql(folder_.path("b.sqlite"), "DROP VIEW results"), "");
  ASSERT_EQ(plain_sql(folder_.path("b.sqlite"), "CREATE VIEW results AS SELECT 1 AS surprise"), "");
  const Answer answer = run("compare a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.text, HasSubstr("a column this program does not know: surprise"));
}

TEST_F(CommandsTest, ExportWritesFilesInEveryFormat) {
  add_run("results.sqlite", {exact_}, 150);
  for (const char* format : {"csv", "json", "markdown", "latex", "junit", "table"}) {
    const std::string file = std::string("out.") + format;
    EXPECT_EQ(run("export --format " + std::string(format) + " -o " + file).text, "");
    std::ifstream stream(folder_.path(file));
    EXPECT_EQ(std::string((std::istreambuf_iterator<char>(stream)), {}),
              run("export --format " + std::string(format)).text);
  }
  const Answer junit = run_command("python3 " SQUANT_SOURCE_DIR "/tests/results/check_junit.py '" +
                                   folder_.path("out.junit") + "'");
  EXPECT_EQ(junit.code, 0) << junit.text;
  EXPECT_THAT(junit.text, HasSubstr("1 failure"));
  EXPECT_THAT(run("export --format junit").text, HasSubstr("<failure type=\"fail\""));
  EXPECT_EQ(run("export -o no/such/folder/out.csv").code, 2);
}

TEST_F(CommandsTest, LatexCompiles) {
  if (run_command("command -v pdflatex && kpsewhich booktabs.sty").code != 0) {
    GTEST_SKIP() << "no pdflatex with booktabs here";
  }
  add_run("results.sqlite", {exact_, sample_job("sqnxt23_w2 100% & #1", "w8a8", "squant")}, 150);
  std::ofstream(folder_.path("main.tex")) << "\\documentclass{article}\\usepackage{booktabs}"
                                             "\\begin{document}\\input{table}\\end{document}\n";
  EXPECT_EQ(run("export --format latex -o table.tex").text, "");
  const Answer compiled =
      run_command("cd '" + folder_.folder().string() +
                  "' && pdflatex -interaction=nonstopmode -halt-on-error main.tex");
  EXPECT_EQ(compiled.code, 0) << compiled.text;
}

TEST_F(CommandsTest, MergeBringsTogetherAndFindsDuplicates) {
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {exact_, inexact_}, 165);
  {
    const auto store = Store::open_writer(folder_.path("b.sqlite"));
    store->add_preparation(sample_preparation(exact_, 1));
  }
  EXPECT_EQ(run("merge all.sqlite a.sqlite b.sqlite").text,
            "a.sqlite: 1 runs, 1 jobs, 4 tiles were new\n"
            "b.sqlite: 1 runs, 1 jobs, 4 tiles were new\n");
  EXPECT_EQ(run("merge all.sqlite a.sqlite b.sqlite").text,
            "a.sqlite: 0 runs, 0 jobs, 0 tiles were new\n"
            "b.sqlite: 0 runs, 0 jobs, 0 tiles were new\n");
  EXPECT_EQ(run("compare all.sqlite b.sqlite").code, 0);
  EXPECT_EQ(run("doctor --db all.sqlite").code, 0);
  const std::string all = folder_.path("all.sqlite");
  EXPECT_EQ(plain_sql(all, "SELECT count(*) FROM layers"), "2");
  EXPECT_EQ(plain_sql(all, "SELECT group_concat(verdict) FROM results"), "pass,pass");
  EXPECT_EQ(plain_sql(all, "SELECT group_concat(DISTINCT run_id) FROM provenance"), "1,2");
}

TEST_F(CommandsTest, MergeCompletesAJobFromTwoHalves) {
  for (const int half : {0, 1}) {
    const auto store = Store::open_writer(folder_.path(half == 0 ? "a.sqlite" : "b.sqlite"));
    const std::int64_t id = begin_sample_run(*store);
    store->add_jobs(
        id, std::vector<Store::PlannedJob>{{exact_, ReferenceValue{66, 0.2, "table 1", {}}}});
    const auto tiles = sample_tiles(exact_, id, 165);
    store->commit_tiles(std::span(tiles).subspan(half == 0 ? 0 : 2, 2));
  }
  EXPECT_EQ(run("merge a.sqlite b.sqlite").code, 0);
  EXPECT_EQ(plain_sql(folder_.path("a.sqlite"),
                      "SELECT num_top1 || ' ' || verdict || ' ' || digest FROM results"),
            "660 pass 00000000000005dc00000000000005dc");
}

TEST_F(CommandsTest, MergeTakesTheGridOfACompleteJob) {
  JobRow coarse = exact_;
  coarse.chunk = 500;
  add_run("a.sqlite", {coarse}, -1);
  add_run("b.sqlite", {exact_}, 165);
  EXPECT_EQ(run("merge a.sqlite b.sqlite").code, 0);
  EXPECT_EQ(plain_sql(folder_.path("a.sqlite"), "SELECT num_top1 || ' ' || chunk FROM results"),
            "660 250");
}

TEST_F(CommandsTest, MergeOfAnotherOutcomeIsLoudAndChangesNothing) {
  add_run("a.sqlite", {exact_}, 165);
  add_run("b.sqlite", {exact_, inexact_}, 165);
  ASSERT_EQ(
      plain_sql(folder_.path("b.sqlite"), "UPDATE tile SET digest = '" + std::string(32, '1') +
                                              "' WHERE first = 250 AND digest IS NOT NULL"),
      "");
  const Answer answer = run("merge a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(
      answer.text,
      AllOf(StartsWith("CONFLICT: b.sqlite has other results of the same jobs"),
            HasSubstr("resnet18 w4a4 squant, images [250, 500): here 165 top-1, digest 0000")));
  EXPECT_EQ(plain_sql(folder_.path("a.sqlite"),
                      "SELECT (SELECT count(*) FROM job) || ' ' || (SELECT count(*) FROM run)"),
            "1 1");
}

// A database with everything that is kept by image.
void add_images(const std::string& path, const JobRow& job, bool with_predictions) {
  const auto store = Store::open_writer(path);
  const std::int64_t id = begin_sample_run(*store);
  store->add_dataset(sample_dataset());
  store->add_jobs(id, std::vector<Store::PlannedJob>{{job, {}}});
  auto tiles = sample_tiles(job, id, 165);
  if (with_predictions) {
    for (auto& tile : tiles) set_predictions(tile);
  }
  store->commit_tiles(tiles);
}

TEST_F(CommandsTest, MergeBringsOutcomesPredictionsAndSumsByClass) {
  add_images(folder_.path("b.sqlite"), exact_, true);
  EXPECT_EQ(run("merge new.sqlite b.sqlite").code, 0);
  EXPECT_EQ(run("merge new.sqlite b.sqlite").code, 0);
  add_images(folder_.path("without.sqlite"), exact_, false);
  ASSERT_EQ(plain_sql(folder_.path("without.sqlite"), "UPDATE tile SET outcomes = NULL"), "");
  ASSERT_EQ(plain_sql(folder_.path("without.sqlite"), "DELETE FROM class_total"), "");
  EXPECT_EQ(run("merge without.sqlite b.sqlite").code, 0);
  for (const char* name : {"new.sqlite", "without.sqlite"}) {
    const std::string path = folder_.path(name);
    EXPECT_EQ(plain_sql(path, "SELECT sum(num_images) || ' ' || sum(num_top1) FROM classes"),
              "1000 660")
        << name;
    EXPECT_EQ(plain_sql(path, "SELECT count(*) || ' ' || sum(predicted = class) FROM images"),
              "1000 660")
        << name;
    EXPECT_EQ(run(std::string("doctor --db ") + name).code, 0) << name;
  }
}

TEST_F(CommandsTest, MergeOfTheSameDigestWithOtherImagesIsLoud) {
  const std::string here = folder_.path("a.sqlite");
  const std::string there = folder_.path("b.sqlite");
  add_images(here, exact_, true);
  add_images(there, exact_, true);
  ASSERT_EQ(plain_sql(there,
                      "UPDATE prediction SET classes = replace(classes, '[0,', '[5,')"
                      " WHERE first = 500"),
            "");
  Answer answer = run("merge a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text,
              HasSubstr("resnet18 w4a4 squant, images [500, 750): the same digest, but "
                        "other predictions"));
  ASSERT_EQ(
      plain_sql(there, "UPDATE tile SET outcomes = substr(outcomes, 2) || '1' WHERE first = 0"),
      "");
  answer = run("merge a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text, HasSubstr("resnet18 w4a4 squant, images [0, 250): the same counts and "
                                     "digest, but other images are right"));
  ASSERT_EQ(plain_sql(there, "UPDATE label SET class = 3 WHERE image = 7"), "");
  EXPECT_THAT(run("merge a.sqlite b.sqlite").text,
              HasSubstr("data set fingerprint of imagenet, image 7: class 7 here, 3 there"));
}

TEST_F(CommandsTest, MergeRefusesWhatIsInUseItselfOrNoDatabase) {
  add_run("a.sqlite", {exact_}, 165);
  EXPECT_EQ(run("merge a.sqlite a.sqlite").code, 2);
  EXPECT_EQ(run("merge a.sqlite nowhere.sqlite").code, 2);
  const auto store = Store::open_writer(folder_.path("a.sqlite"));
  add_run("b.sqlite", {exact_}, 165);
  const Answer answer = run("merge a.sqlite b.sqlite");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.text, HasSubstr("is being written by another squant-sweep"));
}

TEST_F(CommandsTest, MergeKeepsFailuresAndTheirState) {
  {
    const auto store = Store::open_writer(folder_.path("b.sqlite"));
    const std::int64_t id = begin_sample_run(*store);
    store->add_jobs(id, std::vector<Store::PlannedJob>{{exact_, {}}});
    store->add_failure({exact_.identity, id, 0, "out of memory", "tail", ""});
  }
  EXPECT_EQ(run("merge a.sqlite b.sqlite").code, 0);
  EXPECT_EQ(run("merge a.sqlite b.sqlite").code, 0);
  EXPECT_EQ(
      plain_sql(folder_.path("a.sqlite"), "SELECT group_concat(reason || log_tail) FROM failures"),
      "out of memorytail");
  EXPECT_EQ(plain_sql(folder_.path("a.sqlite"), "SELECT verdict FROM results"), "failed");
}

TEST_F(CommandsTest, ExplainNamesWhatDecidesAndWhoMadeIt) {
  add_run("a.sqlite", {exact_, inexact_}, 165);
  const Answer answer = run("explain 'resnet18 w4a4 squant' 'resnet18 w4 squant' --db a.sqlite");
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.text, HasSubstr("Two different jobs"));
  const Answer same = run("explain 'resnet18 w4a4 squant' job-resnet18-w4a4 --db a.sqlite");
  EXPECT_THAT(same.text, HasSubstr("One job, the same logits to the bit."));
  JobRow other = exact_;
  other.identity = "other identity";
  other.evaluation = "other evaluation";
  other.config_json = R"({"model":"resnet18","num_images":1000,"dataset":{"fingerprint":"ff"}})";
  add_run("b.sqlite", {other}, 165);
  EXPECT_THAT(run("explain 'resnet18 w4a4 squant' 'resnet18 w4a4 squant' --db a.sqlite --other-db "
                  "b.sqlite --format csv")
                  .text,
              HasSubstr("decides,dataset/fingerprint,,ff\n"));
  EXPECT_EQ(run("explain 'resnet18 w4a4 squant' 'vgg w4a4 squant' --db a.sqlite").code, 2);
  EXPECT_THAT(run("explain job- 'resnet18 w4 squant' --db a.sqlite").text, HasSubstr("ambiguous"));
}

TEST_F(CommandsTest, DoctorFindsSumsThatAreNotThoseOfTheTiles) {
  add_run("results.sqlite", {exact_}, 165);
  EXPECT_EQ(run("doctor").code, 0);
  ASSERT_EQ(plain_sql(folder_.path("results.sqlite"), "UPDATE total SET num_top1 = 661"), "");
  const Answer answer = run("doctor");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text, HasSubstr("stored 661 of 1000, its tiles say 660 of 1000"));
}

TEST_F(CommandsTest, DoctorFindsSumsByClassAndPredictionsThatAreNotThoseOfTheOutcomes) {
  const std::string path = folder_.path("results.sqlite");
  add_images(path, exact_, true);
  EXPECT_THAT(run("doctor").text, AllOf(HasSubstr("the sums by class of 1 complete jobs"),
                                        HasSubstr("those of 4 tiles are kept, and agree")));
  ASSERT_EQ(plain_sql(path, "UPDATE class_total SET num_top1 = num_top1 - 1 WHERE class = 3"), "");
  ASSERT_EQ(plain_sql(path,
                      "UPDATE prediction SET classes = replace(classes, '[0,', '[5,')"
                      " WHERE first = 500"),
            "");
  const Answer answer = run("doctor");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text,
              AllOf(HasSubstr("resnet18 w4a4 squant: not those of its tiles' outcomes"),
                    HasSubstr("those of images [500, 750) are not those of the tile's outcomes")));
}

TEST_F(CommandsTest, DoctorFindsRowsWithoutTheirRun) {
  add_run("results.sqlite", {exact_}, 165);
  ASSERT_EQ(plain_sql(folder_.path("results.sqlite"), "DELETE FROM worker"),
            "");  // plain SQLite does not enforce keys
  const Answer answer = run("doctor");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.text, HasSubstr("a row of tile names a row of worker that is not there"));
}

TEST_F(CommandsTest, TheDatabaseMayBeNamedBeforeOrBehindTheCommand) {
  add_run("other.sqlite", {exact_}, 165);
  const std::string shown = run("show --db other.sqlite").text;
  EXPECT_THAT(shown, HasSubstr("1 job: 1 pass"));
  EXPECT_EQ(run("--db other.sqlite show").text, shown);
  EXPECT_EQ(run("--db=other.sqlite show --where bits=w4a4").text, shown);
  EXPECT_EQ(run("--db other.sqlite show --db other.sqlite").text, shown);
  const Answer two = run("--db a.sqlite show --db b.sqlite");
  EXPECT_EQ(two.code, 2);
  EXPECT_EQ(two.text, "squant-results: --db names two databases: a.sqlite and b.sqlite\n");
  const Answer merge = run("--db a.sqlite merge b.sqlite other.sqlite");
  EXPECT_EQ(merge.code, 2);
  EXPECT_EQ(merge.text, "squant-results: --db: merge takes its databases by name\n");
}

}  // namespace
}  // namespace squant::results
