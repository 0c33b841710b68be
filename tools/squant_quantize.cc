// squant-quantize IN OUT: any checkpoint, of any size, to a .safetensors file of its quantized
// weights.
#include <omp.h>
#include <squant_build_info.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>
#include <system_error>
#include <vector>

#include "eval/checkpoint/output_file.h"
#include "eval/export/quantize_checkpoint.h"
#include "results/printer.h"
#include "tools/cli/manual.h"

namespace squant {
namespace {

// As squant-sweep's (runner/process.h), where they mean the same.
enum ExitCode : int { kExitGood = 0, kExitFailed = 1, kExitWrongUse = 2, kExitNotWritten = 4 };

constexpr const char* kFooter =
    "Each quantized tensor NAME becomes NAME.codes (int8), NAME.scale and NAME.zero_point "
    "(float32, "
    "one an output\n"
    "channel); weight = (code + zero_point) / scale. All other tensors are copied. "
    "docs/quantize.md "
    "says how to load it.\n"
    "Exit codes: 0 done; 1 it failed (memory, device); 2 wrong use or bad input; 4 OUT could not "
    "be "
    "written. Unless it\n"
    "is 0, there is no OUT, or the old one as it was.";

struct Options {
  eval::QuantizeRequest request;
  std::string mode = "squant";
  std::string rounding = "current";
  std::string device = "auto";
  std::string format = "table";
  int threads = 0;
};

void add_options(CLI::App& app, Options& options) {
  eval::QuantizeRequest& request = options.request;
  app.add_option("IN", request.input,
                 "A checkpoint: .safetensors, .pth, .pth.zip; or model.safetensors.index.json, or "
                 "the folder it is in")
      ->required()
      ->type_name("");
  app.add_option("OUT", request.output, "The .safetensors file to write; replaced if it is there")
      ->required()
      ->type_name("");
  app.add_option("--bits", request.options.bits, "Bits of a code")
      ->check(CLI::Range(quant::kMinBits, quant::kMaxBits))
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--mode", options.mode, "Which corrections follow rounding to nearest")
      ->check(CLI::IsMember({"squant-e", "squant-k", "squant-c", "squant"}))
      ->type_name("squant-e|squant-k|squant-c|squant")
      ->capture_default_str();
  app.add_option("--rounding", options.rounding,
                 "The method as it is now, or of the paper's figures")
      ->check(CLI::IsMember({"current", "paper"}))
      ->type_name("current|paper")
      ->capture_default_str();
  app.add_option("--include", request.include,
                 "Quantizes the tensors (of floats, rank 2 or more) in whose names this is found "
                 "[weight$]")
      ->type_name("REGEX");
  app.add_option("--exclude", request.exclude,
                 "Leaves those as they are in whose names this is found")
      ->type_name("REGEX");
  app.add_flag("--dequantize", request.dequantize,
               "Writes (code + zero_point) / scale as float32 under the tensors' own names");
  app.add_option("--device", options.device, "Where to quantize: the codes are the same")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->type_name("auto|cpu|cuda")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "[one a processor]")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_option("--format", options.format, "How the table of layers is printed")
      ->check(CLI::IsMember({"table", "csv", "json", "markdown", "latex"}))
      ->type_name("table|csv|json|markdown|latex")
      ->capture_default_str();
  app.set_version_flag("--version", "squant-quantize " SQUANT_VERSION);
  cli::add_printers(app, "squant-quantize " SQUANT_VERSION);
  app.footer(kFooter);
}

// A half-written file goes before the process does.
void on_fatal_signal(int signal) {
  eval::remove_unfinished_output();
  if (signal == SIGBUS) {  // the input is mapped
    constexpr char kText[] =
        "squant-quantize: the input was cut short, or could not be read, while it was being read\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(kExitWrongUse);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void set_up_signals() {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes becomes an error of the write
  struct sigaction action {};
  action.sa_handler = on_fatal_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGBUS}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // nohup stays nohup
  }
}

