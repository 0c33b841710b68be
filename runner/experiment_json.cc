#include "runner/experiment_json.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "runner/wording.h"

namespace squant::runner {
namespace {

// How far the parser has read. It looks at most one character beyond a token, and only beyond
// numbers: the line of the last character read is therefore the line on which the token ends.
struct ReadPosition {
  int line = 1;
  bool newline_read = false;

  void advance(char c) {
    if (newline_read) ++line;
    newline_read = c == '\n';
  }
};

class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, ReadPosition* position) : at_(at), position_(position) {}
  const char& operator*() const { return *at_; }
  TrackingIterator& operator++() {
    position_->advance(*at_);
    ++at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  ReadPosition* position_;
};

// Builds the tree from the parser's events.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(const ReadPosition& position, const std::string& path, std::vector<Problem>& problems)
      : position_(position), path_(path), problems_(problems) {}

  JsonNode& root() { return root_; }

  bool null() override { return add(JsonNode{}); }
  bool boolean(bool value) override {
    JsonNode node;
    node.kind = JsonNode::Kind::kBool;
    node.boolean = value;
    return add(std::move(node));
  }
  bool number_integer(number_integer_t value) override {
    JsonNode node;
    node.kind = JsonNode::Kind::kInteger;
    node.integer = value;
    node.number = static_cast<double>(value);
    return add(std::move(node));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return number_integer(static_cast<number_integer_t>(value));
    }
    return number_float(static_cast<double>(value), "");
  }
  bool number_float(number_float_t value, const string_t&) override {
    JsonNode node;
    node.kind = JsonNode::Kind::kNumber;
    node.number = value;
    return add(std::move(node));
  }
  bool string(string_t& value) override {
    JsonNode node;
    node.kind = JsonNode::Kind::kString;
    node.text = std::move(value);
    return add(std::move(node));
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool start_object(std::size_t) override { return open(JsonNode::Kind::kObject); }
  bool start_array(std::size_t) override { return open(JsonNode::Kind::kArray); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    frames_.back().key = std::move(value);
    frames_.back().key_line = position_.line;
    return true;
  }

  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 3, column 1: syntax error ...": the
    // line is said already.
    std::string what = error.what();
    if (const std::size_t end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    if (const std::size_t end = what.find(": ");
        end != std::string::npos && what.starts_with("parse error")) {
      what.erase(0, end + 2);
    }
    const bool in_list = !frames_.empty() && frames_.back().node.kind == JsonNode::Kind::kArray;
    if (what.find("parsing object key - unexpected '}'") != std::string::npos ||
        (in_list && what.find("parsing value - unexpected ']'") != std::string::npos)) {
      what = "a comma before a closing bracket";
    }
    problem(current_key(), position_.line, "not valid JSON: " + printable(what, 200));
    return false;
  }

 private:
  struct Frame {
    JsonNode node;
    std::string key;  // of the member that comes next
    int key_line = 0;
  };

  void problem(const std::string& key, int line, std::string what) {
    problems_.push_back({{path_, line, key}, std::move(what)});
  }

  // The dotted key of the value that comes next.
  std::string current_key() const {
    std::string text;
    for (const Frame& frame : frames_) {
      if (frame.node.kind == JsonNode::Kind::kObject) {
        text.append(text.empty() ? "" : ".").append(frame.key);
      } else {
        text.append("[").append(std::to_string(frame.node.items.size())).append("]");
      }
    }
    return text;
  }

  bool open(JsonNode::Kind kind) {
    if (frames_.size() >= static_cast<std::size_t>(kMaxJsonDepth)) {
      problem(current_key(), position_.line,
              "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
      return false;
    }
    Frame frame;
    frame.node.kind = kind;
    frame.node.line = position_.line;
    frames_.push_back(std::move(frame));
    return true;
  }

  bool close() {
    JsonNode node = std::move(frames_.back().node);
    frames_.pop_back();
    return attach(std::move(node));
  }

  bool add(JsonNode node) {
    node.line = position_.line;
    return attach(std::move(node));
  }

  bool attach(JsonNode node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return true;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == JsonNode::Kind::kArray) {
      frame.node.items.push_back(std::move(node));
      return true;
    }
    if (const JsonNode* first = frame.node.find(frame.key); first != nullptr) {
      problem(current_key(), frame.key_line,
              "stands here twice: first in line " + std::to_string(first->line));
      return true;
    }
    node.line = frame.key_line;
    if (frame.node.members.size() >= static_cast<std::size_t>(kMaxJsonKeys)) {
      problem(current_key(), frame.key_line,
              "is key " + std::to_string(kMaxJsonKeys + 1) + " of its object: too many");
      return false;
    }
    node.key = frame.key;
    frame.node.members.push_back(std::move(node));
    return true;
  }

  const ReadPosition& position_;
  const std::string& path_;
  std::vector<Problem>& problems_;
  std::vector<Frame> frames_;
  JsonNode root_;
};

