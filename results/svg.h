// Drawings as inline SVG, and the scales under them. Colours, fonts and line widths are classes of
// results/report.css. Internal to results/.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace squant::results {

// A drawing of `width` x `height` user units, which are CSS pixels at its natural size. `id` is
// unique in the page; title and description are what a screen reader says in its place.
class Svg {
 public:
  Svg(std::string id, double width, double height, std::string title, std::string description);

  void line(double x1, double y1, double x2, double y2, std::string_view style);
  // `hint` is shown under a resting pointer; empty: none.
  void rect(double x, double y, double width, double height, std::string_view style,
            std::string_view hint = {});
  // Styles "middle" and "end" say where x is in the text; without, it is the start.
  void text(double x, double y, std::string_view text, std::string_view style);
  void polyline(const std::vector<std::pair<double, double>>& points, std::string_view style);
  // The area between the points and y = base.
  void area(const std::vector<std::pair<double, double>>& points, double base,
            std::string_view style);
  // A point of series number `shape` (circle, square, triangle, diamond, cross, and again): told
  // apart without colour.
  void marker(std::size_t shape, double x, double y, std::string_view style,
              std::string_view hint = {});
  std::string finish() const;
  // The same without a name of its own: it stands beside text that says what it is.
  std::string finish_decoration() const;

 private:
  void close_shape(std::string_view tag, std::string_view style, std::string_view hint);
  std::string id_, size_, title_, description_, body_;
};

// "12", "12.3": one decimal at most, as a coordinate.
std::string coordinate(double value);

// Where the values [low, high] lie on the pixels [from, to]; to < from points upwards.
struct Scale {
  double low = 0, high = 1, from = 0, to = 1;
  bool is_log = false;
  double operator()(double value) const;
};

struct Tick {
  double value = 0;
  std::string label;
};
// Round numbers (1, 2, 2.5 or 5 times a power of ten) inside [low, high], about `count` of them.
std::vector<Tick> linear_ticks(double low, double high, int count);
// Every power of ten inside [low, high].
std::vector<double> decades(double low, double high);
// "0.04 ms", "38 s", "1.7 h".
std::string duration_text(double milliseconds);

}  // namespace squant::results
