#include "eval/checkpoint/quote.h"

namespace squant::eval {

std::string quote(std::string_view text) {
  constexpr std::size_t kMaxLength = 200;
  std::string result = "\"";
  for (const char c : text.substr(0, kMaxLength)) {
    if (c >= ' ' && c <= '~') {
      result += c;
    } else {
      result += "\\x" + hex_byte(static_cast<std::uint8_t>(c));
    }
  }
  return result + (text.size() > kMaxLength ? "...\"" : "\"");
}

std::string hex_byte(std::uint8_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {kDigits[value >> 4], kDigits[value & 15]};
}

}  // namespace squant::eval
