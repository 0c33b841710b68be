// What the report draws with: scales, ticks, markup, and the shapes of the data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "results/markup.h"
#include "results/panels.h"
#include "results/svg.h"
#include "results/timeline.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::sample_job;

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> texts;
  for (const Tick& tick : ticks) texts.push_back(tick.label);
  return texts;
}

TEST(MarkupTest, NothingThatAReaderWouldTakeForMarkupIsLeft) {
  EXPECT_EQ(escape_markup("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escape_markup("größe\n\x01\x7f"), "größe&#10;??");
  EXPECT_EQ(escape_markup("\xff|\xef\xbf\xbf|"), "\xef\xbf\xbd|\xef\xbf\xbd|");
}

TEST(ScaleTest, LinearAndLogarithmicPositions) {
  const Scale linear{50, 100, 200, 0};
  EXPECT_DOUBLE_EQ(linear(50), 200);
  EXPECT_DOUBLE_EQ(linear(75), 100);
  const Scale log{0.1, 1000, 0, 400, true};
  EXPECT_DOUBLE_EQ(log(0.1), 0);
  EXPECT_NEAR(log(10), 200, 1e-9);
  EXPECT_DOUBLE_EQ((Scale{5, 5, 0, 10}(5)), 5) << "a single value lies in the middle";
}

TEST(ScaleTest, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_THAT(labels(linear_ticks(0, 100, 5)), ElementsAre("0", "20", "40", "60", "80", "100"));
  EXPECT_THAT(labels(linear_ticks(88.1, 92.9, 5)), ElementsAre("89", "90", "91", "92"));
  EXPECT_THAT(labels(linear_ticks(-0.3, 0.7, 4)), ElementsAre("-0.25", "0.00", "0.25", "0.50"));
  EXPECT_THAT(labels(linear_ticks(0, 12000, 4)), ElementsAre("0", "5,000", "10,000"));
  EXPECT_EQ(linear_ticks(3, 3, 5).size(), 1U);
  EXPECT_THAT(decades(0.01, 100), ElementsAre(0.01, 0.1, 1, 10, 100));
}

TEST(ScaleTest, DurationsHaveAUnitThatFits) {
  EXPECT_EQ(duration_text(0.04), "40 µs");
  EXPECT_EQ(duration_text(0.11), "0.11 ms");
  EXPECT_EQ(duration_text(84), "84 ms");
  EXPECT_EQ(duration_text(38000), "38 s");
  EXPECT_EQ(duration_text(136000), "2.27 min");
  EXPECT_EQ(duration_text(1.7 * 3600e3), "1.70 h");
}

TEST(SvgTest, ADrawingHasANameADescriptionAndEscapedText) {
  Svg svg("p1", 100, 50, "a < b", "\"c\"");
  svg.marker(0, 1.23456, -0.04, "m1", "5 & 6");
  svg.text(0, 0, "<script>", "tick");
  const std::string text = svg.finish();
  EXPECT_THAT(text, HasSubstr("role=\"img\" aria-labelledby=\"p1-t p1-d\""));
  EXPECT_THAT(text, HasSubstr("<title id=\"p1-t\">a &lt; b</title>"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "<circle cx=\"1.2\" cy=\"0\" r=\"3.5\" class=\"m1\"><title>5 &amp; 6</title></circle>"));
  EXPECT_THAT(text, HasSubstr(">&lt;script&gt;</text>"));
}

// --- timelines

TEST(TimelineTest, UtcTextIsReadToTheMillisecond) {
  EXPECT_EQ(parse_utc_ms("1970-01-01T00:00:00.000Z"), 0);
  EXPECT_EQ(parse_utc_ms("2026-01-31T12:00:01.250Z"), 1769860801250);
  EXPECT_EQ(parse_utc_ms("2024-02-29T23:59:59.999Z"), 1709251199999);
  for (const char* text : {"", "2026-01-31", "2026-01-31T12:00:0x.000Z"})
    EXPECT_EQ(parse_utc_ms(text), -1);
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(TimelineTest, JobsOfATileStackUpAndItsDecodingCountsOnce) {
  std::vector<TileTime> tiles = {{1000, 1, 200, 100}, {1001, 1, 300, 100}, {1001, 1, 100, 100}};
  const Timeline timeline = make_timeline(tiles, 0, 10);
  ASSERT_EQ(timeline.lanes.size(), 1U);
  const Lane& lane = timeline.lanes[0];
  EXPECT_EQ(lane.num_tiles, 3);
  EXPECT_NEAR(sum(lane.compute_ms), 600, 1e-6);
  EXPECT_NEAR(sum(lane.load_ms), 100, 1e-6);
  // Bins of 100.1 ms: idle until 301 ms, decoding until 401 ms, computing until the end.
  EXPECT_NEAR(lane.load_ms[2] + lane.compute_ms[2], 0, 1e-6);
  EXPECT_NEAR(lane.load_ms[3], 99.4, 0.1);
  EXPECT_NEAR(lane.compute_ms[9], 100.1, 1e-6);
}

TEST(TimelineTest, AWorkerIsNeverBusierThanTheTimeThereIs) {
  // Decoded while the last tile was computed: more work than time.
  std::vector<TileTime> tiles = {{1000, 2, 900, 500}, {2000, 2, 950, 400}, {2000, 7, 10, 0}};
  const Timeline timeline = make_timeline(tiles, 0, 20);
  ASSERT_EQ(timeline.lanes.size(), 2U);
  for (std::size_t bin = 0; bin < 20; ++bin) {
    EXPECT_LE(timeline.lanes[0].compute_ms[bin] + timeline.lanes[0].load_ms[bin],
              timeline.bin_ms(20) + 1e-6);
  }
  EXPECT_NEAR(sum(timeline.lanes[0].compute_ms), 1850, 1e-6);
  EXPECT_NEAR(sum(timeline.lanes[0].load_ms), 150, 1e-6) << "only what fits beside the computing";
  EXPECT_NEAR(sum(timeline.lanes[1].compute_ms), 10, 1e-6);
}

TEST(TimelineTest, AClockThatWasSetBackStaysOnThePage) {
  std::vector<TileTime> tiles = {{500, 1, 100, 0}, {900, 1, 100, 0}};
  const Timeline timeline = make_timeline(tiles, 800, 4);
  EXPECT_EQ(timeline.start_ms, 500);
  EXPECT_EQ(timeline.end_ms, 900);
}

// --- panels

ResultRow row(const std::string& bits, const std::string& mode,
              const std::string& rounding = "current") {
  ResultRow result;
  result.job = sample_job("resnet18", bits, mode);
  if (bits == "w3") result.job.weight_bits = 3;
  result.job.rounding = rounding;
  result.num_images = 1000;
  return result;
}

TEST(PanelTest, BitsAndModesAreInReadingOrder) {
  const std::vector<ResultRow> rows = {row("w3", "squant"),     row("w4a4", "squant"),
                                       row("w8a8", "squant-e"), row("float", "float"),
                                       row("w4a4", "squant-e"), row("w4a4", "another")};
  const std::vector<Panel> panels = panels_of(rows);
  ASSERT_EQ(panels.size(), 1U);
  std::vector<std::string> bits;
  for (const BitsOrder& order : panels[0].bits) bits.push_back(order.label);
  EXPECT_THAT(bits, ElementsAre("float", "w8a8", "w4a4", "w3"));
  std::vector<std::string> modes;
  for (const ModeOrder& order : panels[0].modes) modes.push_back(order.mode);
  EXPECT_THAT(modes, ElementsAre("squant-e", "squant", "another"));
  EXPECT_EQ(panels[0].baseline, &rows[3]);
  EXPECT_EQ(panels[0].name(), "resnet18");
}

TEST(PanelTest, TwoRoundingsAreTwoPanelsWithOneBaseline) {
  const std::vector<ResultRow> rows = {row("float", "float"), row("w4a4", "squant"),
                                       row("w4a4", "squant", "paper")};
  const std::vector<Panel> panels = panels_of(rows);
  ASSERT_EQ(panels.size(), 2U);
  EXPECT_EQ(panels[0].name(), "resnet18, rounding current");
  EXPECT_EQ(panels[1].name(), "resnet18, rounding paper");
  EXPECT_EQ(panels[0].baseline, &rows[0]);
  EXPECT_EQ(panels[1].baseline, &rows[0]);
}

TEST(PanelTest, RowsWithoutImagesAreInNone) {
  std::vector<ResultRow> rows = {row("w4a4", "squant")};
  rows[0].num_images = 0;
  EXPECT_TRUE(panels_of(rows).empty());
}

}  // namespace
}  // namespace squant::results
