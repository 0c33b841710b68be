#include "results/totals.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "results/store.h"

namespace squant::results {
namespace {

struct Halves {
  std::uint64_t high = 0, low = 0;
};

Halves parse_digest(const std::string& text) {
  Halves halves;
  const auto parse = [&](std::size_t from, std::uint64_t& half) {
    const char* const end = text.data() + from + 16;
    return std::from_chars(text.data() + from, end, half, 16).ptr == end;
  };
  if (text.size() != 32 || !parse(0, halves.high) || !parse(16, halves.low)) {
    throw StoreError("a digest has 32 hex digits, got '" + text + "'");
  }
  return halves;
}

}  // namespace

std::string add_digests(const std::string& a, const std::string& b) {
  const Halves x = parse_digest(a);
  const Halves y = parse_digest(b);
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx",
                static_cast<unsigned long long>(x.high + y.high),
                static_cast<unsigned long long>(x.low + y.low));
  return text.data();
}

std::string normal_digest(const std::string& digest) {
  return add_digests(digest, std::string(32, '0'));
}

bool is_on_grid(std::int64_t first, std::int64_t count, std::int64_t chunk,
                std::int64_t num_images) {
  return chunk > 0 && first % chunk == 0 && count == std::min(chunk, num_images - first);
}

void Totals::add(const TileRow& tile) {
  if (num_tiles == 0) {
    digest = tile.digest;
  } else {
    digest =
        digest && tile.digest ? std::optional(add_digests(*digest, *tile.digest)) : std::nullopt;
  }
  ++num_tiles;
  num_images += tile.count;
  num_top1 += tile.num_top1;
  num_top5 += tile.num_top5;
  num_broken += tile.num_broken;
  compute_ms += tile.compute_ms;
  last_finished_at = std::max(last_finished_at, tile.finished_at);
}

}  // namespace squant::results
