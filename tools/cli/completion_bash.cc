#include "tools/cli/manual.h"

namespace squant::cli {
namespace {

std::string function_name(const std::string& program) {
  std::string name = '_' + program;
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

// Choices and option names hold no character that a shell treats as anything else.
std::string words(const std::vector<OptionText>& options) {
  std::string text;
  for (const OptionText& option : options) {
    for (const std::string& name : option.names) text += (text.empty() ? "" : " ") + name;
  }
  return text;
}

std::string names_of_commands(const CommandText& program, const char* separator) {
  std::string text;
  for (const CommandText& command : program.commands)
    text += (text.empty() ? "" : separator) + command.name;
  return text;
}

// Case labels: the options of the program or of a command that take a value.
std::string value_labels(const OptionText& option, const std::string& command) {
  std::string labels;
  for (const std::string& name : option.names)
    labels += (labels.empty() ? "" : " | ") + ('"' + command + ' ' + name + '"');
  return labels;
}

std::string value_cases(const CommandText& command, const std::string& name) {
  std::string text;
  for (const OptionText& option : command.options) {
    if (option.value.empty()) continue;
    text += "    " + value_labels(option, name) + ")\n";
    if (!option.choices.empty()) {
      std::string choices;
      for (const std::string& choice : option.choices)
        choices += (choices.empty() ? "" : " ") + choice;
      text += "      mapfile -t COMPREPLY < <(compgen -W '" + choices + "' -- \"$cur\")\n";
    } else if (option.takes_file()) {
      text +=
          "      compopt -o filenames 2>/dev/null\n"
          "      mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n";
    }
    text += "      return ;;\n";
  }
  return text;
}

// Where the command stands: the first word that is neither an option nor an option's value.
std::string find_command(const CommandText& program) {
  if (program.commands.empty()) return {};
  std::string valued;
  for (const OptionText& option : program.options) {
    if (option.value.empty()) continue;
    for (const std::string& name : option.names) valued += (valued.empty() ? "" : " | ") + name;
  }
  std::string skip;
  if (!valued.empty()) {
    skip = "      " + valued + ") ((++i)); [[ ${COMP_WORDS[i]} == \"=\" ]] && ((++i)) ;;\n";
  }
  return "  local i\n  for ((i = 1; i < COMP_CWORD; ++i)); do\n    case ${COMP_WORDS[i]} in\n" +
         skip + "      " + names_of_commands(program, " | ") +
         ") command=${COMP_WORDS[i]}; break ;;\n    esac\n  done\n";
}

}  // namespace

std::string bash_completion(const CommandText& program) {
  const std::string function = function_name(program.name);
  std::string text =
      "# bash completion for " + program.name + ", made from its --help\n" + function +
      "() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' "
      "options=''\n"
      "  COMPREPLY=()\n"
      "  # --option=value comes as three words.\n"
      "  if [[ $cur == \"=\" ]]; then\n    cur=''\n"
      "  elif [[ $prev == \"=\" ]]; then\n    prev=${COMP_WORDS[COMP_CWORD - 2]}\n  fi\n" +
      find_command(program) + "  case \"$command $prev\" in\n" + value_cases(program, "");
  for (const CommandText& command : program.commands) text += value_cases(command, command.name);
  text += "  esac\n  case $command in\n    '') options='" + words(program.options) + "' ;;\n";
  for (const CommandText& command : program.commands)
    text += "    " + command.name + ") options='" + words(command.options) + "' ;;\n";
  text +=
      "  esac\n  if [[ $cur == -* ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n";
  if (!program.commands.empty()) {
    text += "  elif [[ -z $command ]]; then\n    mapfile -t COMPREPLY < <(compgen -W '" +
            names_of_commands(program, " ") + "' -- \"$cur\")\n";
  }
  text +=
      "  else\n    compopt -o filenames 2>/dev/null\n"
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n  fi\n}\n"
      "complete -F " +
      function + ' ' + program.name + '\n';
  return text;
}

}  // namespace squant::cli
