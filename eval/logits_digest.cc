#include "eval/logits_digest.h"

#include <xxhash.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstdio>
#include <stdexcept>

namespace squant::eval {

static_assert(std::endian::native == std::endian::little,
              "the digest is over little-endian float32");

Digest image_digest(std::span<const float> logits, std::int64_t image_index) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(logits.data(), logits.size_bytes(),
                                                   static_cast<XXH64_hash_t>(image_index));
  return {hash.low64, hash.high64};
}

Digest& Digest::operator+=(const Digest& other) {
  low += other.low;
  high += other.high;
  return *this;
}

std::string Digest::hex() const {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text.data();
}

Digest Digest::from_hex(const std::string& text) {
  const auto half = [&](std::size_t begin) {
    std::uint64_t value = 0;
    const char* const first = text.data() + begin;
    const auto [end, error] = std::from_chars(first, first + 16, value, 16);
    if (error != std::errc() || end != first + 16 ||
        text.find_first_of("ABCDEF", begin) < begin + 16) {
      throw std::invalid_argument("digest \"" + text +
                                  "\" is not 32 lower-case hexadecimal digits");
    }
    return value;
  };
  if (text.size() != 32) {
    throw std::invalid_argument("digest \"" + text + "\" is not 32 lower-case hexadecimal digits");
  }
  return {half(16), half(0)};
}

}  // namespace squant::eval
