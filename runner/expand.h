// A matrix, expanded to its cells.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runner/experiment.h"

namespace squant::runner {

inline constexpr std::int64_t kMaxCells = 1'000'000;  // of one experiment

// One point of a matrix, in canonical form: what does not apply has its neutral value (a float
// network has no mode, weights alone have no sigma), so that cells which would compute the same are
// equal.
struct Cell {
  Measure measure = Measure::kEvaluate;
  int repeats = 0;   // kQuantizeTime
  int dataset = -1;  // kEvaluate: index into Experiment::datasets
  std::string model;
  Bits bits;
  quant::Mode mode = quant::Mode::kEKC;                  // with quantized weights
  quant::Rounding rounding = quant::Rounding::kCurrent;  // with quantized weights
  double sigma = 0;  // with quantized activations, as are the next two
  std::int64_t calibration_images = 0;
  eval::EngineChoice engine = eval::EngineChoice::kAuto;
  bool operator==(const Cell&) const = default;
  auto operator<=>(const Cell&) const = default;
};

// What a cell says of an axis, as filters and labels show it; "" where the axis does not apply
// ("float" for the mode).
std::string cell_text(const Cell& cell, Axis axis, const Experiment& experiment);

struct ExpandedCell {
  Cell cell;
  int matrix = 0;        // index into Experiment::matrices
  std::string excluded;  // not empty: why it does not run
  Origin origin;         // of its model in the file, for problems
};

// All cells of all matrices, in order. Axes that do not apply to a cell do not multiply it: a float
// network in a matrix of four modes is one cell. Problems (a cell that cannot be, too many cells)
// are appended, and such cells left out.
std::vector<ExpandedCell> expand(const Experiment& experiment, std::vector<Problem>& problems);

}  // namespace squant::runner
