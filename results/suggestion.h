// "Did you mean": what was probably meant by a word nobody knows.
#pragma once

#include <span>
#include <string>

namespace squant::results {

// The end of a message: "; did you mean 'tolerance'?" where one of the known words is near, else ";
// known are a, b, c".
std::string suggestion(const std::string& word, std::span<const char* const> known);

}  // namespace squant::results
