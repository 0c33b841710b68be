// The index of a checkpoint's shards: whatever it says, no file name in it leads out of its folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "eval/checkpoint/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& [name, file] : squant::eval::parse_shard_index(text, "input")) {
      if (file.empty() || file == "." || file == ".." || file.find('/') != file.npos) std::abort();
    }
  } catch (
      const std::invalid_argument&) {  // the one answer to bad input; anything else is a finding
  }
  return 0;
}
