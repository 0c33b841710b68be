#include "results/printer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/results/sample.h"

namespace squant::results {
namespace {

using testing::sample_job;

ResultRow row(const std::string& model, const std::string& bits, const std::string& mode,
              std::int64_t num_top1, const std::string& verdict) {
  ResultRow result;
  result.job = sample_job(model, bits, mode, 10000, 250);
  result.num_images = 10000;
  result.num_top1 = num_top1;
  result.num_top5 = num_top1 + 1000;
  result.top1_pct = static_cast<double>(num_top1) / 100;
  result.top5_pct = result.top1_pct + 10;
  result.ci_low_pct = result.top1_pct - 0.9;
  result.ci_high_pct = result.top1_pct + 0.9;
  result.verdict = verdict;
  result.verdict_text = "because";
  result.images_per_s = 12345.678;
  if (bits != "float") result.quantize_ms = 1.239;
  return result;
}

std::vector<ResultRow> sample_rows() {
  std::vector<ResultRow> rows = {row("resnet18", "float", "float", 7132, "pass"),
                                 row("resnet18", "w4a4", "squant", 6583, "fail"),
                                 row("shufflenet", "w4a4", "squant", 0, "unfinished")};
  rows[0].reference_top1_pct = 71.08;
  rows[1].reference_top1_pct = 66.14;
  rows[1].tolerance = 0.2;
  rows[1].digest = "00000000000005dc00000000000005dc";
  rows[1].verdict_text =
      "65.83% is 0.31 below the reference's 66.14%, outside the tolerance of 0.20";
  rows[2].num_images = 0;
  rows[2].num_top5 = 0;
  rows[2].images_per_s.reset();
  rows[2].quantize_ms.reset();
  return rows;
}

std::string printed(std::span<const ResultRow> rows, Format format, TerminalStyle style = {}) {
  std::ostringstream out;
  print_results(out, rows, format, style);
  return out.str();
}

TEST(PrinterTest, TableIsAlignedAndSaysWhatFailed) {
  EXPECT_EQ(printed(sample_rows(), Format::kTable),
            "model       bits   mode    top-1 %    95% interval      reference  verdict     "
            "quantize ms  images/s\n"
            "----------  -----  ------  -------  --------------  -------------  ----------  "
            "-----------  --------\n"
            "resnet18    float  float     71.32  70.42 to 72.22  71.08 (+0.24)  pass               "
            "   -    12,346\n"
            "resnet18    w4a4   squant    65.83  64.93 to 66.73  66.14 (-0.31)  fail               "
            "1.24    12,346\n"
            "shufflenet  w4a4   squant        -               -              -  unfinished         "
            "   -         -\n"
            "\n"
            "3 jobs: 1 pass, 1 fail, 1 unfinished; 0 to 10,000 images\n"
            "resnet18 w4a4 squant: fail: 65.83% is 0.31 below the reference's 66.14%, outside the "
            "tolerance of 0.20\n");
}

TEST(PrinterTest, ColorIsAddedToVerdictsAloneAndOnlyOnRequest) {
  const std::string plain = printed(sample_rows(), Format::kTable);
  std::string colored = printed(sample_rows(), Format::kTable, {.color = true});
  EXPECT_THAT(colored, ::testing::HasSubstr("\x1b[32mpass\x1b[0m "));
  EXPECT_THAT(colored, ::testing::HasSubstr("\x1b[31mfail\x1b[0m "));
  for (const char* code : {"\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"}) {
    for (std::size_t at; (at = colored.find(code)) != std::string::npos;)
      colored.erase(at, std::strlen(code));
  }
  EXPECT_EQ(colored, plain);
}

TEST(PrinterTest, RowsOfOneCellGetWhatTellsThemApart) {
  std::vector<ResultRow> rows = {row("resnet18", "w4a4", "squant", 6600, "pass"),
                                 row("resnet18", "w4a4", "squant", 6500, "pass"),
                                 row("resnet50", "w4a4", "squant", 6500, "pass")};
  rows[1].job.rounding = "paper";
  rows[1].job.num_images = 250;
  const std::string text = printed(rows, Format::kMarkdown);
  EXPECT_THAT(text, ::testing::StartsWith("| model | bits | mode | with | top-1 % |"));
  EXPECT_THAT(text, ::testing::HasSubstr("| squant | 10,000 images, rounding current | 66.00 |"));
  EXPECT_THAT(text, ::testing::HasSubstr("| squant | 250 images, rounding paper | 65.00 |"));
  EXPECT_THAT(text, ::testing::HasSubstr("| resnet50 | w4a4 | squant |  | 65.00 |"));
}

TEST(PrinterTest, RemarksThatAreTheSameShareALine) {
  std::vector<ResultRow> rows;
  for (const char* mode : {"squant-e", "squant-k", "squant"}) {
    rows.push_back(row("resnet18", "w4a4", mode, 6600, "weights differ"));
  }
  EXPECT_THAT(printed(rows, Format::kTable),
              ::testing::EndsWith("\n3 jobs: 3 weights differ; 10,000 images each\n"
                                  "resnet18 w4a4 squant-e and 2 more: weights differ: because\n"));
}

TEST(PrinterTest, ManyRemarksAreCut) {
  std::vector<ResultRow> rows;
  for (int i = 0; i < 25; ++i)
    rows.push_back(row("model" + std::to_string(i), "w4a4", "squant", 6600, "fail"));
  EXPECT_THAT(printed(rows, Format::kTable),
              ::testing::EndsWith(
                  "\n... and 5 more; the column verdict_text of the view results says why\n"));
}

TEST(PrinterTest, NoRowsIsATableOfHeadings) {
  EXPECT_EQ(printed({}, Format::kTable),
            "model  bits  mode  top-1 %  95% interval  reference  verdict  quantize ms  images/s\n"
            "-----  ----  ----  -------  ------------  ---------  -------  -----------  --------\n"
            "\n"
            "0 jobs\n");
  EXPECT_EQ(printed({}, Format::kJson), "[]\n");
}

TEST(PrinterTest, MarkdownAlignsNumbersToTheRight) {
  const auto rows = sample_rows();
  EXPECT_EQ(
      printed(std::span(rows).first(1), Format::kMarkdown),
      "| model | bits | mode | top-1 % | 95% interval | reference | verdict | quantize ms | "
      "images/s |\n"
      "|---|---|---|---:|---:|---:|---|---|---:|\n"
      "| resnet18 | float | float | 71.32 | 70.42 to 72.22 | 71.08 (+0.24) | pass |  | 12,346 |\n");
}

TEST(PrinterTest, LatexHasTheLayoutOfThePapersTables) {
  std::vector<ResultRow> rows = {row("resnet18", "float", "float", 7147, "pass"),
                                 row("resnet18", "w4a4", "squant", 6583, "fail"),
                                 row("resnet18", "w4a4", "squant-e", 100, "no reference"),
                                 row("resnet18", "w3", "squant", 5000, "no reference"),
                                 row("sqnxt23_w2", "float", "float", 6938, "pass"),
                                 row("sqnxt23_w2", "w8a8", "squant", 6922, "pass")};
  rows[3].job.weight_bits = 3;
  rows[1].reference_top1_pct = 66.14;
  rows[5].reference_top1_pct = 69.22;
  EXPECT_EQ(
      printed(rows, Format::kLatex),
      "% needs \\usepackage{booktabs}; top-1 accuracy in percent\n"
      "\\begin{tabular}{rrlrr}\n"
      "\\toprule\n"
      "W-bit & A-bit & Method & resnet18 & sqnxt23\\_w2 \\\\\n"
      "\\midrule\n"
      "32 & 32 & Baseline & 71.47 & 69.38 \\\\\n"
      "\\midrule\n"
      "8 & 8 & SQuant (reference) & -- & 69.22 \\\\\n"
      "8 & 8 & SQuant & -- & 69.22 \\\\\n"
      "\\midrule\n"
      "4 & 4 & SQuant-E & 1.00 & -- \\\\\n"
      "4 & 4 & SQuant (reference) & 66.14 & -- \\\\\n"
      "4 & 4 & SQuant & 65.83$^{\\dagger}$ & -- \\\\\n"
      "\\midrule\n"
      "3 & 32 & SQuant & 50.00 & -- \\\\\n"
      "\\bottomrule\n"
      "\\multicolumn{5}{l}{\\footnotesize $^{\\dagger}$ outside the tolerance of its reference, or "
      "of other weights}\n"
      "\\end{tabular}\n");
}

TEST(PrinterTest, LatexGivesResultsOfOneCellColumnsOfTheirOwn) {
  std::vector<ResultRow> rows = {row("a_b", "w4a4", "squant", 6600, "pass"),
                                 row("a_b", "w4a4", "squant", 6500, "pass")};
  rows[1].job.rounding = "paper";
  EXPECT_THAT(printed(rows, Format::kLatex),
              ::testing::AllOf(::testing::HasSubstr(
                                   "Method & a\\_b (rounding current) & a\\_b (rounding paper) "),
                               ::testing::HasSubstr("4 & 4 & SQuant & 66.00 & 65.00 ")));
}

TEST(PrinterTest, CsvHasTheViewsColumnsInFullPrecision) {
  auto rows = sample_rows();
  rows[1].top1_pct = 100.0 / 3;
  rows[1].failure = "line one\nline \"two\", three";
  std::istringstream lines(printed(std::span(rows).subspan(1, 1), Format::kCsv));
  std::string header;
  std::getline(lines, header);
  EXPECT_THAT(header, ::testing::StartsWith(
                          "model,bits,mode,num_images,num_top1,num_top5,top1_pct,top5_pct,"));
  std::string rest((std::istreambuf_iterator<char>(lines)), {});
  EXPECT_THAT(rest, ::testing::StartsWith(
                        "resnet18,w4a4,squant,10000,6583,7583,33.333333333333336,75.83,"));
  EXPECT_THAT(rest, ::testing::HasSubstr(",\"line one\nline \"\"two\"\", three\","));
}

TEST(PrinterTest, JsonIsReadBackWithTypesAndNulls) {
  const auto parsed = nlohmann::json::parse(printed(sample_rows(), Format::kJson));
  ASSERT_EQ(parsed.size(), 3U);
  EXPECT_EQ(parsed[1]["num_top1"], 6583);
  EXPECT_EQ(parsed[1]["digest"], "00000000000005dc00000000000005dc");
  EXPECT_EQ(parsed[1]["images_per_s"], 12345.678);
  EXPECT_TRUE(parsed[0]["digest"].is_null());
  EXPECT_TRUE(parsed[0]["failure"].is_null());
  EXPECT_TRUE(parsed[2]["top1_pct"].is_null());
}

TEST(PrinterTest, JunitMarksFailuresAndSkipsWhatIsUndecided) {
  auto rows = sample_rows();
  rows[1].verdict_text = "5 < 6 & \"so on\"\x01\xff";
  EXPECT_EQ(
      printed(rows, Format::kJunit),
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites>\n"
      "<testsuite name=\"squant-sweep\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\">\n"
      "<testcase classname=\"resnet18\" name=\"float float\" time=\"0\"/>\n"
      "<testcase classname=\"resnet18\" name=\"w4a4 squant\" time=\"0\"><failure type=\"fail\" "
      "message=\"5 &lt; 6 &amp; &quot;so on&quot;?\xef\xbf\xbd\"/></testcase>\n"
      "<testcase classname=\"shufflenet\" name=\"w4a4 squant\" time=\"0\"><skipped "
      "message=\"unfinished: "
      "because\"/></testcase>\n"
      "</testsuite>\n"
      "</testsuites>\n");
}

TEST(TextTableTest, TerminalControlsAreShownAndWideTextIsCountedByLetters) {
  TextTable table{{"name", "n"}, {}};
  table.rows.push_back({TextTable::cell("\x1b[31mred\n"), TextTable::cell(std::int64_t{5})});
  table.rows.push_back({TextTable::cell("größe"), {}});
  std::ostringstream out;
  print_table(out, table, Format::kTable);
  EXPECT_EQ(out.str(),
            "name           n\n"
            "-------------  -\n"
            "\\x1b[31mred\\n  5\n"
            "größe          -\n");
}

TEST(TextTableTest, NumbersThatJsonCannotSayAreNull) {
  TextTable table{{"a", "b", "c"}, {}};
  table.rows.push_back({TextTable::cell(std::numeric_limits<double>::quiet_NaN()),
                        TextTable::cell(std::numeric_limits<double>::infinity()),
                        TextTable::cell("\xff\"\\")});
  std::ostringstream out;
  print_table(out, table, Format::kJson);
  const auto parsed = nlohmann::json::parse(out.str());
  EXPECT_TRUE(parsed[0]["a"].is_null());
  EXPECT_TRUE(parsed[0]["b"].is_null());
  EXPECT_EQ(parsed[0]["c"], "\xef\xbf\xbd\"\\");
}

TEST(TextTableTest, NumbersAreGrouped) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(-999), "-999");
  EXPECT_EQ(with_thousands(-1000), "-1,000");
  EXPECT_EQ(with_thousands(1234567), "1,234,567");
  EXPECT_EQ(decimal(-123456.789, 2), "-123,456.79");
  EXPECT_EQ(decimal(999.5, 0), "1,000");
  EXPECT_EQ(decimal(0.05, 2), "0.05");
}

TEST(FormatTest, UnknownFormatNamesTheChoices) {
  EXPECT_EQ(parse_format("latex"), Format::kLatex);
  EXPECT_THROW(parse_format("xml"), std::invalid_argument);
}

}  // namespace
}  // namespace squant::results
