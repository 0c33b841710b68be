#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include <unistd.h>

#include "results/printer.h"

namespace squant::results {
namespace {

using Cell = TextTable::Cell;
using Type = TextTable::Type;
using Tone = TextTable::Tone;

bool is_number(const Cell& cell) { return cell.type == Type::kInteger || cell.type == Type::kReal; }

// Numbers stand to the right; a column counts as numbers if it holds nothing else, and something at
// all.
std::vector<bool> number_columns(const TextTable& table) {
  std::vector<bool> numbers(table.columns.size(), false);
  for (std::size_t column = 0; column < numbers.size(); ++column) {
    bool only_numbers = true;
    for (const auto& row : table.rows) {
      if (is_number(row[column])) numbers[column] = true;
      if (row[column].type == Type::kText) only_numbers = false;
    }
    if (!only_numbers) numbers[column] = false;
  }
  return numbers;
}

// Code points that take a place of their own: everything but UTF-8's continuation bytes.
std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string without_controls(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      shown += "\\n";
    } else if (c == '\t') {
      shown += ' ';
    } else if (byte < 0x20 || byte == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      shown += escaped;
    } else {
      shown += c;
    }
  }
  return shown;
}

const char* color_of(Tone tone) {
  switch (tone) {
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kBad:
      return "\x1b[31m";
    case Tone::kDoubtful:
      return "\x1b[33m";
    case Tone::kFaint:
      return "\x1b[2m";
    case Tone::kPlain:
      break;
  }
  return "";
}

void print_aligned(std::ostream& out, const TextTable& table, TerminalStyle style) {
  const std::size_t num_columns = table.columns.size();
  const std::vector<bool> numbers = number_columns(table);
  std::vector<std::vector<std::string>> lines{table.columns};
  for (const auto& row : table.rows) {
    auto& line = lines.emplace_back();
    for (const Cell& cell : row)
      line.push_back(cell.type == Type::kNull ? "-" : without_controls(cell.text));
  }
  std::vector<std::size_t> widths(num_columns, 0);
  for (const auto& line : lines) {
    for (std::size_t c = 0; c < num_columns; ++c)
      widths[c] = std::max(widths[c], display_width(line[c]));
  }
  for (std::size_t r = 0; r < lines.size(); ++r) {
    std::string text;
    for (std::size_t c = 0; c < num_columns; ++c) {
      const std::string padding(widths[c] - display_width(lines[r][c]), ' ');
      const char* const color = style.color && r > 0 ? color_of(table.rows[r - 1][c].tone) : "";
      text += c == 0 ? "" : "  ";
      if (numbers[c]) text += padding;
      text += *color == '\0' ? lines[r][c] : color + lines[r][c] + "\x1b[0m";
      if (!numbers[c] && c + 1 < num_columns) text += padding;
    }
    out << text << '\n';
    if (r > 0) continue;
    for (std::size_t c = 0; c < num_columns; ++c)
      out << (c == 0 ? "" : "  ") << std::string(widths[c], '-');
    out << '\n';
  }
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

void print_csv(std::ostream& out, const TextTable& table) {
  const auto separator = [](std::size_t column) { return column == 0 ? "" : ","; };
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    out << separator(c) << csv_field(table.columns[c]);
  out << '\n';
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) out << separator(c) << csv_field(row[c].text);
    out << '\n';
  }
}

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void print_json(std::ostream& out, const TextTable& table) {
  out << '[';
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    out << (r == 0 ? "\n  {" : ",\n  {");
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const Cell& cell = table.rows[r][c];
      out << (c == 0 ? "" : ", ") << json_string(table.columns[c]) << ": ";
      out << (cell.type == Type::kNull ? "null"
              : is_number(cell)        ? cell.text
                                       : json_string(cell.text));
    }
    out << '}';
  }
  out << (table.rows.empty() ? "]\n" : "\n]\n");
}

