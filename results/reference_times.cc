#include "results/reference_times.h"

#include <squant_results_data.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

namespace squant::results {
namespace {

using nlohmann::json;

std::string method_title(const std::string& method) {
  constexpr std::array<std::pair<const char*, const char*>, 6> kTitles = {
      {{"squant", "SQuant"},
       {"zeroq", "ZeroQ"},
       {"gdfq", "GDFQ"},
       {"dfq", "DFQ"},
       {"dsg", "DSG"},
       {"adaround", "AdaRound"}}};
  for (const auto& [name, title] : kTitles) {
    if (method == name) return title;
  }
  return method;
}

// "zeroq_s", 38 -> "ZeroQ", 38000; none for keys that are no times.
std::optional<std::pair<std::string, double>> parse_time(const std::string& key,
                                                         const json& value) {
  constexpr std::array<std::pair<const char*, double>, 3> kUnits = {
      {{"_ms", 1}, {"_s", 1e3}, {"_h", 3600e3}}};
  for (const auto& [suffix, factor] : kUnits) {
    const std::string end = suffix;
    if (key.size() <= end.size() || !key.ends_with(end)) continue;
    if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>()))
      throw std::invalid_argument(key + ": must be a number above 0");
    return std::pair(method_title(key.substr(0, key.size() - end.size())),
                     value.get<double>() * factor);
  }
  return std::nullopt;
}

ReferenceTimes parse(const std::string& text) {
  const json root = json::parse(text);
  ReferenceTimes times;
  times.source = root.at("source").get<std::string>();
  times.note = root.value("note", "");
  for (const json& value : root.at("values")) {
    ReferenceTimes::Model model{value.at("model").get<std::string>(), {}};
    for (const auto& [key, member] : value.items()) {
      if (auto time = parse_time(key, member)) model.methods_ms.push_back(*time);
    }
    std::sort(model.methods_ms.begin(), model.methods_ms.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
    times.models.push_back(std::move(model));
  }
  return times;
}

}  // namespace

ReferenceTimes ReferenceTimes::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::invalid_argument(path + ": cannot read it");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    return parse(text);
  } catch (const json::exception& error) {
    throw std::invalid_argument(path + ": no file of times: " + error.what());
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(path + ": " + error.what());
  }
}

ReferenceTimes ReferenceTimes::paper() { return parse(kPaperTimesJson); }

}  // namespace squant::results
