#include "results/timeline.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>

namespace squant::results {
namespace {

// Results that arrive so close to each other came in one answer.
constexpr std::int64_t kTogetherMs = 5;

// The number of the digits [at, at + count); -1 where one of them is none.
int digits(std::string_view text, std::size_t at, std::size_t count) {
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

class LanePainter {
 public:
  LanePainter(const Timeline& timeline, std::size_t num_bins)
      : origin_ms_(static_cast<double>(timeline.start_ms)),
        bin_ms_(timeline.bin_ms(num_bins)),
        num_bins_(num_bins) {}

  void paint(std::vector<double>& bins, double from_ms, double to_ms) const {
    double at = std::max(0.0, (from_ms - origin_ms_) / bin_ms_);
    const double end = std::min((to_ms - origin_ms_) / bin_ms_, static_cast<double>(num_bins_));
    while (at < end) {
      const double next = std::min(std::floor(at) + 1, end);
      bins[static_cast<std::size_t>(at)] += (next - at) * bin_ms_;
      at = next;
    }
  }

 private:
  double origin_ms_, bin_ms_;
  std::size_t num_bins_;
};

// What arrived together.
struct Answer {
  double compute_ms = 0, load_ms = 0;
  std::int64_t finished_ms = 0;
};

Answer read_answer(const std::vector<TileTime>& tiles, std::size_t& at) {
  Answer answer;
  const std::int32_t rank = tiles[at].rank;
  float last_load = -1;
  do {
    const TileTime& tile = tiles[at];
    answer.compute_ms += tile.compute_ms;
    if (tile.load_ms != last_load) answer.load_ms += tile.load_ms;
    last_load = tile.load_ms;
    answer.finished_ms = tile.finished_ms;
    ++at;
  } while (at < tiles.size() && tiles[at].rank == rank &&
           tiles[at].finished_ms - answer.finished_ms <= kTogetherMs);
  return answer;
}

Lane make_lane(const std::vector<TileTime>& tiles, std::size_t& at, double started_ms,
               const LanePainter& painter, std::size_t num_bins) {
  Lane lane;
  lane.rank = tiles[at].rank;
  lane.compute_ms.assign(num_bins, 0);
  lane.load_ms.assign(num_bins, 0);
  const std::size_t first = at;
  double free_from_ms = started_ms;
  while (at < tiles.size() && tiles[at].rank == lane.rank) {
    const Answer answer = read_answer(tiles, at);
    const auto end = static_cast<double>(answer.finished_ms);
    const double compute_from = std::max(end - answer.compute_ms, free_from_ms);
    const double load_from = std::max(compute_from - answer.load_ms, free_from_ms);
    painter.paint(lane.compute_ms, compute_from, end);
    painter.paint(lane.load_ms, load_from, compute_from);
    lane.total_compute_ms += answer.compute_ms;
    lane.total_load_ms += answer.load_ms;
    free_from_ms = std::max(free_from_ms, end);
  }
  lane.num_tiles = static_cast<std::int64_t>(at - first);
  return lane;
}

}  // namespace

std::int64_t parse_utc_ms(std::string_view text) {
  using namespace std::chrono;
  if (text.size() != 24) return -1;
  const int y = digits(text, 0, 4), mo = digits(text, 5, 2), d = digits(text, 8, 2);
  const int h = digits(text, 11, 2), mi = digits(text, 14, 2), s = digits(text, 17, 2);
  const int ms = digits(text, 20, 3);
  if (std::min({y, mo, d, h, mi, s, ms}) < 0) return -1;
  const sys_days day = year(y) / month(static_cast<unsigned>(mo)) / static_cast<unsigned>(d);
  return duration_cast<milliseconds>(day.time_since_epoch() + hours(h) + minutes(mi) + seconds(s))
             .count() +
         ms;
}

std::map<std::int64_t, std::vector<TileTime>> read_tile_times(
    Connection& connection, const std::vector<std::int64_t>& run_ids) {
  std::map<std::int64_t, std::vector<TileTime>> runs;
  SQLite::Statement& statement =
      connection.statement("SELECT run_id, rank, compute_ms, load_ms, finished_at FROM tile");
  Query rows(statement);
  while (rows.step()) {
    const std::int64_t run_id = rows.integer(0);
    if (!run_ids.empty() && std::find(run_ids.begin(), run_ids.end(), run_id) == run_ids.end())
      continue;
    const std::int64_t finished_ms = parse_utc_ms(rows[4].getText());
    if (finished_ms < 0) continue;
    runs[run_id].push_back({finished_ms, static_cast<std::int32_t>(rows.integer(1)),
                            static_cast<float>(rows.real(2)), static_cast<float>(rows.real(3))});
  }
  return runs;
}

Timeline make_timeline(std::vector<TileTime>& tiles, std::int64_t started_ms,
                       std::size_t num_bins) {
  std::sort(tiles.begin(), tiles.end(), [](const TileTime& a, const TileTime& b) {
    return std::tie(a.rank, a.finished_ms, a.load_ms) < std::tie(b.rank, b.finished_ms, b.load_ms);
  });
  Timeline timeline{started_ms, started_ms + 1, {}};
  for (const TileTime& tile : tiles) {
    // A clock that was set back must not push the tiles off the page.
    timeline.start_ms = std::min(timeline.start_ms, tile.finished_ms);
    timeline.end_ms = std::max(timeline.end_ms, tile.finished_ms);
  }
  const LanePainter painter(timeline, num_bins);
  for (std::size_t at = 0; at < tiles.size();) {
    timeline.lanes.push_back(
        make_lane(tiles, at, static_cast<double>(timeline.start_ms), painter, num_bins));
  }
  return timeline;
}

}  // namespace squant::results
