// What every subcommand does with its command line and with what goes wrong.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace squant::bench {

// Parses, then returns what `work` returns. 0 after --help; 2 for wrong use and for an exception of
// `work`, which goes to standard error behind the app's name.
int run_command(CLI::App& app, int argc, char** argv, const std::function<int()>& work);

}  // namespace squant::bench
