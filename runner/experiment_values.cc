#include "runner/experiment_values.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "runner/wording.h"

namespace squant::runner {
namespace {

constexpr std::size_t kMaxProblems = 200;

}  // namespace

Origin ValueReader::origin(const JsonNode& node, const std::string& key) const {
  return {node.override_text.empty() ? path_ : node.override_text, node.line, key};
}

void ValueReader::problem(const JsonNode& node, const std::string& key, std::string what) {
  if (problems_.size() > kMaxProblems) return;
  if (problems_.size() == kMaxProblems) what = "there are more problems than these";
  problems_.push_back({origin(node, key), std::move(what)});
}

std::optional<std::string> ValueReader::text(const JsonNode& node, const std::string& key) {
  if (node.kind != JsonNode::Kind::kString) {
    problem(node, key, "must be a string, is " + describe(node));
  } else if (node.text.empty()) {
    problem(node, key, "must not be empty");
  } else if (node.text.find('\0') != std::string::npos) {
    problem(node, key, "must not hold a NUL character, is " + in_quotes(node.text));
  } else {
    return node.text;
  }
  return std::nullopt;
}

std::optional<bool> ValueReader::boolean(const JsonNode& node, const std::string& key) {
  if (node.kind == JsonNode::Kind::kBool) return node.boolean;
  problem(node, key, "must be true or false, is " + describe(node));
  return std::nullopt;
}

std::optional<std::int64_t> ValueReader::integer(const JsonNode& node, const std::string& key,
                                                 std::int64_t low, std::int64_t high) {
  if (node.kind == JsonNode::Kind::kInteger && node.integer >= low && node.integer <= high) {
    return node.integer;
  }
  problem(node, key,
          "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high) +
              ", is " + describe(node));
  return std::nullopt;
}

std::optional<double> ValueReader::number(const JsonNode& node, const std::string& key, double low,
                                          double high) {
  if (node.is_number() && node.number >= low && node.number <= high) return node.number;
  problem(node, key,
          "must be a number from " + number_text(low) + " to " + number_text(high) + ", is " +
              describe(node));
  return std::nullopt;
}

std::optional<double> ValueReader::positive_number(const JsonNode& node, const std::string& key,
                                                   double high) {
  if (node.is_number() && node.number > 0 && node.number <= high) return node.number;
  problem(node, key,
          "must be a number above 0, at most " + number_text(high) + ", is " + describe(node));
  return std::nullopt;
}

PathValue ValueReader::path(const JsonNode& node, const std::string& key) {
  PathValue value;
  value.origin = origin(node, key);
  const std::optional<std::string> written = text(node, key);
  if (!written) return value;
  std::string replaced;
  std::size_t at = 0;
  while (at < written->size()) {
    const std::size_t start = written->find("${", at);
    replaced += written->substr(at, start - at);
    if (start == std::string::npos) break;
    const std::size_t end = written->find('}', start);
    if (end == std::string::npos || end == start + 2) {
      problem(node, key, "'${' wants a variable's name and '}', in " + in_quotes(*written));
      return value;
    }
    const std::string variable = written->substr(start + 2, end - start - 2);
    const char* found = std::getenv(variable.c_str());
    if (found == nullptr || *found == '\0') {
      value.problem = "environment variable " + printable(variable, 60) +
                      " is not set, needed in " + in_quotes(*written);
      return value;
    }
    replaced += found;
    at = end + 1;
  }
  // An absolute path replaces the folder.
  value.path = (std::filesystem::path(path_).parent_path() / replaced).lexically_normal().string();
  return value;
}

bool ValueReader::is_object(const JsonNode& node, const std::string& key, const char* section) {
  if (node.kind != JsonNode::Kind::kObject) {
    problem(node, key, "must be an object, is " + describe(node));
    return false;
  }
  std::vector<std::string> known;
  for (const ExperimentKey& entry : experiment_keys()) {
    if (std::string_view(entry.section) == section) known.emplace_back(entry.key);
  }
  for (const JsonNode& member : node.members) {
    if (std::find(known.begin(), known.end(), member.key) == known.end()) {
      problem(member, child_key(key, member.key), "unknown key" + suggestion(member.key, known));
    }
  }
  return true;
}

std::string child_key(const std::string& key, const std::string& name) {
  return key.empty() ? name : key + "." + name;
}

void read_member(const JsonNode& object, const std::string& key, const char* name,
                 const std::function<void(const JsonNode&, const std::string&)>& reader) {
  if (const JsonNode* node = object.find(name); node != nullptr)
    reader(*node, child_key(key, name));
}

std::vector<std::pair<const JsonNode*, std::string>> elements_of(const JsonNode& node,
                                                                 const std::string& key) {
  if (node.kind != JsonNode::Kind::kArray) return {{&node, key}};
  std::vector<std::pair<const JsonNode*, std::string>> list;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    list.emplace_back(&node.items[i], key + "[" + std::to_string(i) + "]");
  }
  return list;
}

}  // namespace squant::runner
