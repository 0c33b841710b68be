#include "runner/collective/broadcast_tally.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace squant::runner {

void BroadcastTally::add(const Delivery& delivery, const std::string& way, double now) {
  File& file = files_[delivery.sha256];
  file.failures += !delivery.error.empty();
  if (delivery.bytes == 0) return;
  const double asked = now - delivery.seconds;
  file.first = file.copies == 0 ? asked : std::min(file.first, asked);
  file.last = std::max(file.last, now);
  file.bytes = delivery.bytes;
  file.ways.insert(way);
  ++file.copies;
}

std::vector<std::string> BroadcastTally::lines() const {
  std::vector<std::string> lines;
  for (const auto& [sha256, file] : files_) {
    if (file.copies == 0 && file.failures == 0) continue;
    std::string line = fmt::format("{}: {:.1f} MiB sent to {} node{} in {:.1f} s over {}",
                                   file.what, static_cast<double>(file.bytes) / (1 << 20),
                                   file.copies, file.copies == 1 ? "" : "s", file.last - file.first,
                                   fmt::join(file.ways, " and "));
    if (file.copies == 0) line = file.what + ": sent to no node";
    if (file.failures > 0) {
      line +=
          fmt::format("; {} rank{} did not get it", file.failures, file.failures == 1 ? "" : "s");
    }
    lines.push_back(line);
  }
  return lines;
}

}  // namespace squant::runner
