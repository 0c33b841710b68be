// What the user sees while a sweep runs: a live table where there is a terminal, else a line a
// minute.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace squant::runner {

struct RowView {
  enum class State : std::uint8_t { kWaiting, kPrepared, kRunning, kDone, kFailed, kSkipped };
  std::string label;
  State state = State::kWaiting;
  std::int64_t num_planned = 0;  // images; 0: only quantized
  std::int64_t num_images = 0;   // evaluated so far, earlier runs included
  std::int64_t num_top1 = 0;
};

struct SweepView {
  std::vector<RowView> rows;
  std::int64_t evaluations = 0;        // images times jobs, of this run, so far
  std::int64_t evaluations_total = 0;  // ... that it will do
  int jobs_done = 0;                   // of those that this run computes
  int jobs_total = 0;
  int jobs_failed = 0;
  int workers = 0;
  int workers_busy = 0;
  double elapsed_s = 0;
  double images_per_s = 0;  // evaluations over the last minute
  std::optional<double> remaining_s;
  std::string trouble;  // for example that the database cannot be written
};

enum class ProgressStyle : std::uint8_t { kLive, kPlain, kNone };

// Where standard output leads in the end. Under mpirun a rank's own is a pseudo terminal even where
// mpirun's output goes to a file, so mpirun's is what counts.
struct OutputTerminal {
  bool is_terminal = false;
  int columns = 80;
  int lines = 24;
};
OutputTerminal find_output_terminal(bool by_mpi);

class Progress {
 public:
  Progress(ProgressStyle style, const OutputTerminal& terminal, std::FILE* out);
  ~Progress();  // the live table stays where it is
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // A line of its own, above the live table.
  void line(const std::string& text);
  // Draws if it is time to: twice a second live, once a minute plain.
  void update(const SweepView& view, double now);
  bool due(double now) const;
  // Removes the live table, to make room for the final one.
  void clear();

 private:
  void draw(const SweepView& view);

  ProgressStyle style_;
  OutputTerminal terminal_;
  std::FILE* out_;
  std::optional<double> next_;
  int drawn_lines_ = 0;
  std::vector<std::string> last_;
};

// The parts, for tests. No line is longer than `columns` characters.
std::vector<std::string> live_lines(const SweepView& view, int columns, int lines);
std::string plain_line(const SweepView& view);
std::string duration_text(double seconds);    // "0.2 s", "47 s", "3 min 20 s", "2 h 05 min"
std::string count_text(std::int64_t number);  // "1,234,567"
std::string plural(std::int64_t count, const std::string& one);  // "1 tile", "2,000 tiles"

}  // namespace squant::runner
