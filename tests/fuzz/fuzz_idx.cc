#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

#include "eval/images/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    squant::eval::parse_idx(std::span(data, size), "input");
  } catch (
      const std::invalid_argument&) {  // the one answer to bad input; anything else is a finding
  }
  return 0;
}
