#include "results/suggestion.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace squant::results {
namespace {

// Letters to insert, delete or replace to come from a to b (Levenshtein).
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (const char letter : a) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (letter != b[j] ? 1 : 0);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string suggestion(const std::string& word, std::span<const char* const> known) {
  std::string all;
  const char* nearest = nullptr;
  std::size_t nearest_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const char* candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < nearest_distance) {
      nearest_distance = distance;
      nearest = candidate;
    }
    all += (all.empty() ? "" : ", ") + std::string(candidate);
  }
  return nearest != nullptr ? std::string("; did you mean '") + nearest + "'?"
                            : "; known are " + all;
}

}  // namespace squant::results
