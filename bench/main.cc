// squant-bench SUBCOMMAND [FLAGS]
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/bench.h"

namespace squant::bench {
namespace {

std::vector<const Subcommand*>& subcommands() {
  static std::vector<const Subcommand*> all;
  return all;
}

std::vector<std::string>& arguments_of_process() {
  static std::vector<std::string> arguments;
  return arguments;
}

int run_main(int argc, char** argv) {
  arguments_of_process().assign(argv, argv + argc);
  for (const Subcommand* subcommand : subcommands()) {
    if (argc < 2 || std::strcmp(argv[1], subcommand->name()) != 0) continue;
    argv[1] = argv[0];
    return subcommand->run(argc - 1, argv + 1);
  }
  const bool help = argc >= 2 && std::strcmp(argv[1], "--help") == 0;
  if (!help && argc >= 2) std::fprintf(stderr, "squant-bench: unknown subcommand '%s'\n", argv[1]);
  std::FILE* const out = help ? stdout : stderr;
  std::fprintf(out, "usage: squant-bench SUBCOMMAND [--help]\n");
  for (const Subcommand* subcommand : subcommands()) {
    std::fprintf(out, "  %-10s %s\n", subcommand->name(), subcommand->summary());
  }
  return help ? 0 : 2;
}

}  // namespace

Subcommand::Subcommand(const char* name, const char* summary, int (*entry)(int argc, char** argv))
    : name_(name), summary_(summary), entry_(entry) {
  subcommands().push_back(this);
}

const std::vector<std::string>& command_line() { return arguments_of_process(); }

}  // namespace squant::bench

int main(int argc, char** argv) { return squant::bench::run_main(argc, argv); }
