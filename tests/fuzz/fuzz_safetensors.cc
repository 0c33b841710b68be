#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

#include "eval/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace squant::eval;
  try {
    const auto view = parse_safetensors(std::as_bytes(std::span(data, size)), "input");
    safetensors_state_dict(view, "input");
  } catch (
      const std::invalid_argument&) {  // the one answer to bad input; anything else is a finding
  }
  return 0;
}
