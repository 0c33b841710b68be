#include <algorithm>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/summary.h"
#include "results/svg.h"

namespace squant::results {
namespace {

const char* tone_class(TextTable::Tone tone) {
  switch (tone) {
    case TextTable::Tone::kGood:
      return "good";
    case TextTable::Tone::kBad:
      return "bad";
    case TextTable::Tone::kDoubtful:
      return "doubtful";
    default:
      return "faint";
  }
}

bool is_number(const TextTable::Cell& cell) {
  return cell.type == TextTable::Type::kInteger || cell.type == TextTable::Type::kReal;
}

bool is_number_column(const TextTable& table, std::size_t column) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const auto& row) { return is_number(row[column]); });
}

std::string cell_html(const TextTable::Cell& cell, bool is_right, bool is_head) {
  const std::string text =
      cell.type == TextTable::Type::kNull ? "\xE2\x80\x93" : escape_markup(cell.text);
  const std::string style = is_right ? " class=\"n\"" : "";
  return is_head ? "<th scope=\"row\"" + style + ">" + text + "</th>"
                 : "<td" + style + ">" + text + "</td>";
}

}  // namespace

std::string section(std::string_view id, std::string_view title, const std::string& content) {
  if (content.empty()) return {};
  const std::string name(id);
  return "<section id=\"" + name + "\" aria-labelledby=\"" + name + "-h\">\n<h2 id=\"" + name +
         "-h\">" + escape_markup(title) + "</h2>\n" + content + "</section>\n";
}

std::string paragraph(std::string_view text) { return "<p>" + escape_markup(text) + "</p>\n"; }

std::string figure(const std::string& drawing, std::string_view caption) {
  const std::string text =
      caption.empty() ? "" : "<figcaption>" + escape_markup(caption) + "</figcaption>\n";
  return "<figure>\n<div class=\"drawing\">" + drawing + "</div>\n" + text + "</figure>\n";
}

std::string html_table(const TextTable& table, std::string_view caption) {
  std::vector<bool> numbers;
  std::string html = "<div class=\"scroll\"><table>\n<caption>" + escape_markup(caption) +
                     "</caption>\n<thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    numbers.push_back(is_number_column(table, c));
    html += "<th scope=\"col\"" + std::string(numbers[c] ? " class=\"n\"" : "") + ">" +
            escape_markup(table.columns[c]) + "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) html += cell_html(row[c], numbers[c], c == 0);
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string data_table(const TextTable& table, std::string_view caption) {
  return "<details><summary>The numbers: " + escape_markup(caption) + "</summary>\n" +
         html_table(table, caption) + "</details>\n";
}

std::string verdict_badge(const std::string& verdict) {
  return "<span class=\"badge " + std::string(tone_class(tone_of(verdict))) + "\">" +
         escape_markup(verdict) + "</span>";
}

std::string mode_style(const ModeOrder& mode) {
  return "m" + std::to_string(std::min<std::size_t>(mode.rank, 5));
}

std::size_t mode_shape(const ModeOrder& mode) {
  constexpr std::size_t kShapes[] = {0, 1, 2, 3, 0, 4};  // float and squant: a circle
  return kShapes[std::min<std::size_t>(mode.rank, 5)];
}

std::string mode_legend(const std::vector<ModeOrder>& modes, bool has_reference) {
  std::string html = "<ul class=\"legend\">";
  const auto add = [&](const std::string& style, std::size_t shape, const std::string& name) {
    Svg key("", 14, 12, "", "");
    key.marker(shape, 7, 6, style);
    html += "<li>" + key.finish_decoration() + escape_markup(name) + "</li>";
  };
  for (const ModeOrder& mode : modes) add(mode_style(mode), mode_shape(mode), mode.mode);
  if (has_reference) {
    Svg key("", 18, 12, "", "");
    key.line(2, 6, 16, 6, "reference");
    html += "<li>" + key.finish_decoration() + "reference</li>";
  }
  return html + "</ul>\n";
}

}  // namespace squant::results
