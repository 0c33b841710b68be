#include "results/markup.h"

#include <nlohmann/json.hpp>

namespace squant::results {
namespace {

std::string valid_utf8(std::string_view text) {
  using nlohmann::json;
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace));
}

// U+FFFE and U+FFFF, which XML forbids too.
bool is_noncharacter(std::string_view text, std::size_t at) {
  const std::string_view bytes = text.substr(at, 3);
  return bytes == "\xEF\xBF\xBE" || bytes == "\xEF\xBF\xBF";
}

}  // namespace

std::string escape_markup(std::string_view text) {
  const std::string valid = valid_utf8(text);
  std::string escaped;
  escaped.reserve(valid.size());
  for (std::size_t i = 0; i < valid.size(); ++i) {
    const char c = valid[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else if (c == '\'') {
      escaped += "&#39;";
    } else if (c == '\n') {
      escaped += "&#10;";
    } else if (byte < 0x20 || byte == 0x7F) {
      escaped += '?';
    } else if (byte == 0xEF && is_noncharacter(valid, i)) {
      escaped += "\xEF\xBF\xBD";
      i += 2;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace squant::results
