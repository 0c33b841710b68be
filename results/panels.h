// Results arranged for plots. Internal to results/.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "results/cells.h"
#include "results/rows.h"

namespace squant::results {

// The results that may be compared with each other: one checkpoint on the same images, with one
// rounding. Rows are those given to panels_of().
struct Panel {
  std::string model;
  std::string detail;                   // what tells it from the model's other panels; else empty
  std::vector<BitsOrder> bits;          // that have results, in order, float included
  std::vector<ModeOrder> modes;         // ... without float
  const ResultRow* baseline = nullptr;  // the float network
  std::map<std::pair<BitsOrder, ModeOrder>, const ResultRow*> cells;

  const ResultRow* find(const BitsOrder& bit_width, const ModeOrder& mode) const;
  // "resnet18, 250 images"
  std::string name() const { return detail.empty() ? model : model + ", " + detail; }
};
// In the order of the rows. Rows without an evaluated image are in none. Of two rows of one cell
// the one on more images counts, then the later one.
std::vector<Panel> panels_of(std::span<const ResultRow> rows);

}  // namespace squant::results
