// Man pages and shell completion, made of what --help is made of: the CLI11 App of a program.
//
// A program joins with two lines: add_printers(app, "squant-x 0.1.0") where it makes its App, and
// squant_manual(squant-x) in its CMakeLists.txt, which runs the program and installs what it
// prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace squant::cli {

struct OptionText {
  std::vector<std::string> names;    // "-o", "--output"; of a positional: its name alone
  std::string value;                 // "FILE"; empty: a flag
  std::vector<std::string> choices;  // the only values, if there are any
  std::string help, default_value;
  bool is_required = false;
  bool takes_file() const { return value == "FILE"; }
};

struct CommandText {
  std::string name, help, footer;
  std::vector<OptionText> options, positionals;
  std::vector<CommandText> commands;
};

// Hidden options are left out, as --help does.
CommandText describe(const CLI::App& app);

// roff for man(1). `version`: "squant-sweep 0.1.0".
std::string man_page(const CommandText& program, const std::string& version);
// For bash 4 or newer; bash-completion is not needed.
std::string bash_completion(const CommandText& program);
// A function of zsh's completion system, for a file _NAME in a folder of fpath.
std::string zsh_completion(const CommandText& program);

// Adds the hidden options --print-man, --print-bash-completion and --print-zsh-completion. They end
// parsing as --version does. `app` must outlive the parsing.
void add_printers(CLI::App& app, const std::string& version);

}  // namespace squant::cli
