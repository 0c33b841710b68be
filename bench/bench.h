// The subcommands of squant-bench. A *_bench.cc registers its own: list the file in CMakeLists.txt
// and define
//   const squant::bench::Subcommand kEvaluate("evaluate", "what it measures", run);
#pragma once

#include <string>
#include <vector>

namespace squant::bench {

class Subcommand {
 public:
  // `entry` gets the program's arguments without the subcommand's name and returns the exit code.
  // The strings outlive the object.
  Subcommand(const char* name, const char* summary, int (*entry)(int argc, char** argv));

  const char* name() const { return name_; }
  const char* summary() const { return summary_; }
  int run(int argc, char** argv) const { return entry_(argc, argv); }

 private:
  const char* name_;
  const char* summary_;
  int (*entry_)(int argc, char** argv);
};

// This process's arguments, the program first.
const std::vector<std::string>& command_line();

}  // namespace squant::bench
