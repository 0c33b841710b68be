// Files that are there as a whole or not at all.
#pragma once

#include <string>

namespace squant::results {

// Writes `text` beside `path` and renames it: whoever reads `path` finds the old file or the new
// one. What is no regular file (a pipe, /dev/stdout) is written to directly.
// Throws std::invalid_argument with the path and the system's reason; `path` is then as it was.
void write_whole_file(const std::string& path, const std::string& text);

}  // namespace squant::results
