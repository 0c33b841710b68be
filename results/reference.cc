#include "results/reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <stdexcept>

#include "results/suggestion.h"

namespace squant::results {
namespace {

using nlohmann::json;

constexpr std::array kFileKeys = {"$schema", "note", "source", "tolerance", "values"};
constexpr std::array kValueKeys = {"bits", "mode", "model", "note", "source", "tolerance", "top1"};
constexpr std::array kModes = {"float", "squant-e", "squant-k", "squant-c", "squant"};

// Reads characters and remembers how far the parser is: its callbacks do not say.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, int* line) : at_(at), line_(line) {}
  const char& operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_ == '\n' && line_ != nullptr) ++*line_;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int* line_;
};

// The line of every key and of every list element that is an object, by its path
// ("values[3].top1"); repeated keys.
class LineFinder final : public json::json_sax_t {
 public:
  explicit LineFinder(const int& line) : line_(line) {}
  std::map<std::string, int> lines;
  std::vector<std::string> repeated;

  bool key(json::string_t& name) override {
    Level& level = levels_.back();
    level.key = level.path.empty() ? name : level.path + '.' + name;
    if (!lines.emplace(level.key, line_).second) repeated.push_back(level.key);
    return true;
  }
  bool start_object(std::size_t) override { return start(false); }
  bool start_array(std::size_t) override { return start(true); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool null() override { return next(); }
  bool boolean(bool) override { return next(); }
  bool number_integer(json::number_integer_t) override { return next(); }
  bool number_unsigned(json::number_unsigned_t) override { return next(); }
  bool number_float(json::number_float_t, const json::string_t&) override { return next(); }
  bool string(json::string_t&) override { return next(); }
  bool binary(json::binary_t&) override { return next(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  struct Level {
    std::string path, key;
    bool is_array = false;
    int index = 0;
  };
  std::string here() const {
    if (levels_.empty()) return {};
    const Level& level = levels_.back();
    return level.is_array ? level.path + '[' + std::to_string(level.index) + ']' : level.key;
  }
  bool start(bool is_array) {
    lines.emplace(here(), line_);
    levels_.push_back({here(), {}, is_array});
    return true;
  }
  bool end() {
    levels_.pop_back();
    return next();
  }
  bool next() {
    if (!levels_.empty()) ++levels_.back().index;
    return true;
  }
  const int& line_;
  std::vector<Level> levels_;
};

bool is_bits(const std::string& text) {
  if (text == "float") return true;
  const auto is_width = [](char c) { return c >= '2' && c <= '8'; };
  return (text.size() == 2 || (text.size() == 4 && text[2] == 'a' && is_width(text[3]))) &&
         text[0] == 'w' && is_width(text[1]);
}

// Reads one file and collects all that is wrong in it.
class Reader {
 public:
  Reader(std::string path, const std::string& text) : path_(std::move(path)) {
    int line = 1;
    LineFinder finder(line);
    try {
      root_ = json::parse(text);
    } catch (const json::parse_error& error) {
      const auto end =
          text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
      line = 1 + static_cast<int>(std::count(text.begin(), end, '\n'));
      const std::string what =
          error.what();  // "[json.exception...] parse error at line 1, column 2: why"
      const std::size_t colon = what.find(": ");
      throw std::invalid_argument(path_ + ':' + std::to_string(line) + ": not JSON: " +
                                  (colon == std::string::npos ? what : what.substr(colon + 2)));
    } catch (const json::exception& error) {
      throw std::invalid_argument(path_ + ": not JSON: " + error.what());
    }
    json::sax_parse(CountingIterator(text.data(), &line),
                    CountingIterator(text.data() + text.size(), nullptr), &finder);
    lines_ = std::move(finder.lines);
    for (const std::string& key : finder.repeated) problem(key, "the key stands twice");
  }

  const json& root() const { return root_; }

  void problem(const std::string& key, const std::string& what) {
    const auto line = lines_.find(key);
    problems_.push_back(path_ + ':' + std::to_string(line == lines_.end() ? 1 : line->second) +
                        ": " + (key.empty() ? "" : key + ": ") + what);
  }
  void check_keys(const json& object, const std::string& at, std::span<const char* const> known) {
    for (const auto& item : object.items()) {
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        problem(child(at, item.key()), "unknown key" + suggestion(item.key(), known));
      }
    }
  }
  std::string text(const json& object, const std::string& at, const char* key,
                   const std::string& otherwise = {}) {
    if (!object.contains(key)) return otherwise;
    if (object[key].is_string() && !object[key].get_ref<const std::string&>().empty())
      return object[key];
    problem(child(at, key), "must be a text, and not empty");
    return otherwise;
  }
  double number(const json& object, const std::string& at, const char* key, double low, double high,
                double otherwise) {
    if (!object.contains(key)) return otherwise;
    const double value = object[key].is_number() ? object[key].get<double>() : std::nan("");
    if (value >= low && value <= high) return value;
    std::ostringstream range;
    range << "must be a number from " << low << " to " << high << ", got " << object[key].dump();
    problem(child(at, key), range.str());
    return otherwise;
  }
  void require(const json& object, const std::string& at, std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      if (!object.contains(key)) problem(at, std::string("the key \"") + key + "\" is missing");
    }
  }
  void finish() const {
    if (problems_.empty()) return;
    std::string all;
    for (const std::string& line : problems_) all += (all.empty() ? "" : "\n") + line;
    throw std::invalid_argument(all);
  }
  static std::string child(const std::string& at, const std::string& key) {
    return at.empty() ? key : at + '.' + key;
  }

 private:
  std::string path_;
  json root_;
  std::map<std::string, int> lines_;
  std::vector<std::string> problems_;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw std::invalid_argument(path + ": cannot read the reference file");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Reference Reference::load(const std::string& path) {
  Reader reader(path, read_file(path));
  const json& root = reader.root();
  Reference reference;
  if (!root.is_object()) {
    reader.problem({}, "must be an object {\"source\": ..., \"values\": [...]}");
    reader.finish();
  }
  reader.check_keys(root, {}, kFileKeys);
  reader.require(root, {}, {"values"});
  const std::string source = reader.text(root, {}, "source");
  const double tolerance = reader.number(root, {}, "tolerance", 0, 100, ReferenceValue{}.tolerance);
  const json values = root.value("values", json::array());
  if (!values.is_array()) reader.problem("values", "must be a list");

  for (std::size_t i = 0; values.is_array() && i < values.size(); ++i) {
    const std::string at = "values[" + std::to_string(i) + "]";
    const json& value = values[i];
    if (!value.is_object()) {
      reader.problem(at, "must be an object {\"model\": ..., \"bits\": ..., \"top1\": ...}");
      continue;
    }
    reader.check_keys(value, at, kValueKeys);
    reader.require(value, at, {"model", "bits", "top1"});
    Entry entry;
    entry.model = reader.text(value, at, "model");
    entry.bits = reader.text(value, at, "bits");
    entry.mode = reader.text(value, at, "mode", entry.bits == "float" ? "float" : "");
    entry.value.top1_pct = reader.number(value, at, "top1", 0, 100, 0);
    entry.value.tolerance = reader.number(value, at, "tolerance", 0, 100, tolerance);
    entry.value.source = reader.text(value, at, "source", source);
    if (value.contains("bits") && !is_bits(entry.bits)) {
      reader.problem(
          at + ".bits",
          "must be \"float\", \"w4\" or \"w4a4\" with widths 2 to 8, got " + value["bits"].dump());
    } else if (entry.mode.empty() && !value.contains("mode")) {
      reader.problem(at, "the key \"mode\" is missing");
    } else if (value.contains("mode") &&
               std::find(kModes.begin(), kModes.end(), entry.mode) == kModes.end()) {
      reader.problem(at + ".mode",
                     "unknown mode " + value["mode"].dump() + suggestion(entry.mode, kModes));
    } else if ((entry.mode == "float") != (entry.bits == "float")) {
      reader.problem(at, "mode \"float\" belongs to bits \"float\", and only to them");
    } else if (reference.find(entry.model, entry.bits, entry.mode)) {
      reader.problem(at, "a second value of " + entry.model + ' ' + entry.bits + ' ' + entry.mode);
    } else {
      reference.entries_.push_back(std::move(entry));
    }
  }
  reader.finish();

  std::map<std::string, double> baselines;
  for (const Entry& entry : reference.entries_) {
    if (entry.bits == "float") baselines[entry.model] = entry.value.top1_pct;
  }
  for (Entry& entry : reference.entries_) {
    const auto baseline = baselines.find(entry.model);
    if (baseline != baselines.end()) entry.value.baseline_top1_pct = baseline->second;
  }
  return reference;
}

std::optional<ReferenceValue> Reference::find(const std::string& model, const std::string& bits,
                                              const std::string& mode) const {
  for (const Entry& entry : entries_) {
    if (entry.model == model && entry.bits == bits && entry.mode == mode) return entry.value;
  }
  return std::nullopt;
}

void Reference::set_tolerance(double percentage_points) {
  for (Entry& entry : entries_) entry.value.tolerance = percentage_points;
}

}  // namespace squant::results
