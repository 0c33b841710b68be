// Time to quantize, beside what other methods take.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "results/markup.h"
#include "results/report_sections.h"
#include "results/svg.h"

namespace squant::results {
namespace {

constexpr double kWidth = 728, kLeft = 168, kRight = 690, kTop = 30, kLine = 36;
constexpr std::size_t kMaxModels = 24;

struct TimedModel {
  std::string model;
  std::string detail;  // "w4a4, 0.3 M weights"; empty: only other methods were timed
  double low_ms = 0, median_ms = 0, high_ms = 0;  // measured; 0: not
  std::vector<std::pair<std::string, double>> others_ms;
};

// Four bits are what the paper timed; else the fewest that were quantized.
int bits_to_compare(const std::vector<const ResultRow*>& rows) {
  int fewest = 32;
  for (const ResultRow* row : rows) {
    if (row->job.weight_bits == 4) return 4;
    fewest = std::min(fewest, row->job.weight_bits);
  }
  return fewest;
}

std::map<std::string, std::int64_t> weights_of_models(Connection& connection) {
  std::map<std::string, std::int64_t> weights;
  Query rows(connection.statement(
      "SELECT e.model, max(p.num_weights) FROM preparation p JOIN evaluation e USING "
      "(evaluation_id) GROUP BY e.model"));
  while (rows.step()) weights[rows.text(0)] = rows.integer(1);
  return weights;
}

TimedModel measure(const std::string& model, const std::vector<const ResultRow*>& rows,
                   std::int64_t num_weights) {
  const int bits = bits_to_compare(rows);
  std::vector<double> times;
  std::set<std::string> devices;  // that these times were taken on
  for (const ResultRow* row : rows) {
    if (row->job.weight_bits != bits) continue;
    times.push_back(*row->quantize_ms);
    if (!row->quantize_device.empty()) devices.insert(row->quantize_device);
  }
  std::sort(times.begin(), times.end());
  std::string detail = std::to_string(bits) + " bits";
  if (num_weights > 0) {
    const double millions = static_cast<double>(num_weights) / 1e6;
    detail += ", " + decimal(millions, millions < 1 ? 2 : 1) + " M weights";
  }
  for (const std::string& device : devices) detail += ", " + device;
  return {model, detail, times.front(), times[times.size() / 2], times.back(), {}};
}

// Measured models in the order of the rows, then those that only the reference knows.
std::vector<TimedModel> timed_models(Connection& connection, std::span<const ResultRow> rows,
                                     const ReferenceTimes& times) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ResultRow*>> by_model;
  for (const ResultRow& row : rows) {
    if (!row.quantize_ms || row.job.mode != "squant" || !(*row.quantize_ms > 0)) continue;
    if (by_model[row.job.model].empty()) order.push_back(row.job.model);
    by_model[row.job.model].push_back(&row);
  }
  if (order.empty()) return {};
  if (order.size() > kMaxModels) order.resize(kMaxModels);
  const auto weights = weights_of_models(connection);
  std::vector<TimedModel> models;
  for (const std::string& model : order) {
    const auto found = weights.find(model);
    models.push_back(measure(model, by_model[model], found == weights.end() ? 0 : found->second));
  }
  for (const auto& [model, methods_ms] : times.models) {
    const auto found =
        std::find_if(models.begin(), models.end(),
                     [&name = model](const auto& timed) { return timed.model == name; });
    if (found != models.end()) {
      found->others_ms = methods_ms;
    } else {
      models.push_back({model, {}, 0, 0, 0, methods_ms});
    }
  }
  return models;
}

Scale time_scale(const std::vector<TimedModel>& models) {
  double low = 1;
  double high = 1000;
  for (const TimedModel& model : models) {
    if (model.low_ms > 0) {
      low = std::min(low, model.low_ms);
      high = std::max(high, model.high_ms);
    }
    for (const auto& [method, ms] : model.others_ms) {
      low = std::min(low, ms);
      high = std::max(high, ms);
    }
  }
  return {std::pow(10, std::floor(std::log10(low))), std::pow(10, std::ceil(std::log10(high))),
          kLeft, kRight, true};
}

std::string decade_text(double milliseconds) {
  if (milliseconds < 1) return decimal(milliseconds * 1e3, 0) + " µs";
  if (milliseconds < 1e3) return decimal(milliseconds, 0) + " ms";
  return decimal(milliseconds / 1e3, 0) + " s";
}

std::string method_style(const std::vector<std::string>& methods, const std::string& method) {
  const auto index = std::find(methods.begin(), methods.end(), method) - methods.begin();
  return "t" + std::to_string(std::min<std::ptrdiff_t>(index, 3));
}

// The quickest first.
std::vector<std::string> methods_of(const std::vector<TimedModel>& models) {
  std::vector<std::pair<double, std::string>> methods;
  for (const TimedModel& model : models) {
    for (const auto& [method, ms] : model.others_ms) {
      const bool is_known =
          std::any_of(methods.begin(), methods.end(),
                      [&name = method](const auto& known) { return known.second == name; });
      if (!is_known) methods.emplace_back(ms, method);
    }
  }
  std::sort(methods.begin(), methods.end());
  std::vector<std::string> names;
  for (const auto& [ms, method] : methods) names.push_back(method);
  return names;
}

void draw_model(Svg& svg, const TimedModel& model, double y, const Scale& x,
                const std::vector<std::string>& methods) {
  const bool is_measured = model.low_ms > 0;
  svg.line(kLeft, y, kRight, y, "gridline");
  svg.text(kLeft - 10, y + (is_measured ? -1 : 4), model.model,
           is_measured ? "label end strong" : "label end");
  if (is_measured) svg.text(kLeft - 10, y + 11, model.detail, "tick end");
  for (const auto& [method, ms] : model.others_ms) {
    const auto shape = static_cast<std::size_t>(std::find(methods.begin(), methods.end(), method) -
                                                methods.begin());
    svg.marker(shape + 1, x(ms), y, method_style(methods, method),
               model.model + ", " + method + ": " + duration_text(ms));
    svg.text(x(ms), y - 8, duration_text(ms), "tick middle");
  }
  if (!is_measured) return;
  svg.line(x(model.low_ms), y, x(model.high_ms), y, "whisker m4");
  svg.marker(0, x(model.median_ms), y, "m4",
             model.model + ", measured here: " + duration_text(model.median_ms));
  svg.text(x(model.median_ms), y - 8, duration_text(model.median_ms), "value middle");
}

std::string time_plot(const std::vector<TimedModel>& models,
                      const std::vector<std::string>& methods) {
  std::string described;
  for (const TimedModel& model : models) {
    described += model.model + ":";
    if (model.low_ms > 0) described += " measured " + duration_text(model.median_ms) + ",";
    for (const auto& [method, ms] : model.others_ms)
      described += ' ' + method + ' ' + duration_text(ms) + ',';
    described.back() = ';';
    described += ' ';
  }
  const double bottom = kTop + kLine * static_cast<double>(models.size());
  Svg svg("time", kWidth, bottom + 26, "Time to quantize a network, logarithmic",
          described + "one gridline is ten times the one before.");
  const Scale x = time_scale(models);
  for (const double value : decades(x.low, x.high)) {
    svg.line(x(value), kTop - 14, x(value), bottom, "gridline");
    svg.text(x(value), bottom + 16, decade_text(value), "tick middle");
  }
  for (std::size_t i = 0; i < models.size(); ++i)
    draw_model(svg, models[i], kTop + kLine * (static_cast<double>(i) + 0.4), x, methods);
  return svg.finish();
}

std::string time_legend(const std::vector<std::string>& methods) {
  std::string html = "<ul class=\"legend\">";
  const auto add = [&](std::size_t shape, const std::string& style, const std::string& name) {
    Svg key("", 14, 12, "", "");
    key.marker(shape, 7, 6, style);
    html += "<li>" + key.finish_decoration() + name + "</li>";
  };
  add(0, "m4", "SQuant, measured here");
  for (std::size_t i = 0; i < methods.size(); ++i)
    add(i + 1, method_style(methods, methods[i]), escape_markup(methods[i] + ", reference"));
  return html + "</ul>\n";
}

TextTable time_table(const std::vector<TimedModel>& models,
                     const std::vector<std::string>& methods) {
  TextTable table;
  table.columns = {"model", "measured ms", "fastest", "slowest"};
  for (const std::string& method : methods) table.columns.push_back(method + " ms");
  const auto shown = [](double ms) {
    return ms > 0 ? TextTable::Cell{TextTable::Type::kReal, decimal(ms, ms < 10 ? 3 : 0)}
                  : TextTable::Cell{};
  };
  for (const TimedModel& model : models) {
    auto& row = table.rows.emplace_back();
    row = {TextTable::cell(model.model), shown(model.median_ms), shown(model.low_ms),
           shown(model.high_ms)};
    for (const std::string& method : methods) {
      const auto found = std::find_if(model.others_ms.begin(), model.others_ms.end(),
                                      [&](const auto& other) { return other.first == method; });
      row.push_back(found == model.others_ms.end() ? TextTable::Cell{} : shown(found->second));
    }
  }
  return table;
}

}  // namespace

std::string time_section(Connection& connection, std::span<const ResultRow> rows,
                         const ReferenceTimes& times) {
  const std::vector<TimedModel> models = timed_models(connection, rows, times);
  if (models.empty()) return {};
  const std::vector<std::string> methods = methods_of(models);
  return section("time", "Time to quantize",
                 time_legend(methods) +
                     figure(time_plot(models, methods),
                            "Measured: all weights of the network on the machines below, median "
                            "and spread over the results. Reference: " +
                                times.source + (times.note.empty() ? "." : ". " + times.note)) +
                     data_table(time_table(models, methods), "milliseconds to quantize"));
}

}  // namespace squant::results
