// squant-results: shows, compares and checks what squant-sweep stored.
#include <squant_build_info.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <iostream>
#include <sstream>

#include "results/commands.h"
#include "results/compare.h"
#include "results/merge.h"
#include "results/report.h"
#include "results/viewer.h"
#include "results/whole_file.h"
#include "results/writer_lock.h"
#include "tools/cli/manual.h"

namespace squant::results {
namespace {

struct Options {
  std::string database = "results.sqlite";
  std::string early_database;  // --db before the command
  std::string other_database;
  std::string format = "table";
  std::string output_file;
  std::string times_file;
  Selection selection;
  std::string run = "last";
  std::string sql;
  std::string a, b;
  CompareOptions compare;
  std::string into;
  std::vector<std::string> from;
  bool takeover = false;
  bool migrate = false;
};

constexpr const char* kWhereHelp =
    "Rows whose column of the view results has one of the values: model=resnet18,resnet50, "
    "mode!=squant, "
    "num_images=10000; several must all hold";

class Program {
 public:
  int run(int argc, char** argv);

 private:
  CLI::App* command(const std::string& name, const std::string& help, std::function<int()> action);
  void add_database(CLI::App* app) {
    app->add_option("--db", options_.database, "The results database")
        ->type_name("FILE")
        ->capture_default_str();
  }
  void add_format(CLI::App* app, const std::vector<std::string>& choices) {
    app->add_option("--format", options_.format, "How to write")
        ->check(CLI::IsMember(choices))
        ->capture_default_str();
  }
  void add_selection(CLI::App* app) {
    app->add_option("--where", options_.selection.where, kWhereHelp)->take_all();
    app->add_option(
        "--run", options_.selection.run,
        "Only the jobs of this run, with its references and verdicts: a number or 'last'");
  }
  void add_commands();
  void settle_database();
  std::unique_ptr<Connection> open() const { return open_view(options_.database); }
  Output output(std::ostream& out = std::cout) const {
    return {out, parse_format(options_.format), style_};
  }
  void deliver(const std::string& text) const;
  int export_results();
  int report();
  int merge();
  int explain_results();
  int diagnose_database();

