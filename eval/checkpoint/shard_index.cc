#include "eval/checkpoint/shard_index.h"

#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 8;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": not a valid index of shards: " + what);
}

// A name that cannot lead out of the index's folder.
bool is_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// Reads weight_map as the text is parsed: json::parse alone would keep the last of equal names.
class WeightMap {
 public:
  explicit WeightMap(const std::string& where) : where_(where) {}

  bool take(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) fail(where_, "it nests too deep");
    if (event != json::parse_event_t::key) return true;
    if (depth == 1) inside_ = parsed == "weight_map";
    if (depth == 1 && inside_ && seen_++ > 0) fail(where_, "weight_map stands there twice");
    if (depth == 2 && inside_ && !names_.insert(parsed.get<std::string>()).second)
      fail(where_, "tensor " + quote(parsed.get<std::string>()) + " stands there twice");
    return true;
  }

 private:
  const std::string& where_;
  bool inside_ = false;
  int seen_ = 0;
  std::set<std::string> names_;
};

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view text,
                                                     const std::string& where) {
  WeightMap names(where);
  json index;
  try {
    index = json::parse(text.begin(), text.end(),
                        [&](int depth, json::parse_event_t event, const json& parsed) {
                          return names.take(depth, event, parsed);
                        });
  } catch (const json::exception& error) {
    fail(where, "it is not JSON: " + quote(error.what()));  // it repeats what it read
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    fail(where, "it has no object weight_map");
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string()) fail(where, "the file of tensor " + quote(name) + " is no string");
    const auto& file_name = file.get_ref<const std::string&>();
    if (!is_file_name(file_name)) {
      fail(where, "tensor " + quote(name) + " is said to be in " + quote(file_name) +
                      ", which is no plain file name");
    }
    files.emplace(name, file_name);
  }
  if (files.empty()) fail(where, "its weight_map is empty");
  return files;
}

}  // namespace squant::eval
