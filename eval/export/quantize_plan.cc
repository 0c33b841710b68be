#include "eval/export/quantize_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>

#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

constexpr const char* kDefaultInclude = "weight$";
// std::regex recurses once a character.
constexpr std::size_t kMaxNameLength = 1000;

[[noreturn]] void fail(const TensorFile& input, const std::string& what) {
  throw std::invalid_argument(input.paths().front() + ": " + what);
}

// An --include or --exclude.
class NamePattern {
 public:
  NamePattern(const char* option, const std::string& text) : option_(option), text_(text) {
    try {
      regex_.assign(text, std::regex::ECMAScript);
    } catch (const std::regex_error& error) {
      throw std::invalid_argument(std::string(option) + " " + quote(text) +
                                  " is no regular expression: " + error.what());
    }
  }
  bool finds(const std::string& name) {
    const bool found = search(name);
    ++(found ? num_found_ : num_others_);
    return found;
  }
  // A pattern that does nothing is a mistake.
  void check_used(const TensorFile& input, const std::string& example) const {
    if (num_found_ > 0 || num_others_ == 0) return;
    fail(input, std::string(option_) + " " + quote(text_) + " matches no tensor's name; one is " +
                    quote(example));
  }

 private:
  bool search(const std::string& name) const {
    try {
      return std::regex_search(name, regex_);
    } catch (const std::regex_error& error) {  // too much to try
      throw std::invalid_argument(std::string(option_) + " " + quote(text_) +
                                  " is too complex for the name " + quote(name) + ": " +
                                  error.what());
    }
  }

  const char* option_;
  std::string text_;
  std::regex regex_;
  std::size_t num_found_ = 0;
  std::size_t num_others_ = 0;
};

bool can_be_quantized(const StoredTensor& tensor) {
  return tensor.shape.size() >= 2 && tensor.count > 0 && is_readable_float(tensor.type.kind);
}

void check_row(const TensorFile& input, const StoredTensor& tensor) {
  if (tensor.row_size() <= quant::kMaxRow) return;
  fail(input, "tensor " + quote(tensor.name) + ": its output channels have " +
                  std::to_string(tensor.row_size()) + " weights, at most " +
                  std::to_string(quant::kMaxRow) +
                  " can be quantized (--exclude leaves it as it is)");
}

// Which tensors were left out though their names match, by the reason.
class LeftAlone {
 public:
  void add(const StoredTensor& tensor) {
    if (tensor.shape.size() < 2) return;  // biases and norms are never meant
    ++num_by_reason_[tensor.count == 0 ? "are empty"
                                       : "are of dtype " + std::string(tensor.type.dtype)];
  }
  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    for (const auto& [reason, num] : num_by_reason_)
      lines.push_back(std::to_string(num) + " matching tensors stay as they are: they " + reason);
    return lines;
  }

 private:
  std::map<std::string, std::size_t> num_by_reason_;
};

void add_outputs(const StoredTensor& tensor, bool quantized, bool dequantize,
                 std::vector<SafetensorsField>& outputs) {
  if (!quantized) {
    outputs.push_back({tensor.name, std::string(tensor.type.dtype), tensor.shape});
  } else if (dequantize) {
    outputs.push_back({tensor.name, "F32", tensor.shape});
  } else {
    outputs.push_back({codes_name(tensor.name), "I8", tensor.shape});
    outputs.push_back({scale_name(tensor.name), "F32", {tensor.shape[0]}});
    outputs.push_back({zero_point_name(tensor.name), "F32", {tensor.shape[0]}});
  }
}

void check_names(const TensorFile& input, const std::vector<SafetensorsField>& outputs) {
  std::set<std::string> names;
  for (const SafetensorsField& field : outputs) {
    if (names.insert(field.name).second) continue;
    fail(input, "the output would have two tensors " + quote(field.name) +
                    ": the input has one of that name beside the weight it would belong to "
                    "(--exclude leaves the weight as it is)");
  }
}

}  // namespace

QuantizePlan plan_quantization(const TensorFile& input, const QuantizeRequest& request) {
  const auto& tensors = input.tensors();
  if (tensors.empty()) fail(input, "it holds no tensor");
  const bool has_include = !request.include.empty();
  NamePattern include("--include", has_include ? request.include : kDefaultInclude);
  std::optional<NamePattern> exclude;
  if (!request.exclude.empty()) exclude.emplace("--exclude", request.exclude);

  QuantizePlan plan;
  LeftAlone left_alone;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.name.size() > kMaxNameLength)
      fail(input, "the name of tensor " + quote(tensor.name) + " has more than " +
                      std::to_string(kMaxNameLength) + " characters");
    const bool excluded = exclude && exclude->finds(tensor.name);
    const bool wanted = include.finds(tensor.name) && !excluded;
    const bool quantized = wanted && can_be_quantized(tensor);
    if (quantized) check_row(input, tensor);
    if (wanted && !quantized) left_alone.add(tensor);
    plan.quantized.push_back(quantized);
    add_outputs(tensor, quantized, request.dequantize, plan.outputs);
  }
  if (has_include) include.check_used(input, tensors.front().name);
  if (exclude) exclude->check_used(input, tensors.front().name);
  plan.notes = left_alone.notes();
  if (std::find(plan.quantized.begin(), plan.quantized.end(), true) == plan.quantized.end()) {
    std::string why = "there is nothing to quantize: no tensor of floats and of rank 2 or more ";
    why += has_include || exclude ? "is chosen by --include and --exclude"
                                  : "has a name that ends in \"weight\" (--include chooses others)";
    for (const std::string& note : plan.notes) why += "; " + note;
    fail(input, why);
  }
  check_names(input, plan.outputs);
  return plan;
}

}  // namespace squant::eval
