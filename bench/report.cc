#include "bench/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "results/printer.h"

namespace squant::bench {
namespace {

using Json = nlohmann::ordered_json;
using results::TextTable;

template <class... Calls>
struct Overloaded : Calls... {
  using Calls::operator()...;
};
template <class... Calls>
Overloaded(Calls...) -> Overloaded<Calls...>;

TextTable::Cell cell_of(const Value& value, int decimals) {
  return std::visit(
      Overloaded{[](std::monostate) { return TextTable::Cell{}; },
                 [](std::int64_t count) { return TextTable::cell(count); },
                 [&](double real) {
                   if (!std::isfinite(real)) return TextTable::Cell{};
                   return TextTable::Cell{TextTable::Type::kReal, results::decimal(real, decimals)};
                 },
                 [](const std::string& text) { return TextTable::cell(text); }},
      value);
}

// "1.5", "12", a text as it is.
std::string plain(const Value& value) { return cell_of(value, 1).text; }

std::string as_table(const Report& report) {
  TextTable table;
  for (const Column& column : report.columns) table.columns.push_back(column.name);
  for (const std::vector<Value>& row : report.rows) {
    auto& cells = table.rows.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      cells.push_back(cell_of(row[i], report.columns[i].decimals));
    }
  }
  std::ostringstream out;
  for (const auto& [name, value] : report.context) {
    if (!plain(value).empty()) out << name << ": " << plain(value) << '\n';
  }
  out << '\n';
  results::print_table(out, table, results::Format::kTable);
  if (!report.summary.empty()) out << '\n';
  for (const auto& [name, value] : report.summary) out << name << ": " << plain(value) << '\n';
  return out.str();
}

Json json_of(const Value& value) {
  return std::visit(Overloaded{[](std::monostate) { return Json(nullptr); },
                               [](const auto& v) { return Json(v); }},
                    value);
}

Json json_of(const Facts& facts) {
  Json object = Json::object();
  for (const auto& [name, value] : facts) object[name] = json_of(value);
  return object;
}

std::string as_json(const Report& report) {
  Json results = Json::array();
  for (const std::vector<Value>& row : report.rows) {
    Json object = Json::object();
    for (std::size_t i = 0; i < row.size(); ++i) object[report.columns[i].name] = json_of(row[i]);
    results.push_back(std::move(object));
  }
  Json all = {{"subcommand", report.subcommand},
              {"context", json_of(report.context)},
              {"results", std::move(results)},
              {"summary", json_of(report.summary)}};
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string sql_text(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

std::string sql_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return sql_text(*text);
  return json_of(value).dump();  // of no number: null
}

std::string sql_name(const std::string& name) { return '"' + name + '"'; }

std::string sql_list(const std::vector<std::string>& items) {
  std::string list;
  for (const std::string& item : items) list += (list.empty() ? "" : ", ") + item;
  return "(" + list + ")";
}

std::string as_sql(const Report& report) {
  std::vector<std::string> names;
  std::vector<std::string> shared;  // by all rows
  for (const Facts* facts : {&report.context, &report.summary}) {
    for (const auto& [name, value] : *facts) {
      names.push_back(sql_name(name));
      shared.push_back(sql_of(value));
    }
  }
  for (const Column& column : report.columns) names.push_back(sql_name(column.name));
  const std::string table = "squant_bench_" + report.subcommand;
  std::string text = "CREATE TABLE IF NOT EXISTS " + table + " " + sql_list(names) + ";\nBEGIN;\n";
  for (const std::vector<Value>& row : report.rows) {
    std::vector<std::string> values = shared;
    for (const Value& value : row) values.push_back(sql_of(value));
    text += "INSERT INTO " + table + " " + sql_list(names) + " VALUES " + sql_list(values) + ";\n";
  }
  return text + "COMMIT;\n";
}

}  // namespace

std::string to_text(const Report& report, Format format) {
  switch (format) {
    case Format::kJson:
      return as_json(report);
    case Format::kSql:
      return as_sql(report);
    case Format::kTable:
      break;
  }
  return as_table(report);
}

}  // namespace squant::bench
