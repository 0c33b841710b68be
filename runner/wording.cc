#include "runner/wording.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>

namespace squant::runner {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// The bytes of the UTF-8 character at the front of `text`; 0: none starts there, or a control
// character does.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : byte(0) >= 0xc2 ? 2 : 0;
  if (length == 0 || byte(0) > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length == 2 && byte(0) == 0xc2 && byte(1) < 0xa0) return 0;  // C1 controls
  if (byte(0) == 0xe0 && byte(1) < 0xa0) return 0;                 // overlong
  if (byte(0) == 0xed && byte(1) >= 0xa0) return 0;                // surrogates
  if (byte(0) == 0xf0 && byte(1) < 0x90) return 0;                 // overlong
  if (byte(0) == 0xf4 && byte(1) >= 0x90) return 0;                // beyond U+10FFFF
  return length;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  static const char* const kHex = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out + "...";
    const std::size_t length = character_length(text);
    if (length == 0) {
      const auto byte = static_cast<unsigned char>(text.front());
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string in_quotes(std::string_view text) { return "'" + printable(text, 60) + "'"; }

std::string number_text(double value) {
  char buffer[32];
  const std::to_chars_result end = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, end.ptr);
}

int edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table: a swap of neighbours looks two rows back.
  std::vector<int> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  // A third of the word may be wrong, but not all of it; an overlong word is not compared.
  constexpr std::size_t kLongestWord = 64;
  const std::string* best = nullptr;
  int best_distance = std::max(1, static_cast<int>(word.size()) / 3) + 1;
  if (word.size() <= kLongestWord) {
    const std::string lower = lower_case(word);
    for (const std::string& candidate : candidates) {
      const int distance = edit_distance(lower, lower_case(candidate));
      if (distance < best_distance && distance < static_cast<int>(word.size())) {
        best = &candidate;
        best_distance = distance;
      }
    }
  }
  if (best != nullptr) return "; did you mean '" + *best + "'?";
  std::string text = "; known: ";
  for (std::size_t i = 0; i < candidates.size(); ++i) text += (i == 0 ? "" : ", ") + candidates[i];
  return text;
}

}  // namespace squant::runner
