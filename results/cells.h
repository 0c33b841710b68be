// The order in which people read bit widths and modes, and what they call them. Internal to
// results/.
#pragma once

#include <string>
#include <tuple>

#include "results/rows.h"

namespace squant::results {

// Float first, then weights and activations, then weights alone; many bits before few.
struct BitsOrder {
  int kind = 0;  // 0 float, 1 weights and activations, 2 weights alone
  int weight_bits = 0, activation_bits = 0;
  std::string label;  // "float", "w4a4"
  auto key() const { return std::tuple(kind, -weight_bits, -activation_bits, label); }
  bool operator<(const BitsOrder& other) const { return key() < other.key(); }
  bool operator==(const BitsOrder& other) const { return key() == other.key(); }
};
BitsOrder bits_order(const JobRow& job);

// From rounding alone to all stages; modes that are not known come last, by name.
struct ModeOrder {
  std::size_t rank = 0;
  std::string mode;
  auto operator<=>(const ModeOrder&) const = default;
};
ModeOrder mode_order(const std::string& mode);
// As the paper writes it: "SQuant-E", "Baseline" for float.
std::string method_name(const std::string& mode);

}  // namespace squant::results
