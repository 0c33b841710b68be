// torch's old file format. An input without its magic number is taken for the main pickle and what
// follows it.
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "eval/checkpoint/checkpoint.h"

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kMagic = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."sv;
constexpr std::string_view kVersionAndSystem = "\x80\x02M\xe9\x03.\x80\x02}."sv;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string file;
  if (!input.starts_with(kMagic)) file.append(kMagic).append(kVersionAndSystem);
  file += input;
  try {
    squant::eval::parse_checkpoint(std::as_bytes(std::span(file)), "input");
  } catch (
      const std::invalid_argument&) {  // the one answer to bad input; anything else is a finding
  }
  return 0;
}