// One line on the terminal, drawn over itself; nothing for what is done within half a second.
class ProgressBar {
 public:
  ~ProgressBar() { clear(); }
  void update(std::uint64_t done, std::uint64_t total) {
    using std::chrono::duration;
    const auto now = Clock::now();
    if (!is_terminal_ || now - start_ < duration<double>(0.5) ||
        now - drawn_ < duration<double>(0.1))
      return;
    drawn_ = now;
    shown_ = true;
    const double share = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    const double seconds = duration<double>(now - start_).count();
    const auto filled = static_cast<std::size_t>(share * kWidth);
    std::fprintf(stderr, "\r[%s%s] %3.0f%%  %.0f MB/s, %.0f s left \x1b[K",
                 std::string(filled, '#').c_str(), std::string(kWidth - filled, '.').c_str(),
                 100 * share, static_cast<double>(done) / 1e6 / seconds,
                 seconds * (1 - share) / std::max(share, 1e-9));
    std::fflush(stderr);
  }
  void clear() {
    if (!shown_) return;
    shown_ = false;
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kWidth = 40;
  const bool is_terminal_ = ::isatty(STDERR_FILENO) == 1;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_{};
  bool shown_ = false;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t dimension : shape)
    text += (text.empty() ? "" : "x") + std::to_string(dimension);
  return text;
}

void print_layers(const eval::QuantizeReport& report, results::Format format) {
  using results::TextTable;
  const auto number = [&](double value, int decimals) {
    if (format == results::Format::kCsv || format == results::Format::kJson)
      return TextTable::cell(value);
    return TextTable::Cell{
        TextTable::Type::kReal,
        std::isfinite(value) ? results::decimal(value, decimals) : std::string("exact"),
        {}};
  };
  TextTable table;
  table.columns = {"tensor", "shape", "dtype", "rms_error", "max_kernel", "max_channel", "sqnr_db"};
  for (const eval::QuantizedLayer& layer : report.layers) {
    table.rows.push_back({TextTable::cell(layer.name), TextTable::cell(shape_text(layer.shape)),
                          TextTable::cell(layer.dtype), number(layer.rms_error, 3),
                          number(layer.max_kernel_error, 3), number(layer.max_channel_error, 3),
                          number(layer.sqnr_db, 1)});
  }
  results::print_table(std::cout, table, format, results::TerminalStyle::detect(STDOUT_FILENO));
}

std::string megabytes(std::uint64_t bytes) {
  return results::decimal(static_cast<double>(bytes) / 1e6, 1) + " MB";
}

int run(const Options& options) {
  if (options.threads > 0) omp_set_num_threads(options.threads);
  ProgressBar bar;
  const auto start = std::chrono::steady_clock::now();
  const eval::QuantizeReport report = eval::quantize_checkpoint(
      options.request, [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bar.clear();
  print_layers(report, results::parse_format(options.format));
  for (const std::string& note : report.notes)
    std::fprintf(stderr, "squant-quantize: note: %s\n", note.c_str());
  std::fprintf(stderr, "%s%s: %zu tensors at %d bits (%s, %s), %zu unchanged; %s -> %s in %.1f s\n",
               report.output.c_str(), report.replaced_output ? " (replaced)" : "",
               report.layers.size(), options.request.options.bits, options.mode.c_str(),
               options.rounding.c_str(), report.num_unchanged,
               megabytes(report.input_bytes).c_str(), megabytes(report.output_bytes).c_str(),
               seconds);
  return kExitGood;
}

int fail(int code, const char* what) {
  std::fprintf(stderr, "squant-quantize: %s\n", what);
  return code;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("Quantizes the weights of a checkpoint by SQuant, without data.", "squant-quantize");
  Options options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitGood : kExitWrongUse;
  }
  options.request.options.mode = quant::parse_mode(options.mode);
  options.request.options.rounding = quant::parse_rounding(options.rounding);
  options.request.on_cuda = options.device == "cuda";
  set_up_signals();
  try {
    return run(options);
  } catch (const std::invalid_argument& error) {
    return fail(kExitWrongUse, error.what());
  } catch (const std::system_error& error) {
    return fail(kExitNotWritten, error.what());
  } catch (const std::bad_alloc&) {
    return fail(kExitFailed, "out of memory");
  } catch (const std::exception& error) {
    return fail(kExitFailed, error.what());
  }
}

}  // namespace
}  // namespace squant

int main(int argc, char** argv) { return squant::parse_and_run(argc, argv); }
