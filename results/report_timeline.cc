// When which worker was busy.
#include <algorithm>
#include <cmath>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/svg.h"
#include "results/timeline.h"

namespace squant::results {
namespace {

constexpr double kWidth = 728, kLeft = 76, kRight = 716, kTop = 8;
constexpr std::size_t kNumBins = 200;

// One or several ranks, as a share of their time.
struct Band {
  std::string label;
  std::size_t num_ranks = 0;
  std::vector<double> computing, busy;  // per bin, 0 to 1; busy: computing or decoding
};

std::vector<Band> bands_of(const Timeline& timeline) {
  const std::size_t num_lanes = timeline.lanes.size();
  const std::size_t per_band = (num_lanes + kMaxReportLanes - 1) / kMaxReportLanes;
  std::vector<Band> bands;
  for (std::size_t from = 0; from < num_lanes; from += per_band) {
    const std::size_t to = std::min(from + per_band, num_lanes);
    const int first = timeline.lanes[from].rank;
    const int last = timeline.lanes[to - 1].rank;
    Band band{"rank " + std::to_string(first), to - from, std::vector<double>(kNumBins, 0),
              std::vector<double>(kNumBins, 0)};
    if (last != first)
      band.label = "ranks " + std::to_string(first) + "\xE2\x80\x93" + std::to_string(last);
    const double whole = timeline.bin_ms(kNumBins) * static_cast<double>(band.num_ranks);
    for (std::size_t lane = from; lane < to; ++lane) {
      for (std::size_t bin = 0; bin < kNumBins; ++bin) {
        const double computing = timeline.lanes[lane].compute_ms[bin] / whole;
        band.computing[bin] += computing;
        band.busy[bin] += computing + timeline.lanes[lane].load_ms[bin] / whole;
      }
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

// Steps, without the corners that lie on a straight line.
std::vector<std::pair<double, double>> outline(const std::vector<double>& shares, double base,
                                               double height) {
  const Scale x{0, static_cast<double>(shares.size()), kLeft, kRight};
  std::vector<std::pair<double, double>> points;
  for (std::size_t bin = 0; bin < shares.size(); ++bin) {
    const double y = std::round((base - std::min(shares[bin], 1.0) * height) * 10) / 10;
    if (points.empty() || points.back().second != y)
      points.emplace_back(x(static_cast<double>(bin)), y);
    else
      points.pop_back();
    points.emplace_back(x(static_cast<double>(bin + 1)), y);
  }
  return points;
}

struct Unit {
  const char* name;
  double ms;
};
Unit unit_for(double span_ms) {
  if (span_ms < 3000) return {"ms", 1};
  if (span_ms < 300e3) return {"s", 1e3};
  if (span_ms < 300 * 60e3) return {"min", 60e3};
  return {"h", 3600e3};
}

void draw_elapsed(Svg& svg, const Timeline& timeline, double bottom) {
  const auto span_ms = static_cast<double>(timeline.end_ms - timeline.start_ms);
  const Unit unit = unit_for(span_ms);
  const Scale x{0, span_ms / unit.ms, kLeft, kRight};
  for (const Tick& tick : linear_ticks(0, x.high, 8)) {
    svg.line(x(tick.value), kTop, x(tick.value), bottom, "gridline");
    svg.text(x(tick.value), bottom + 15,
             tick.label + (tick.value == 0 ? "" : " ") + (tick.value == 0 ? "" : unit.name),
             "tick middle");
  }
}

double busy_share(const Lane& lane, const Timeline& timeline) {
  double busy = 0;
  for (const double ms : lane.compute_ms) busy += ms;
  for (const double ms : lane.load_ms) busy += ms;
  return busy / static_cast<double>(timeline.end_ms - timeline.start_ms);
}

std::string describe(const Timeline& timeline) {
  double busy = 0;
  for (const Lane& lane : timeline.lanes) busy += busy_share(lane, timeline);
  const auto count = static_cast<std::int64_t>(timeline.lanes.size());
  return with_thousands(count) + (count == 1 ? " worker" : " workers") + " over " +
         duration_text(static_cast<double>(timeline.end_ms - timeline.start_ms)) + ", " +
         decimal(100 * busy / static_cast<double>(count), 1) + "% busy on average.";
}

std::string timeline_plot(const Timeline& timeline, std::int64_t run_id) {
  const std::vector<Band> bands = bands_of(timeline);
  const double height = bands.size() <= 8 ? 30 : bands.size() <= 16 ? 20 : 13;
  const double bottom = kTop + height * static_cast<double>(bands.size());
  Svg svg("run" + std::to_string(run_id), kWidth, bottom + 24,
          "Workers of run " + std::to_string(run_id) + " over time", describe(timeline));
  draw_elapsed(svg, timeline, bottom);
  for (std::size_t i = 0; i < bands.size(); ++i) {
    const double base = kTop + height * static_cast<double>(i + 1);
    const double full = height - 3;
    svg.rect(kLeft, base - full, kRight - kLeft, full, "idle");
    svg.area(outline(bands[i].busy, base, full), base, "loading");
    svg.area(outline(bands[i].computing, base, full), base, "computing");
    svg.text(kLeft - 8, base - full / 2 + 3, bands[i].label, "tick end");
  }
  return svg.finish();
}

TextTable lane_table(Connection& connection, const Timeline& timeline, std::int64_t run_id) {
  TextTable table;
  table.columns = {"rank", "host", "device", "results", "computing s", "decoding s", "busy %"};
  const auto shown = [](double value, int decimals) {
    return TextTable::Cell{TextTable::Type::kReal, decimal(value, decimals)};
  };
  for (std::size_t i = 0; i < std::min(timeline.lanes.size(), kMaxReportRows); ++i) {
    const Lane& lane = timeline.lanes[i];
    Query worker(
        connection.statement("SELECT host, device_name FROM worker WHERE run_id = ? AND rank = ?"));
    const bool is_known = worker.bind(run_id, lane.rank).step();
    table.rows.push_back({TextTable::cell(static_cast<std::int64_t>(lane.rank)),
                          TextTable::cell(is_known ? worker.text(0) : ""),
                          TextTable::cell(is_known ? worker.text(1) : ""),
                          shown(static_cast<double>(lane.num_tiles), 0),
                          shown(lane.total_compute_ms / 1e3, 1), shown(lane.total_load_ms / 1e3, 1),
                          shown(100 * busy_share(lane, timeline), 1)});
  }
  return table;
}

std::string run_title(Connection& connection, std::int64_t run_id) {
  Query run(connection.statement("SELECT experiment_name, started_at FROM run WHERE run_id = ?"));
  if (!run.bind(run_id).step()) return "Run " + std::to_string(run_id);
  return "Run " + std::to_string(run_id) + ": " + run.text(0) + ", " + run.text(1).substr(0, 16);
}

std::int64_t start_of(Connection& connection, std::int64_t run_id) {
  Query run(connection.statement("SELECT started_at FROM run WHERE run_id = ?"));
  return run.bind(run_id).step() ? parse_utc_ms(run.text(0)) : -1;
}

std::string timeline_panel(Connection& connection, std::int64_t run_id,
                           std::vector<TileTime>& tiles) {
  std::int64_t first_ms = tiles[0].finished_ms;
  for (const TileTime& tile : tiles) first_ms = std::min(first_ms, tile.finished_ms);
  const std::int64_t started_ms = start_of(connection, run_id);
  const Timeline timeline = make_timeline(tiles, started_ms < 0 ? first_ms : started_ms, kNumBins);
  return "<div class=\"panel wide\"><h3>" + escape_markup(run_title(connection, run_id)) +
         "</h3>\n" + figure(timeline_plot(timeline, run_id), describe(timeline)) +
         data_table(lane_table(connection, timeline, run_id),
                    "workers of run " + std::to_string(run_id)) +
         "</div>\n";
}

}  // namespace

std::string timeline_section(Connection& connection, const std::vector<std::int64_t>& run_ids) {
  auto runs = read_tile_times(connection, run_ids);
  std::string html;
  std::size_t num_shown = 0;
  for (auto run = runs.rbegin(); run != runs.rend() && num_shown < kMaxReportRuns; ++run) {
    html += timeline_panel(connection, run->first, run->second);
    ++num_shown;
  }
  if (html.empty()) return {};
  if (runs.size() > num_shown) {
    html += paragraph("The latest " + std::to_string(num_shown) + " of " +
                      with_thousands(static_cast<std::int64_t>(runs.size())) +
                      " runs that computed something; --run NUMBER shows another one.");
  }
  return section("timeline", "Workers over time",
                 "<ul class=\"legend\"><li><span class=\"swatch computing\"></span>evaluating</li>"
                 "<li><span class=\"swatch loading\"></span>decoding images</li>"
                 "<li><span class=\"swatch idle\"></span>neither: start-up, calibration, "
                 "waiting</li></ul>\n" +
                     html);
}

}  // namespace squant::results
