#include <algorithm>
#include <cctype>

#include "tools/cli/manual.h"

namespace squant::cli {
namespace {

// Text in which nothing is a request or an escape; hyphens can be copied and searched.
std::string roff(const std::string& text) {
  std::string escaped;
  bool is_line_start = true;
  for (const char c : text) {
    if (is_line_start && (c == '.' || c == '\'')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
    is_line_start = c == '\n';
  }
  return escaped;
}

std::string bold(const std::string& text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + roff(text) + "\\fR"; }

// Every line a paragraph: help texts break lines where they mean it.
std::string paragraphs(const std::string& text) {
  std::string out;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    if (end > from)
      out += (out.empty() ? "" : ".PP\n") + roff(text.substr(from, end - from)) + '\n';
    from = end + 1;
  }
  return out;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// The first sentence, as "NAME" wants it: no full stop.
std::string first_sentence(const std::string& text) {
  std::string sentence = text.substr(0, std::min(text.find('\n'), text.find(". ")));
  if (sentence.ends_with('.')) sentence.pop_back();
  return sentence;
}

std::string option_entry(const OptionText& option) {
  std::string names;
  for (const std::string& name : option.names) names += (names.empty() ? "" : ", ") + bold(name);
  if (!option.value.empty()) names += ' ' + italic(option.value);
  std::string help = option.help;
  if (!option.default_value.empty()) help += " [" + option.default_value + ']';
  return ".TP\n" + names + '\n' + roff(help) + '\n';
}

std::string positional_entry(const OptionText& positional) {
  return ".TP\n" + italic(positional.names[0]) + '\n' + roff(positional.help) + '\n';
}

std::string entries(const CommandText& command) {
  std::string out;
  for (const OptionText& positional : command.positionals) out += positional_entry(positional);
  for (const OptionText& option : command.options) out += option_entry(option);
  return out;
}

std::string usage(const CommandText& command, const std::string& front) {
  std::string line = front + " [" + italic("OPTIONS") + ']';
  for (const OptionText& positional : command.positionals) {
    const std::string name = italic(positional.names[0]);
    line += positional.is_required ? ' ' + name : " [" + name + ']';
  }
  if (!command.commands.empty()) line += ' ' + italic("COMMAND") + " ...";
  return line + '\n';
}

}  // namespace

std::string man_page(const CommandText& program, const std::string& version) {
  std::string page = ".\\\" Made from the program's --help.\n.TH " + upper(roff(program.name)) +
                     " 1 \"\" \"" + roff(version) + "\" \"User Commands\"\n.nh\n.ad l\n" +
                     ".SH NAME\n" + roff(program.name) + " \\- " +
                     roff(first_sentence(program.help)) + "\n.SH SYNOPSIS\n" +
                     usage(program, bold(program.name)) + ".SH DESCRIPTION\n" +
                     paragraphs(program.help) + ".SH OPTIONS\n" + entries(program);
  if (!program.commands.empty()) page += ".SH COMMANDS\n";
  for (const CommandText& command : program.commands) {
    page += ".SS " + roff(command.name) + '\n' +
            usage(command, bold(program.name) + ' ' + bold(command.name)) + ".PP\n" +
            paragraphs(command.help) + entries(command);
  }
  if (!program.footer.empty()) page += ".SH NOTES\n" + paragraphs(program.footer);
  return page;
}

}  // namespace squant::cli
