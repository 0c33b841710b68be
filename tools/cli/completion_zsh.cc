#include "tools/cli/manual.h"

namespace squant::cli {
namespace {

// Inside single quotes, where _arguments and _describe give colons and brackets a meaning.
std::string quoted(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\'') {
      escaped += "'\\''";
    } else if (c == ':' || c == '[' || c == ']' || c == '\\') {
      escaped += '\\';
      escaped += c;
    } else {
      escaped += c == '\n' ? ' ' : c;
    }
  }
  return escaped;
}

std::string action(const OptionText& option) {
  std::string choices;
  for (const std::string& choice : option.choices) choices += (choices.empty() ? "" : " ") + choice;
  if (!choices.empty()) return '(' + choices + ')';
  return option.takes_file() ? "_files" : " ";
}

std::string option_specs(const std::vector<OptionText>& options, const std::string& indent) {
  std::string text;
  for (const OptionText& option : options) {
    for (const std::string& name : option.names) {
      text += " \\\n" + indent + "'*" + name + '[' + quoted(option.help) + ']';
      if (!option.value.empty()) text += ':' + quoted(option.value) + ':' + action(option);
      text += '\'';
    }
  }
  return text;
}

std::string files(const CommandText& command, const std::string& indent) {
  return command.positionals.empty() ? "" : " \\\n" + indent + "'*:file:_files'";
}

std::string command_list(const CommandText& program) {
  std::string text;
  for (const CommandText& command : program.commands)
    text += "        '" + quoted(command.name) + ':' + quoted(command.help) + "'\n";
  return text;
}

std::string with_commands(const CommandText& program) {
  std::string text =
      "  local curcontext=$curcontext state line\n  typeset -A opt_args\n"
      "  _arguments -C" +
      option_specs(program.options, "    ") +
      " \\\n    '1:command:->command' \\\n    '*::argument:->argument'\n"
      "  case $state in\n    command)\n      local -a commands=(\n" +
      command_list(program) +
      "      )\n      _describe command commands ;;\n"
      "    argument)\n      case $line[1] in\n";
  for (const CommandText& command : program.commands) {
    text += "        " + command.name + ")\n          _arguments" +
            option_specs(command.options, "            ") + files(command, "            ") +
            " ;;\n";
  }
  return text + "      esac ;;\n  esac\n";
}

}  // namespace

std::string zsh_completion(const CommandText& program) {
  const std::string body =
      program.commands.empty()
          ? "  _arguments" + option_specs(program.options, "    ") + files(program, "    ") + '\n'
          : with_commands(program);
  return "#compdef " + program.name + "\n# Made from its --help.\n_" + program.name + "() {\n" +
         body + "}\n_" + program.name + " \"$@\"\n";
}

}  // namespace squant::cli
