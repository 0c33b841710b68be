// JSON that remembers where each value stood, for messages with line numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/experiment.h"

namespace squant::runner {

struct JsonNode {
  enum class Kind : std::uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  std::int64_t integer = 0;  // kInteger
  double number = 0;         // kInteger and kNumber
  std::string text;          // kString
  std::vector<JsonNode> items;
  std::vector<JsonNode> members;  // kObject: in file order, keys unique
  std::string key;                // of a member
  int line = 0;                   // of the value, for a member of its key; 0: from --set
  std::string override_text;      // "--set KEY=VALUE" where that put the value here

  bool is_number() const { return kind == Kind::kInteger || kind == Kind::kNumber; }
  const JsonNode* find(std::string_view name) const;  // nullptr: no such member, or no object
};

// "a number (12)", "a string ('x')", "a list", "an object", "null": what stands where something
// else should.
std::string describe(const JsonNode& node);

inline constexpr int kMaxJsonDepth = 16;    // the format itself needs 5
inline constexpr int kMaxJsonKeys = 1'000;  // of one object

// Parses strict JSON (UTF-8, no comments). `path` names the text in problems. Repeated keys are
// problems, of which parsing survives (the first value counts); after a syntax error the result is
// empty.
std::optional<JsonNode> parse_json(std::string_view text, const std::string& path,
                                   std::vector<Problem>& problems);

// Applies one KEY=VALUE to the tree: objects on the way are made where they are missing, list
// elements must exist.
void apply_override(JsonNode& root, const std::string& assignment, std::vector<Problem>& problems);

// One line, keys sorted, numbers in their shortest exact form.
std::string canonical_json(const JsonNode& node);

}  // namespace squant::runner
