// Typed values out of an experiment file's JSON; what is wrong becomes a problem with file, line
// and key.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runner/experiment.h"
#include "runner/experiment_json.h"

namespace squant::runner {

// Keys are dotted, as in Origin: each function takes a node and the key it stands at.
class ValueReader {
 public:
  ValueReader(std::string path, std::vector<Problem>& problems)
      : path_(std::move(path)), problems_(problems) {}

  Origin origin(const JsonNode& node, const std::string& key) const;
  void problem(const JsonNode& node, const std::string& key, std::string what);

  // None: it is something else, which is a problem then.
  std::optional<std::string> text(const JsonNode& node, const std::string& key);  // not empty
  std::optional<bool> boolean(const JsonNode& node, const std::string& key);
  std::optional<std::int64_t> integer(const JsonNode& node, const std::string& key,
                                      std::int64_t low, std::int64_t high);
  std::optional<double> number(const JsonNode& node, const std::string& key, double low,
                               double high);
  std::optional<double> positive_number(const JsonNode& node, const std::string& key, double high);

  // With ${ENV} replaced, relative to the experiment file.
  PathValue path(const JsonNode& node, const std::string& key);

  // Is it an object, and are its keys those that experiment_keys() has for this section?
  bool is_object(const JsonNode& node, const std::string& key, const char* section);

 private:
  std::string path_;  // of the experiment file
  std::vector<Problem>& problems_;
};

std::string child_key(const std::string& key, const std::string& name);  // "matrix.bits"

// Calls `reader` with the member of that name and its key, if it is there.
void read_member(const JsonNode& object, const std::string& key, const char* name,
                 const std::function<void(const JsonNode&, const std::string&)>& reader);

// The elements of a list with their keys ("bits[2]"); of what is no list, the thing itself.
std::vector<std::pair<const JsonNode*, std::string>> elements_of(const JsonNode& node,
                                                                 const std::string& key);

}  // namespace squant::runner
