// What quantization does to each layer's weights.
#include <algorithm>
#include <cmath>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/svg.h"

namespace squant::results {
namespace {

constexpr double kWidth = 728, kHeight = 190;
constexpr double kLeft = 52, kRight = 716, kTop = 16, kBottom = 150;

struct Layer {
  std::string name;
  double error_per_weight = 0;  // squared, in steps of the code
  double channel_error = 0;     // largest |sum of errors| of an output channel
};

struct LayerSeries {
  ModeOrder mode;
  std::vector<Layer> layers;
};

struct LayerPlot {
  std::string name;  // "resnet18, w4a4"
  std::vector<LayerSeries> series;
  std::size_t num_layers() const { return series[0].layers.size(); }
};

std::vector<Layer> read_layers(Connection& connection, const std::string& evaluation) {
  Query rows(connection.statement(
      "SELECT name, squared_error / nullif(num_weights, 0), max_channel_error FROM layers"
      " WHERE evaluation = ? ORDER BY layer LIMIT ?"));
  rows.bind(evaluation, static_cast<std::int64_t>(kMaxReportLayers));
  std::vector<Layer> layers;
  while (rows.step()) layers.push_back({rows.text(0), rows.real(1), rows.real(2)});
  return layers;
}

// The modes at the fewest bits of which there are layers.
LayerPlot read_plot(Connection& connection, const Panel& panel) {
  std::vector<BitsOrder> bits = panel.bits;
  std::erase_if(bits, [](const BitsOrder& order) { return order.kind == 0; });
  // Of two with as many bits, the one with more modes to compare.
  const auto rank = [&](const BitsOrder& order) {
    return std::pair(order.weight_bits, -std::count_if(panel.modes.begin(), panel.modes.end(),
                                                       [&](const ModeOrder& mode) {
                                                         return panel.find(order, mode) != nullptr;
                                                       }));
  };
  std::stable_sort(bits.begin(), bits.end(),
                   [&](const BitsOrder& a, const BitsOrder& b) { return rank(a) < rank(b); });
  LayerPlot plot;
  for (const BitsOrder& order : bits) {
    for (const ModeOrder& mode : panel.modes) {
      const ResultRow* const row = panel.find(order, mode);
      if (row == nullptr) continue;
      std::vector<Layer> layers = read_layers(connection, row->job.evaluation);
      const bool fits = plot.series.empty() || layers.size() == plot.num_layers();
      if (!layers.empty() && fits) plot.series.push_back({mode, std::move(layers)});
    }
    if (plot.series.empty()) continue;
    plot.name = panel.name() + ", " + order.label;
    break;
  }
  return plot;
}

using Measure = double Layer::*;

double largest(const LayerPlot& plot, Measure measure) {
  double value = 0;
  for (const LayerSeries& series : plot.series) {
    for (const Layer& layer : series.layers) value = std::max(value, layer.*measure);
  }
  return value;
}

std::string describe(const LayerPlot& plot, Measure measure) {
  std::string text = with_thousands(static_cast<std::int64_t>(plot.num_layers())) + " layers. ";
  for (const LayerSeries& series : plot.series) {
    const auto worst =
        std::max_element(series.layers.begin(), series.layers.end(),
                         [&](const Layer& a, const Layer& b) { return a.*measure < b.*measure; });
    text += series.mode.mode + ": largest " + decimal((*worst).*measure, 3) + " in " + worst->name +
            ". ";
  }
  text.pop_back();
  return text;
}

std::string layer_plot(const LayerPlot& plot, Measure measure, const std::string& id,
                       const std::string& title, std::string_view unit) {
  Svg svg(id, kWidth, kHeight, title + ", " + plot.name, describe(plot, measure));
  const Scale y{0, std::max(largest(plot, measure) * 1.08, 1e-9), kBottom, kTop};
  const double last = static_cast<double>(plot.num_layers()) - 1;
  const Scale x{0, last, kLeft + 10, kRight - 10};
  for (const Tick& tick : linear_ticks(y.low, y.high, 4)) {
    svg.line(kLeft, y(tick.value), kRight, y(tick.value), tick.value == 0 ? "axis" : "gridline");
    svg.text(kLeft - 6, y(tick.value) + 3.5, tick.label, "tick end");
  }
  svg.text(kLeft - 46, 9, unit, "tick");
  for (const Tick& tick : linear_ticks(0, last, 12)) {
    if (tick.value == std::round(tick.value))
      svg.text(x(tick.value), kBottom + 16, tick.label, "tick middle");
  }
  svg.text((kLeft + kRight) / 2, kBottom + 32, "layer", "tick middle");
  const bool has_markers = plot.num_layers() <= 60;
  for (const LayerSeries& series : plot.series) {
    std::vector<std::pair<double, double>> points;
    for (std::size_t i = 0; i < series.layers.size(); ++i)
      points.emplace_back(x(static_cast<double>(i)), y(series.layers[i].*measure));
    svg.polyline(points, "series " + mode_style(series.mode));
    for (std::size_t i = 0; has_markers && i < points.size(); ++i) {
      svg.marker(mode_shape(series.mode), points[i].first, points[i].second,
                 mode_style(series.mode),
                 std::to_string(i) + ' ' + series.layers[i].name + ", " + series.mode.mode + ": " +
                     decimal(series.layers[i].*measure, 3));
    }
  }
  return svg.finish();
}

TextTable layer_table(const LayerPlot& plot) {
  TextTable table;
  table.columns = {"layer", "name"};
  for (const LayerSeries& series : plot.series)
    table.columns.push_back(series.mode.mode + " error/weight");
  for (const LayerSeries& series : plot.series)
    table.columns.push_back(series.mode.mode + " channel sum");
  for (std::size_t i = 0; i < plot.num_layers(); ++i) {
    auto& row = table.rows.emplace_back();
    row = {TextTable::cell(static_cast<std::int64_t>(i)),
           TextTable::cell(plot.series[0].layers[i].name)};
    for (const Measure measure : {&Layer::error_per_weight, &Layer::channel_error}) {
      for (const LayerSeries& series : plot.series)
        row.push_back({TextTable::Type::kReal, decimal(series.layers[i].*measure, 4)});
    }
  }
  return table;
}

}  // namespace

std::string layer_section(Connection& connection, std::span<const Panel> panels) {
  std::string html;
  std::vector<ModeOrder> modes;
  std::size_t number = 0;
  for (const Panel& panel : panels.first(std::min(panels.size(), kMaxReportPanels))) {
    const LayerPlot plot = read_plot(connection, panel);
    if (plot.series.empty()) continue;
    for (const LayerSeries& series : plot.series) modes.push_back(series.mode);
    const std::string id = "layer" + std::to_string(number++);
    html += "<div class=\"panel wide\"><h3>" + escape_markup(plot.name) + "</h3>\n" +
            figure(layer_plot(plot, &Layer::error_per_weight, id + "e", "Squared error per weight",
                              "squared error per weight, steps\xC2\xB2"),
                   {}) +
            figure(layer_plot(plot, &Layer::channel_error, id + "c",
                              "Largest sum of errors in an output channel",
                              "largest |sum of errors| of an output channel, steps"),
                   {}) +
            data_table(layer_table(plot), "layers of " + plot.name) + "</div>\n";
  }
  if (html.empty()) return {};
  std::sort(modes.begin(), modes.end());
  modes.erase(std::unique(modes.begin(), modes.end()), modes.end());
  return section(
      "layers", "Error per layer",
      mode_legend(modes, false) + html +
          "<p class=\"note\">Errors are in steps of the weight's code, at the fewest bits of each "
          "network. SQuant accepts a slightly larger squared error to bring the sums of errors of "
          "each kernel and channel near zero.</p>\n");
}

}  // namespace squant::results
