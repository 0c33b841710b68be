#include "runner/progress.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <string_view>

#include "results/verdict.h"

namespace squant::runner {
namespace {

constexpr double kLiveInterval = 0.5;
constexpr double kPlainInterval = 60;

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
std::string
format(const char* pattern, ...) {
  std::array<char, 512> text{};
  std::va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

// Columns that UTF-8 text takes, near enough: labels are ASCII but for data-set names.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string cut(std::string text, std::size_t columns) {
  while (width_of(text) > columns) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80U)
      text.pop_back();
    if (!text.empty()) text.pop_back();
  }
  return text;
}

std::string pad(const std::string& text, std::size_t columns) {
  std::string padded = cut(text, columns);
  padded.append(columns - width_of(padded), ' ');
  return padded;
}

const char* state_text(RowView::State state) {
  switch (state) {
    case RowView::State::kWaiting:
      return "waiting";
    case RowView::State::kPrepared:
      return "prepared";
    case RowView::State::kRunning:
      return "running";
    case RowView::State::kDone:
      return "done";
    case RowView::State::kFailed:
      return "FAILED";
    case RowView::State::kSkipped:
      return "not run";
  }
  return "";
}

std::string row_text(const RowView& row, std::size_t label_columns) {
  std::string text = pad(row.label, label_columns) + "  ";
  if (row.num_planned == 0)
    return text + format("%30s", "quantization only") + "  " + state_text(row.state);
  const int percent = static_cast<int>(100 * row.num_images / row.num_planned);
  if (row.num_images == 0) {
    text += format("%3d%%%26s", percent, "");
  } else {
    const results::Interval interval = results::wilson_interval_pct(row.num_top1, row.num_images);
    const double top1 =
        100 * static_cast<double>(row.num_top1) / static_cast<double>(row.num_images);
    text += format("%3d%%  top-1 %6.2f [%5.1f %5.1f]", percent, top1, interval.low, interval.high);
  }
  return text + "  " + state_text(row.state);
}

std::string summary(const SweepView& view) {
  std::string text = format("%d/%d jobs", view.jobs_done, view.jobs_total);
  if (view.evaluations_total > 0) {
    text += "  " + count_text(view.evaluations) + "/" + count_text(view.evaluations_total) +
            " evaluations";
  }
  if (view.jobs_failed > 0) text += format("  %d FAILED", view.jobs_failed);
  if (view.images_per_s > 0)
    text += "  " + count_text(std::llround(view.images_per_s)) + " images/s";
  text += format("  %d of %d workers busy", view.workers_busy, view.workers);
  if (view.remaining_s) text += "  about " + duration_text(*view.remaining_s) + " left";
  return text;
}

// Rows that say most come first where not all fit: failures and what runs, then what is done, then
// what waits.
int urgency(const RowView& row) {
  switch (row.state) {
    case RowView::State::kFailed:
      return 0;
    case RowView::State::kRunning:
      return 1;
    case RowView::State::kDone:
      return 2;
    case RowView::State::kPrepared:
      return 3;
    case RowView::State::kWaiting:
      return 4;
    case RowView::State::kSkipped:
      return 5;
  }
  return 5;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!(seconds >= 0)) return "0.0 s";
  if (seconds < 9.95) return format("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(std::min(seconds, 1e12)));
  if (whole < 60) return format("%lld s", whole);
  if (whole < 3600) return format("%lld min %02lld s", whole / 60, whole % 60);
  return format("%lld h %02lld min", whole / 3600, whole / 60 % 60);
}

std::string count_text(std::int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (std::size_t place = digits.size(); place > 3;) {
    place -= 3;
    digits.insert(place, ",");
  }
  return (number < 0 ? "-" : "") + digits;
}

std::string plural(std::int64_t count, const std::string& one) {
  return count_text(count) + " " + one + (count == 1 ? "" : "s");
}

std::vector<std::string> live_lines(const SweepView& view, int columns, int lines) {
  const auto width = static_cast<std::size_t>(std::max(columns, 20));
  const auto height = static_cast<std::size_t>(std::max(lines - 3, 3));
  std::vector<const RowView*> rows;
  for (const RowView& row : view.rows) rows.push_back(&row);
  std::size_t hidden = 0;
  if (rows.size() > height) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const RowView* a, const RowView* b) { return urgency(*a) < urgency(*b); });
    hidden = rows.size() - height;
    rows.resize(height);
    std::sort(rows.begin(),
              rows.end());  // back to the order of the plan: they point into one vector
  }
  std::size_t label_columns = 10;
  for (const RowView* row : rows) label_columns = std::max(label_columns, width_of(row->label));
  label_columns = std::min(label_columns, width > 60 ? width - 42 : width / 2);
  std::vector<std::string> text;
  for (const RowView* row : rows) text.push_back(cut(row_text(*row, label_columns), width));
  if (hidden > 0) text.push_back(cut(format("... and %zu more", hidden), width));
  text.push_back(cut(summary(view), width));
  if (!view.trouble.empty()) text.push_back(cut(view.trouble, width));
  return text;
}

std::string plain_line(const SweepView& view) {
  std::string line = duration_text(view.elapsed_s) + ": " + summary(view);
  if (!view.trouble.empty()) line += "  " + view.trouble;
  return line;
}

OutputTerminal find_output_terminal(bool by_mpi) {
  OutputTerminal found;
  int descriptor = STDOUT_FILENO;
  int opened = -1;
  if (by_mpi) {
    // The parent is mpirun where it started this rank itself; it is orted, which has no terminal,
    // on another host.
    const std::string path = "/proc/" + std::to_string(getppid()) + "/fd/1";
    opened = open(path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    descriptor = opened;
  }
  if (descriptor >= 0 && isatty(descriptor) == 1) {
    found.is_terminal = true;
    winsize size{};
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
      found.columns = size.ws_col;
      found.lines = size.ws_row;
    }
  }
  if (opened >= 0) close(opened);
  return found;
}

Progress::Progress(ProgressStyle style, const OutputTerminal& terminal, std::FILE* out)
    : style_(style), terminal_(terminal), out_(out) {}

Progress::~Progress() = default;

void Progress::line(const std::string& text) {
  clear();
  std::fprintf(out_, "%s\n", text.c_str());
  if (style_ == ProgressStyle::kLive) {
    for (const std::string& one : last_) std::fprintf(out_, "%s\n", one.c_str());
    drawn_lines_ = static_cast<int>(last_.size());
  }
  std::fflush(out_);
}

bool Progress::due(double now) const {
  return style_ != ProgressStyle::kNone && (!next_ || now >= *next_);
}

void Progress::update(const SweepView& view, double now) {
  if (!due(now)) return;
  // The first plain line comes after a while: a short sweep needs none.
  const bool first = !next_;
  next_ = now + (style_ == ProgressStyle::kLive ? kLiveInterval : kPlainInterval);
  if (style_ == ProgressStyle::kLive) {
    draw(view);
  } else if (!first) {
    line(plain_line(view));
  }
}

void Progress::draw(const SweepView& view) {
  clear();
  last_ = live_lines(view, terminal_.columns - 1, terminal_.lines);
  for (const std::string& one : last_) std::fprintf(out_, "%s\n", one.c_str());
  drawn_lines_ = static_cast<int>(last_.size());
  std::fflush(out_);
}

void Progress::clear() {
  if (drawn_lines_ == 0) return;
  // Up to the first drawn line, then erase to the end of the screen.
  std::fprintf(out_, "\x1b[%dA\x1b[J", drawn_lines_);
  std::fflush(out_);
  drawn_lines_ = 0;
}

}  // namespace squant::runner