void print_markdown(std::ostream& out, const TextTable& table) {
  const auto escape = [](const std::string& text) {
    std::string escaped;
    for (const char c : without_controls(text))
      escaped += c == '|' ? std::string("\\|") : std::string(1, c);
    return escaped;
  };
  const std::vector<bool> numbers = number_columns(table);
  out << '|';
  for (const std::string& column : table.columns) out << ' ' << escape(column) << " |";
  out << "\n|";
  for (const bool is_right : numbers) out << (is_right ? "---:|" : "---|");
  out << '\n';
  for (const auto& row : table.rows) {
    out << '|';
    for (const Cell& cell : row) out << ' ' << escape(cell.text) << " |";
    out << '\n';
  }
}

void print_latex(std::ostream& out, const TextTable& table) {
  out << "% needs \\usepackage{booktabs}\n\\begin{tabular}{";
  for (const bool is_right : number_columns(table)) out << (is_right ? 'r' : 'l');
  out << "}\n\\toprule\n";
  const auto print_line = [&](std::size_t size, const auto& text_of) {
    for (std::size_t c = 0; c < size; ++c) out << (c == 0 ? "" : " & ") << latex_escape(text_of(c));
    out << " \\\\\n";
  };
  print_line(table.columns.size(), [&](std::size_t c) { return table.columns[c]; });
  out << "\\midrule\n";
  for (const auto& row : table.rows)
    print_line(row.size(), [&](std::size_t c) { return row[c].text; });
  out << "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace

Format parse_format(const std::string& name) {
  constexpr std::array kNames = {"table", "csv", "json", "markdown", "latex", "junit"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found != kNames.end()) return static_cast<Format>(found - kNames.begin());
  throw std::invalid_argument("unknown format '" + name +
                              "'; known: table, csv, json, markdown, latex, junit");
}

TerminalStyle TerminalStyle::detect(int descriptor) {
  const char* const no_color = std::getenv("NO_COLOR");
  const char* const term = std::getenv("TERM");
  const bool is_dumb = term == nullptr || std::string(term) == "dumb";
  return {.color =
              ::isatty(descriptor) == 1 && (no_color == nullptr || *no_color == '\0') && !is_dumb};
}

Cell TextTable::cell(double value) {
  if (!std::isfinite(value)) return {};
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {Type::kReal, std::string(text.data(), end.ptr)};
}

void print_table(std::ostream& out, const TextTable& table, Format format, TerminalStyle style) {
  switch (format) {
    case Format::kTable:
      return print_aligned(out, table, style);
    case Format::kCsv:
      return print_csv(out, table);
    case Format::kJson:
      return print_json(out, table);
    case Format::kMarkdown:
      return print_markdown(out, table);
    case Format::kLatex:
      return print_latex(out, table);
    case Format::kJunit:
      break;
  }
  throw std::invalid_argument("the format junit is for results alone");
}

std::string latex_escape(const std::string& text) {
  std::string escaped;
  for (const char c : without_controls(text)) {
    switch (c) {
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        escaped += '\\';
        escaped += c;
        break;
      case '\\':
        escaped += "\\textbackslash{}";
        break;
      case '~':
        escaped += "\\textasciitilde{}";
        break;
      case '^':
        escaped += "\\textasciicircum{}";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string with_thousands(std::int64_t value) {
  const std::string plain = std::to_string(value);
  std::string text;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (i > 0 && plain[i - 1] != '-' && (plain.size() - i) % 3 == 0) text += ',';
    text += plain[i];
  }
  return text;
}

std::string decimal(double value, int decimals) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  const std::string plain = text.data();
  const std::size_t point = std::min(plain.find('.'), plain.size());
  std::string grouped;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const bool is_inside = i > 0 && i < point && plain[i - 1] != '-';
    if (is_inside && (point - i) % 3 == 0) grouped += ',';
    grouped += plain[i];
  }
  return grouped;
}

}  // namespace squant::results
