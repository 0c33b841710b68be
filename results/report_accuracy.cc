// Top-1 against bits, and what each mode loses.
#include <algorithm>
#include <cmath>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/svg.h"

namespace squant::results {
namespace {

constexpr double kWidth = 352, kHeight = 228;
constexpr double kLeft = 40, kRight = 342, kTop = 14, kBottom = 204;

// Categories side by side.
struct Columns {
  std::size_t count = 1;
  double width() const { return (kRight - kLeft) / static_cast<double>(count); }
  double center(std::size_t column) const {
    return kLeft + (static_cast<double>(column) + 0.5) * width();
  }
};

void draw_value_axis(Svg& svg, const Scale& y, std::string_view unit) {
  for (const Tick& tick : linear_ticks(y.low, y.high, 5)) {
    svg.line(kLeft, y(tick.value), kRight, y(tick.value), tick.value == 0 ? "axis" : "gridline");
    svg.text(kLeft - 6, y(tick.value) + 3.5, tick.label, "tick end");
  }
  svg.text(kLeft - 34, 9, unit, "tick");
}

void draw_bits(Svg& svg, const std::vector<BitsOrder>& bits, const Columns& columns) {
  for (std::size_t i = 0; i < bits.size(); ++i) {
    svg.text(columns.center(i), kBottom + 17, bits[i].label, "label middle");
    if (i > 0 && bits[i].kind != bits[i - 1].kind) {
      const double x = columns.center(i) - columns.width() / 2;
      svg.line(x, kTop, x, kBottom + 6, "divider");
    }
  }
}

std::string point_hint(const ResultRow& row) {
  std::string text = row.job.bits + ' ' + row.job.mode + ": " + decimal(row.top1_pct, 2) + "%, " +
                     decimal(row.ci_low_pct, 2) + " to " + decimal(row.ci_high_pct, 2);
  if (row.reference_top1_pct) text += "; reference " + decimal(*row.reference_top1_pct, 2) + '%';
  return text + "; " + row.verdict;
}

// All that is drawn lies inside, with some air, within 0 to 100.
Scale accuracy_scale(const Panel& panel) {
  double low = 100;
  double high = 0;
  for (const auto& [key, row] : panel.cells) {
    low = std::min({low, row->ci_low_pct, row->reference_top1_pct.value_or(100)});
    high = std::max({high, row->ci_high_pct, row->reference_top1_pct.value_or(0)});
  }
  const double air = std::max((high - low) * 0.06, 0.25);
  return {std::max(0.0, low - air), std::min(100.0, high + air), kBottom, kTop};
}

struct Placed {
  double x = 0;
  const ResultRow* row = nullptr;
};

void draw_points(Svg& svg, const std::vector<Placed>& points, const Scale& y,
                 const ModeOrder& mode) {
  const std::string style = mode_style(mode);
  for (const auto& [x, row] : points) {
    if (row->reference_top1_pct) {
      const double at = y(*row->reference_top1_pct);
      svg.line(x - 6.5, at, x + 6.5, at, "reference");
    }
    svg.line(x, y(row->ci_low_pct), x, y(row->ci_high_pct), "whisker " + style);
    svg.marker(mode_shape(mode), x, y(row->top1_pct), style, point_hint(*row));
  }
}

std::string describe_accuracy(const Panel& panel) {
  std::string text;
  for (const BitsOrder& bits : panel.bits) {
    double low = 100;
    double high = 0;
    for (const auto& [key, row] : panel.cells) {
      if (!(key.first == bits)) continue;
      low = std::min(low, row->top1_pct);
      high = std::max(high, row->top1_pct);
    }
    text += (text.empty() ? "" : "; ") + bits.label + ' ' + decimal(low, 2);
    if (high > low) text += " to " + decimal(high, 2);
  }
  return "Top-1 in percent: " + text + ". Whiskers are 95% intervals.";
}

std::string accuracy_plot(const Panel& panel, std::size_t number) {
  Svg svg("acc" + std::to_string(number), kWidth, kHeight, "Top-1 against bits, " + panel.name(),
          describe_accuracy(panel));
  const Scale y = accuracy_scale(panel);
  const Columns columns{panel.bits.size()};
  draw_value_axis(svg, y, "top-1 %");
  draw_bits(svg, panel.bits, columns);
  if (panel.baseline != nullptr) {
    svg.line(kLeft, y(panel.baseline->top1_pct), kRight, y(panel.baseline->top1_pct), "baseline");
    draw_points(svg, {{columns.center(0), panel.baseline}}, y, mode_order("float"));
  }
  const double num_modes = static_cast<double>(panel.modes.size());
  const double step = std::min(9.0, columns.width() * 0.8 / std::max(1.0, num_modes));
  for (std::size_t m = 0; m < panel.modes.size(); ++m) {
    const double offset = (static_cast<double>(m) - (num_modes - 1) / 2) * step;
    std::vector<Placed> points;
    std::vector<std::vector<std::pair<double, double>>> lines(3);  // joint and weights-only apart
    for (std::size_t b = 0; b < panel.bits.size(); ++b) {
      const ResultRow* const row = panel.find(panel.bits[b], panel.modes[m]);
      if (row == nullptr) continue;
      points.push_back({columns.center(b) + offset, row});
      lines[panel.bits[b].kind].emplace_back(points.back().x, y(row->top1_pct));
    }
    for (const auto& line : lines) svg.polyline(line, "series " + mode_style(panel.modes[m]));
    draw_points(svg, points, y, panel.modes[m]);
  }
  svg.line(kLeft, kBottom, kRight, kBottom, "axis");
  return svg.finish();
}

// --- losses

struct Loss {
  double points = 0;
  const ResultRow* row = nullptr;
};

std::vector<Loss> losses(const Panel& panel) {
  std::vector<Loss> all;
  for (const auto& [key, row] : panel.cells) {
    if (row != panel.baseline) all.push_back({panel.baseline->top1_pct - row->top1_pct, row});
  }
  return all;
}

Scale loss_scale(const std::vector<Loss>& all) {
  double low = 0;
  double high = 0.1;
  for (const Loss& loss : all) {
    low = std::min(low, loss.points);
    high = std::max(high, loss.points);
  }
  const double air = (high - low) * 0.08;
  return {low < 0 ? low - air : 0, high + air, kBottom, kTop};
}

std::string loss_text(double points) { return decimal(points == 0 ? 0 : points, 2); }

std::string describe_losses(const Panel& panel) {
  std::string text =
      "Points of top-1 lost against float " + decimal(panel.baseline->top1_pct, 2) + "%: ";
  for (const BitsOrder& bits : panel.bits) {
    if (bits.kind == 0) continue;
    text += bits.label;
    for (const ModeOrder& mode : panel.modes) {
      const ResultRow* const row = panel.find(bits, mode);
      if (row != nullptr)
        text += ' ' + mode.mode + ' ' + loss_text(panel.baseline->top1_pct - row->top1_pct) + ',';
    }
    text.back() = ';';
    text += ' ';
  }
  text.resize(text.size() - 2);
  return text + '.';
}

void draw_bar(Svg& svg, double x, double width, const Scale& y, double points, const ResultRow& row,
              const ModeOrder& mode, bool is_last) {
  const double top = std::min(y(points), y(0));
  const double height = std::max(std::abs(y(points) - y(0)), 0.8);
  svg.rect(x, top, width, height, "column " + mode_style(mode),
           row.job.bits + ' ' + row.job.mode + ": " + loss_text(points) + " points lost");
  if (!is_last) return;
  const double below = points < 0 ? top + height + 10 : top - 4;
  svg.text(x + width / 2, below, loss_text(points), "value middle");
}

std::string loss_plot(const Panel& panel, std::size_t number) {
  Svg svg("loss" + std::to_string(number), kWidth, kHeight,
          "Top-1 lost by each mode, " + panel.name(), describe_losses(panel));
  std::vector<BitsOrder> bits = panel.bits;
  std::erase_if(bits, [](const BitsOrder& order) { return order.kind == 0; });
  const Scale y = loss_scale(losses(panel));
  const Columns columns{bits.size()};
  draw_value_axis(svg, y, "points lost");
  draw_bits(svg, bits, columns);
  const double num_modes = static_cast<double>(panel.modes.size());
  const double width = std::min(16.0, columns.width() * 0.84 / num_modes);
  for (std::size_t b = 0; b < bits.size(); ++b) {
    for (std::size_t m = 0; m < panel.modes.size(); ++m) {
      const ResultRow* const row = panel.find(bits[b], panel.modes[m]);
      if (row == nullptr) continue;
      const double x = columns.center(b) + (static_cast<double>(m) - num_modes / 2) * width;
      draw_bar(svg, x + 0.75, width - 1.5, y, panel.baseline->top1_pct - row->top1_pct, *row,
               panel.modes[m], m + 1 == panel.modes.size());
    }
  }
  svg.line(kLeft, y(0), kRight, y(0), "axis");
  return svg.finish();
}

// --- both

std::vector<ModeOrder> all_modes(std::span<const Panel> panels) {
  std::vector<ModeOrder> modes;
  for (const Panel& panel : panels)
    modes.insert(modes.end(), panel.modes.begin(), panel.modes.end());
  std::sort(modes.begin(), modes.end());
  modes.erase(std::unique(modes.begin(), modes.end()), modes.end());
  return modes;
}

bool has_reference(std::span<const Panel> panels) {
  return std::any_of(panels.begin(), panels.end(), [](const Panel& panel) {
    return std::any_of(panel.cells.begin(), panel.cells.end(), [](const auto& cell) {
      return cell.second->reference_top1_pct.has_value();
    });
  });
}

std::string panel_title(const Panel& panel) {
  return escape_markup(panel.model) +
         (panel.detail.empty() ? "" : " <small>" + escape_markup(panel.detail) + "</small>");
}

template <typename Plot>
std::string panel_grid(std::span<const Panel> panels, Plot plot) {
  const std::size_t num_shown = std::min(panels.size(), kMaxReportPanels);
  std::string html = "<div class=\"panels\">\n";
  for (std::size_t i = 0; i < num_shown; ++i)
    html += "<div class=\"panel\"><h3>" + panel_title(panels[i]) + "</h3>" +
            figure(plot(panels[i], i), {}) + "</div>\n";
  html += "</div>\n";
  if (panels.size() > num_shown) {
    html += paragraph(std::to_string(num_shown) + " of " +
                      with_thousands(static_cast<std::int64_t>(panels.size())) +
                      " are drawn; --where model=NAME,NAME chooses others.");
  }
  return html;
}

// Modes against bits, for each panel.
template <typename Value>
std::string pivot_tables(std::span<const Panel> panels, std::string_view what, Value value) {
  TextTable table;
  std::vector<BitsOrder> bits;
  for (const Panel& panel : panels) bits.insert(bits.end(), panel.bits.begin(), panel.bits.end());
  std::sort(bits.begin(), bits.end());
  bits.erase(std::unique(bits.begin(), bits.end()), bits.end());
  table.columns = {"model", "mode"};
  for (const BitsOrder& order : bits) table.columns.push_back(order.label);
  for (const Panel& panel : panels.first(std::min(panels.size(), kMaxReportPanels))) {
    std::vector<ModeOrder> modes = panel.modes;
    if (panel.baseline != nullptr) modes.insert(modes.begin(), mode_order("float"));
    for (const ModeOrder& mode : modes) {
      std::vector<TextTable::Cell> line = {TextTable::cell(panel.name()),
                                           TextTable::cell(mode.mode)};
      for (const BitsOrder& order : bits) {
        const ResultRow* const row = panel.find(order, mode);
        line.push_back(row == nullptr
                           ? TextTable::Cell{}
                           : TextTable::Cell{TextTable::Type::kReal, value(panel, *row)});
      }
      table.rows.push_back(std::move(line));
    }
  }
  return data_table(table, what);
}

}  // namespace

std::string accuracy_section(std::span<const Panel> panels) {
  if (panels.empty()) return {};
  return section("accuracy", "Top-1 against bits",
                 mode_legend(all_modes(panels), has_reference(panels)) +
                     panel_grid(panels, accuracy_plot) +
                     "<p class=\"note\">Whiskers: 95% Wilson intervals. Dashed: the float "
                     "network.</p>\n" +
                     pivot_tables(panels, "top-1 in percent",
                                  [](const Panel& /*panel*/, const ResultRow& row) {
                                    return decimal(row.top1_pct, 2);
                                  }));
}

std::string ablation_section(std::span<const Panel> panels) {
  std::vector<Panel> shown;
  std::copy_if(panels.begin(), panels.end(), std::back_inserter(shown), [](const Panel& panel) {
    return panel.baseline != nullptr && !panel.modes.empty();
  });
  if (shown.empty()) return {};
  return section(
      "ablation", "What each mode loses",
      mode_legend(all_modes(shown), false) + panel_grid(shown, loss_plot) +
          "<p class=\"note\">Percentage points of top-1 below the float network of the same "
          "weights on the same images; shorter is better. The figure is the last mode's.</p>\n" +
          pivot_tables(shown, "points of top-1 lost", [](const Panel& panel, const ResultRow& row) {
            return loss_text(panel.baseline->top1_pct - row.top1_pct);
          }));
}

}  // namespace squant::results
