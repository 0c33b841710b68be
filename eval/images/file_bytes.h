// Whole files, and the user's cache folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace squant::eval {

// Replaces the content of `bytes` with the file's. Reads rather than maps: a picture that shrinks
// meanwhile is an error and no SIGBUS. Throws std::invalid_argument naming the path.
void read_file(const std::string& path, std::vector<std::uint8_t>& bytes);

// $XDG_CACHE_HOME/squant-sweep, else ~/.cache/squant-sweep. Empty when neither variable says where.
// Creates nothing.
std::string user_cache_dir();

}  // namespace squant::eval
