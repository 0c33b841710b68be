#include "tools/cli/manual.h"

#include <algorithm>
#include <functional>

namespace squant::cli {
namespace {

// "TEXT:{table,csv}" -> "table", "csv".
std::vector<std::string> choices_of(const std::string& type) {
  std::vector<std::string> choices;
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return choices;
  for (std::size_t from = open + 1; from <= close;) {
    const std::size_t comma = std::min(type.find(',', from), close);
    choices.push_back(type.substr(from, comma - from));
    from = comma + 1;
  }
  return choices;
}

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// What stands for the value: a type that says more than TEXT, else the choices or VALUE.
std::string value_name(const CLI::Option& option, const std::vector<std::string>& choices) {
  const std::string type = option.get_type_name();
  const std::string own = type.substr(0, type.find(':'));
  if (!choices.empty()) return joined(choices, "|");
  return own.empty() || own == "TEXT" ? "VALUE" : own == "INT" || own == "UINT" ? "N" : own;
}

OptionText option_text(const CLI::Option& option) {
  OptionText text;
  if (option.get_positional() && !option.nonpositional()) text.names = {option.get_name(true)};
  for (const std::string& name : option.get_snames()) text.names.push_back('-' + name);
  for (const std::string& name : option.get_lnames()) text.names.push_back("--" + name);
  if (option.get_items_expected_max() > 0) {
    text.choices = choices_of(option.get_type_name());
    text.value = value_name(option, text.choices);
  }
  text.help = option.get_description();
  text.default_value = option.get_default_str();
  text.is_required = option.get_required();
  return text;
}

}  // namespace

CommandText describe(const CLI::App& app) {
  CommandText text;
  text.name = app.get_name();
  text.help = app.get_description();
  text.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options(std::function<bool(const CLI::Option*)>())) {
    if (option->get_group().empty()) continue;
    auto& list = option->nonpositional() ? text.options : text.positionals;
    list.push_back(option_text(*option));
  }
  for (const CLI::App* command : app.get_subcommands(std::function<bool(const CLI::App*)>()))
    text.commands.push_back(describe(*command));
  return text;
}

void add_printers(CLI::App& app, const std::string& version) {
  const auto add = [&](const char* name, std::function<std::string()> print) {
    app.add_flag_callback(name, [print] { throw CLI::CallForVersion(print(), 0); })->group("");
  };
  add("--print-man", [&app, version] { return man_page(describe(app), version); });
  add("--print-bash-completion", [&app] { return bash_completion(describe(app)); });
  add("--print-zsh-completion", [&app] { return zsh_completion(describe(app)); });
}

}  // namespace squant::cli