  CLI::App app_{
      "Shows, compares and checks what squant-sweep stored.\n"
      "Exit code: 0 good; 1 a verdict failed, something differs or is damaged; 2 wrong use; 3 work "
      "is left.",
      "squant-results"};
  Options options_;
  std::function<int()> action_;
  TerminalStyle style_ = TerminalStyle::detect(STDOUT_FILENO);
};

CLI::App* Program::command(const std::string& name, const std::string& help,
                           std::function<int()> action) {
  CLI::App* const app = app_.add_subcommand(name, help);
  app->callback([this, action = std::move(action)] { action_ = action; });
  return app;
}

// To the file, which is written whole or not at all, or to the standard output.
void Program::deliver(const std::string& text) const {
  if (!options_.output_file.empty() && options_.output_file != "-")
    return write_whole_file(options_.output_file, text);
  std::cout << text << std::flush;
  if (!std::cout) throw std::invalid_argument("cannot write to the standard output");
}

int Program::export_results() {
  std::ostringstream text;
  const int code = show_results(*open(), options_.selection, output(text));
  deliver(text.str());
  return code;
}

int Program::report() {
  deliver(report_page(*open(), {options_.selection, options_.times_file}));
  return kExitGood;
}

int Program::merge() {
  WriterSession into(options_.into, options_.takeover);
  bool has_conflicts = false;
  for (const std::string& from : options_.from) {
    const MergeReport report = merge_database(into.connection(), into.generation(), from);
    if (report.conflicts.empty()) {
      std::cout << from << ": " << report.num_runs << " runs, " << report.num_jobs << " jobs, "
                << report.num_tiles << " tiles were new\n";
      continue;
    }
    has_conflicts = true;
    std::cerr << "CONFLICT: " << from
              << " has other results of the same jobs; nothing of it was merged. One side had a "
              << "hardware or software fault:\n";
    for (const std::string& conflict : report.conflicts) std::cerr << "  " << conflict << '\n';
  }
  return has_conflicts ? kExitBad : kExitGood;
}

int Program::explain_results() {
  const auto a = open();
  const auto b =
      open_view(options_.other_database.empty() ? options_.database : options_.other_database);
  return explain(*a, options_.a, *b, options_.b, output());
}

int Program::diagnose_database() {
  if (options_.migrate) WriterSession(options_.database, options_.takeover);
  return diagnose(*open(), output());
}

void Program::add_commands() {
  const std::vector<std::string> shown = {"table", "csv", "json", "markdown", "latex"};
  CLI::App* app = command("show", "The table of results, one row a job",
                          [this] { return show_results(*open(), options_.selection, output()); });
  add_database(app);
  add_selection(app);
  add_format(app, shown);

  app = command("compare",
                "Do two sets of results agree? Each is FILE, FILE@RUN, @RUN of --db, a reference "
                "file (.json), or "
                "'paper': the reference values stored with the other side",
                [this] {
                  return compare_command(options_.a, options_.b, options_.database,
                                         options_.compare, output());
                });
  app->add_option("A", options_.a, "The first set")->required();
  app->add_option("B", options_.b, "The second set")->required();
  add_database(app);
  app->add_option("--tolerance", options_.compare.tolerance_pct,
                  "Percentage points of top-1 that rows without a common digest may differ by; "
                  "against 'paper' or a "
                  "reference file the default is the reference's own")
      ->check(CLI::Range(0.0, 100.0));
  app->add_flag("--common", options_.compare.common_only,
                "Leave out rows that are on one side only or unfinished");
  add_format(app, shown);

  app = command("query", "Answer one SQL statement that reads",
                [this] { return query_sql(*open(), options_.sql, output()); });
  app->add_option("SQL", options_.sql,
                  "For example: \"SELECT model, top1_pct FROM results WHERE bits = 'w4a4'\"")
      ->required();
  add_database(app);
  add_format(app, shown);

  app = command("runs", "Every start of squant-sweep that used the database",
                [this] { return show_runs(*open(), output()); });
  add_database(app);
  add_format(app, shown);

  app = command(
      "status",
      "Done, failed and left of a run. Exit code: 3 work is left, 1 something failed, else 0",
      [this] { return show_status(*open(), options_.run, output()); });
  app->add_option("--run", options_.run, "A number, 'last' or 'all'")->capture_default_str();
  add_database(app);
  add_format(app, shown);

  app = command("report", "One HTML page with tables and plots, for a browser or a printer",
                [this] { return report(); });
  app->add_option("--out,--output,-o", options_.output_file,
                  "The file to write; - is the standard output")
      ->type_name("FILE")
      ->required();
  add_database(app);
  add_selection(app);
  app->add_option(
         "--times", options_.times_file,
         "Times of other methods, in the form of experiments/paper/iclr2022_times.json [the "
         "paper's]")
      ->type_name("FILE");

  app = command("export", "Results for other programs", [this] { return export_results(); });
  app->add_option("--output,--out,-o", options_.output_file,
                  "A file to write; else the standard output")
      ->type_name("FILE");
  add_database(app);
  add_selection(app);
  std::vector<std::string> exported = shown;
  exported.emplace_back("junit");
  add_format(app, exported);

  app = command("merge",
                "Brings the results of other databases into one. Exit code 1: the same job came "
                "out differently",
                [this] { return merge(); });
  app->add_option("INTO", options_.into, "The database to write; made if it is not there")
      ->required();
  app->add_option("FROM", options_.from, "The databases to read")->required();
  app->add_flag("--takeover", options_.takeover,
                "Take the lock of a writer whose heartbeat is over a minute old");

  app = command("explain", "What differs between two results, and why",
                [this] { return explain_results(); });
  app->add_option("A", options_.a, "\"MODEL BITS MODE\" or the first digits of the column identity")
      ->required();
  app->add_option("B", options_.b, "The other result")->required();
  add_database(app);
  app->add_option("--other-db", options_.other_database, "Where B is, if not in --db");
  add_format(app, shown);

  app = command(
      "doctor",
      "Checks the file and its sums; says what is missing and which command fills it. Exit code: 1 "
      "damaged, 3 work is left, else 0",
      [this] { return diagnose_database(); });
  add_database(app);
  app->add_flag("--migrate", options_.migrate,
                "Bring an older database to this program's schema first");
  app->add_flag("--takeover", options_.takeover, "With --migrate: as in merge");
  add_format(app, shown);
}

// --db stands before the command or behind it.
void Program::settle_database() {
  if (options_.early_database.empty()) return;
  const CLI::App* const command = app_.get_subcommands().front();
  const CLI::Option* const late = command->get_option_no_throw("--db");
  if (late == nullptr)
    throw std::invalid_argument("--db: " + command->get_name() + " takes its databases by name");
  if (late->count() > 0 && options_.database != options_.early_database) {
    throw std::invalid_argument("--db names two databases: " + options_.early_database + " and " +
                                options_.database);
  }
  options_.database = options_.early_database;
}

int Program::run(int argc, char** argv) {
  app_.require_subcommand(1);
  app_.add_option("--db", options_.early_database,
                  "The results database; may also stand behind the command")
      ->type_name("FILE");
  app_.set_version_flag("--version", std::string("squant-results " SQUANT_VERSION ", schema ") +
                                         std::to_string(kSchemaVersion) + ", SQLite " +
                                         sqlite_version());
  cli::add_printers(app_, "squant-results " SQUANT_VERSION);
  add_commands();
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app_.exit(error) == 0 ? kExitGood : kExitUsage;
  }
  try {
    settle_database();
    return action_();
  } catch (const std::exception& error) {
    std::cerr << "squant-results: " << error.what() << '\n';
    return kExitUsage;
  }
}

}  // namespace
}  // namespace squant::results

int main(int argc, char** argv) { return squant::results::Program().run(argc, argv); }