nlohmann::json to_json(const JsonNode& node) {
  switch (node.kind) {
    case JsonNode::Kind::kNull:
      return nullptr;
    case JsonNode::Kind::kBool:
      return node.boolean;
    case JsonNode::Kind::kInteger:
      return node.integer;
    case JsonNode::Kind::kNumber:
      return node.number;
    case JsonNode::Kind::kString:
      return node.text;
    case JsonNode::Kind::kArray: {
      nlohmann::json list = nlohmann::json::array();
      for (const JsonNode& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case JsonNode::Kind::kObject:
      break;
  }
  nlohmann::json object = nlohmann::json::object();
  for (const JsonNode& member : node.members) object[member.key] = to_json(member);
  return object;
}

void mark_override(JsonNode& node, const std::string& text) {
  node.line = 0;
  node.override_text = text;
  for (JsonNode& item : node.items) mark_override(item, text);
  for (JsonNode& member : node.members) mark_override(member, text);
}

// A step of a dotted key: a member, or an element of a list.
struct KeyStep {
  std::string name;
  std::optional<std::size_t> index;
};

// "matrices[0].bits" -> matrices, 0, bits. Empty: malformed.
std::vector<KeyStep> split_key(std::string_view key) {
  std::vector<KeyStep> steps;
  while (!key.empty()) {
    if (key.front() == '[') {
      const std::size_t end = key.find(']');
      std::size_t index = 0;
      if (end == std::string_view::npos || steps.empty()) return {};
      const auto [stop, error] = std::from_chars(key.data() + 1, key.data() + end, index);
      if (error != std::errc{} || stop != key.data() + end) return {};
      steps.push_back({"", index});
      key.remove_prefix(end + 1);
    } else {
      if (!steps.empty()) {
        if (key.front() != '.') return {};
        key.remove_prefix(1);
      }
      const std::size_t end = std::min(key.find_first_of(".["), key.size());
      if (end == 0) return {};
      steps.push_back({std::string(key.substr(0, end)), std::nullopt});
      key.remove_prefix(end);
    }
  }
  return steps;
}

// The value of an override: JSON where it looks like JSON, else a string.
std::optional<JsonNode> override_value(const std::string& key, const std::string& text,
                                       const std::string& source, std::vector<Problem>& problems) {
  std::vector<Problem> found;
  std::optional<JsonNode> value = parse_json(text, source, found);
  if (value && found.empty()) return value;
  if (!text.empty() && (text.front() == '[' || text.front() == '{' || text.front() == '"')) {
    for (Problem& problem : found) {
      problem.origin.line = 0;
      problem.origin.key = key;
      problems.push_back(std::move(problem));
    }
    return std::nullopt;
  }
  JsonNode node;
  node.kind = JsonNode::Kind::kString;
  node.text = text;
  return node;
}

// Where a step leads; what is missing on the way is made. nullptr: it leads nowhere, `problem` says
// why.
JsonNode* follow(JsonNode& node, const KeyStep& step, const std::string& source,
                 std::string& problem) {
  if (step.index) {
    if (node.kind != JsonNode::Kind::kArray) {
      problem = "is " + describe(node) + ", not a list";
    } else if (*step.index >= node.items.size()) {
      problem = "has " + std::to_string(node.items.size()) + " elements: there is no [" +
                std::to_string(*step.index) + "]";
    } else {
      return &node.items[*step.index];
    }
    return nullptr;
  }
  if (node.kind != JsonNode::Kind::kObject) {
    problem = "is " + describe(node) + ", not an object: it has no key " + in_quotes(step.name);
    return nullptr;
  }
  for (JsonNode& member : node.members) {
    if (member.key == step.name) return &member;
  }
  JsonNode made;
  made.kind = JsonNode::Kind::kObject;
  made.override_text = source;
  made.key = step.name;
  node.members.push_back(std::move(made));
  return &node.members.back();
}

}  // namespace

const JsonNode* JsonNode::find(std::string_view name) const {
  const auto member = std::find_if(members.begin(), members.end(),
                                   [&](const JsonNode& m) { return m.key == name; });
  return member == members.end() ? nullptr : &*member;
}

std::string describe(const JsonNode& node) {
  switch (node.kind) {
    case JsonNode::Kind::kNull:
      return "null";
    case JsonNode::Kind::kBool:
      return node.boolean ? "true" : "false";
    case JsonNode::Kind::kInteger:
      return "a number (" + std::to_string(node.integer) + ")";
    case JsonNode::Kind::kNumber:
      return "a number (" + nlohmann::json(node.number).dump() + ")";
    case JsonNode::Kind::kString:
      return "a string (" + in_quotes(node.text) + ")";
    case JsonNode::Kind::kArray:
      return "a list";
    case JsonNode::Kind::kObject:
      break;
  }
  return "an object";
}

std::optional<JsonNode> parse_json(std::string_view text, const std::string& path,
                                   std::vector<Problem>& problems) {
  ReadPosition position;
  TreeBuilder builder(position, path, problems);
  const TrackingIterator begin(text.data(), &position);
  const TrackingIterator end(text.data() + text.size(), &position);
  if (!nlohmann::json::sax_parse(begin, end, &builder)) return std::nullopt;
  return std::move(builder.root());
}

void apply_override(JsonNode& root, const std::string& assignment, std::vector<Problem>& problems) {
  const std::string source = "--set " + assignment;
  const std::size_t equals = assignment.find('=');
  const std::string key = assignment.substr(0, equals);
  const std::vector<KeyStep> steps = split_key(key);
  if (equals == std::string::npos || steps.empty() ||
      steps.size() > static_cast<std::size_t>(kMaxJsonDepth)) {
    problems.push_back(
        {{source, 0, ""}, "must be KEY=VALUE, as in settings.sigma.4=12 or matrices[0].bits=w4a4"});
    return;
  }
  std::optional<JsonNode> value =
      override_value(key, assignment.substr(equals + 1), source, problems);
  if (!value) return;

  JsonNode* node = &root;
  std::string walked;
  for (const KeyStep& step : steps) {
    std::string problem;
    JsonNode* next = follow(*node, step, source, problem);
    if (next == nullptr) {
      problems.push_back({{source, 0, walked}, problem});
      return;
    }
    node = next;
    walked += step.index ? "[" + std::to_string(*step.index) + "]"
                         : (walked.empty() ? "" : ".") + step.name;
  }
  value->key = node->key;
  *node = std::move(*value);
  mark_override(*node, source);
}

std::string canonical_json(const JsonNode& node) {
  // Only --set can bring bytes that are not UTF-8.
  return to_json(node).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace squant::runner
