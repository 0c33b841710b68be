// Words in messages about bad input: quoted so that they harm no terminal, and with what was
// probably meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace squant::runner {

// The text with control characters and bytes that are not UTF-8 as \xNN; "..." where it is longer
// than `limit` bytes.
std::string printable(std::string_view text, std::size_t limit);
std::string in_quotes(std::string_view text);  // in single quotes, at most about 60 bytes

// A number as one would write it: "12", "0.2".
std::string number_text(double value);

// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the
// other.
int edit_distance(std::string_view a, std::string_view b);

// The end of an error message about `word`: "; did you mean 'bits'?" where a candidate is near
// (case does not count), else
// "; known: a, b, c".
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace squant::runner
