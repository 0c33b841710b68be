// What stands in a file may be anything: its text in messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace squant::eval {

// In quotes, printable, and of bounded length.
std::string quote(std::string_view text);

// Two digits.
std::string hex_byte(std::uint8_t value);

}  // namespace squant::eval
