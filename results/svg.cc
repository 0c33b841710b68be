#include "results/svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "results/markup.h"
#include "results/printer.h"

namespace squant::results {
namespace {

std::string attribute(std::string_view name, double value) {
  return ' ' + std::string(name) + "=\"" + coordinate(value) + '"';
}

std::string points_text(const std::vector<std::pair<double, double>>& points) {
  std::string text;
  for (const auto& [x, y] : points)
    text += (text.empty() ? "" : " ") + coordinate(x) + ',' + coordinate(y);
  return text;
}

// The corners of a marker around (0, 0); a circle has none.
std::vector<std::pair<double, double>> corners(std::size_t shape) {
  switch (shape % 5) {
    case 1:
      return {{-3.2, -3.2}, {3.2, -3.2}, {3.2, 3.2}, {-3.2, 3.2}};
    case 2:
      return {{0, -4.4}, {4.2, 3.2}, {-4.2, 3.2}};
    case 3:
      return {{0, -4.6}, {4.6, 0}, {0, 4.6}, {-4.6, 0}};
    case 4:
      return {{-1.3, -4}, {1.3, -4}, {1.3, -1.3}, {4, -1.3}, {4, 1.3},   {1.3, 1.3},
              {1.3, 4},   {-1.3, 4}, {-1.3, 1.3}, {-4, 1.3}, {-4, -1.3}, {-1.3, -1.3}};
    default:
      return {};
  }
}

}  // namespace

std::string coordinate(double value) {
  std::array<char, 32> text{};
  const double rounded = std::round(value * 10) / 10;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), rounded == 0 ? 0.0 : rounded);
  return {text.data(), end.ptr};
}

Svg::Svg(std::string id, double width, double height, std::string title, std::string description)
    : id_(std::move(id)),
      size_("viewBox=\"0 0 " + coordinate(width) + ' ' + coordinate(height) + "\" width=\"" +
            coordinate(width) + "\" height=\"" + coordinate(height) + '"'),
      title_(std::move(title)),
      description_(std::move(description)) {}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view style) {
  body_ += "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
           attribute("y2", y2);
  close_shape("line", style, {});
}

void Svg::rect(double x, double y, double width, double height, std::string_view style,
               std::string_view hint) {
  body_ += "<rect" + attribute("x", x) + attribute("y", y) +
           attribute("width", std::max(width, 0.0)) + attribute("height", std::max(height, 0.0));
  close_shape("rect", style, hint);
}

void Svg::text(double x, double y, std::string_view text, std::string_view style) {
  body_ += "<text" + attribute("x", x) + attribute("y", y) + " class=\"" + std::string(style) +
           "\">" + escape_markup(text) + "</text>\n";
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, std::string_view style) {
  body_ += "<polyline points=\"" + points_text(points) + '"';
  close_shape("polyline", style, {});
}

void Svg::area(const std::vector<std::pair<double, double>>& points, double base,
               std::string_view style) {
  if (points.empty()) return;
  std::vector<std::pair<double, double>> outline = points;
  outline.emplace_back(points.back().first, base);
  outline.emplace_back(points.front().first, base);
  body_ += "<polygon points=\"" + points_text(outline) + '"';
  close_shape("polygon", style, {});
}

void Svg::marker(std::size_t shape, double x, double y, std::string_view style,
                 std::string_view hint) {
  std::vector<std::pair<double, double>> points = corners(shape);
  if (points.empty()) {
    body_ += "<circle" + attribute("cx", x) + attribute("cy", y) + " r=\"3.5\"";
    return close_shape("circle", style, hint);
  }
  for (auto& [px, py] : points) {
    px += x;
    py += y;
  }
  body_ += "<polygon points=\"" + points_text(points) + '"';
  close_shape("polygon", style, hint);
}

void Svg::close_shape(std::string_view tag, std::string_view style, std::string_view hint) {
  body_ += " class=\"" + std::string(style) + '"';
  if (hint.empty()) {
    body_ += "/>\n";
  } else {
    body_ += "><title>" + escape_markup(hint) + "</title></" + std::string(tag) + ">\n";
  }
}

std::string Svg::finish() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"" + id_ + "-t " +
         id_ + "-d\" " + size_ + ">\n<title id=\"" + id_ + "-t\">" + escape_markup(title_) +
         "</title>\n<desc id=\"" + id_ + "-d\">" + escape_markup(description_) + "</desc>\n" +
         body_ + "</svg>\n";
}

std::string Svg::finish_decoration() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" aria-hidden=\"true\" " + size_ + ">" + body_ +
         "</svg>";
}

double Scale::operator()(double value) const {
  const auto position = [&](double v) { return is_log ? std::log10(v) : v; };
  const double span = position(high) - position(low);
  const double share = span == 0 ? 0.5 : (position(value) - position(low)) / span;
  return from + share * (to - from);
}

std::vector<Tick> linear_ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {{low, TextTable::cell(low).text}};
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.5, 2.0, 1.0}) {
    if (factor * power >= raw * 0.999) step = factor * power;
  }
  const double digits = -std::floor(std::log10(step) + 1e-9);
  const bool is_quarter = std::abs(step / std::pow(10, -digits) - 2.5) < 1e-6;
  const int decimals = static_cast<int>(std::max(0.0, digits + (is_quarter ? 1 : 0)));
  std::vector<Tick> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) {
    const double value = i == 0 ? 0 : i * step;
    ticks.push_back({value, decimal(value, decimals)});
  }
  return ticks;
}

std::vector<double> decades(double low, double high) {
  std::vector<double> values;
  for (int e = static_cast<int>(std::ceil(std::log10(low) - 1e-9));
       std::pow(10, e) <= high * (1 + 1e-9); ++e) {
    values.push_back(std::pow(10, e));
  }
  return values;
}

std::string duration_text(double milliseconds) {
  const auto with_unit = [](double value, const char* unit) {
    const int decimals = value >= 100 || value == std::round(value) ? 0 : value >= 10 ? 1 : 2;
    return decimal(value, decimals) + ' ' + unit;
  };
  if (milliseconds < 0.1) return with_unit(milliseconds * 1e3, "µs");
  if (milliseconds < 1e3) return with_unit(milliseconds, "ms");
  if (milliseconds < 120e3) return with_unit(milliseconds / 1e3, "s");
  if (milliseconds < 3600e3) return with_unit(milliseconds / 60e3, "min");
  return with_unit(milliseconds / 3600e3, "h");
}

}  // namespace squant::results
