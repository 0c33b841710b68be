// Do two sets of results agree, and could chance alone explain where they differ? Internal to
// results/.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/commands.h"
#include "results/rows.h"

namespace squant::results {

struct CompareOptions {
  std::optional<double> tolerance_pct;  // default: kDefaultTolerancePct, or the reference's own
  bool common_only = false;
};
inline constexpr double kDefaultTolerancePct = 0.05;  // of float results from different machines

// How a difference was tested, two-sided (significance.h).
struct Significance {
  enum class Test : std::uint8_t {
    kNone,    // nothing to test: equal by their digests, unfinished, or on one side only
    kPaired,  // McNemar's mid-p: the same images, and which of them were right is known
    kCounts,  // two proportions
  };
  Test test = Test::kNone;
  std::int64_t only_a = 0, only_b = 0;  // kPaired: images that one side alone got right
  double p = 1;
};

struct Comparison {
  enum class Outcome : std::uint8_t {
    kEqual,       // the same job with the same counts and digest, both perhaps equally far
    kWithin,      // top-1 within the tolerance
    kOutside,     // ... outside
    kOtherBits,   // the same job with another digest or, beside a digest, other counts: never right
    kUnfinished,  // on one side at least
    kOnlyA,
    kOnlyB,
  };
  std::optional<ResultRow> a, b;
  Outcome outcome = Outcome::kEqual;
  std::vector<std::string> differs_in;  // columns that make them different jobs
  Significance significance;            // set by compare_command()
};
const char* outcome_name(Comparison::Outcome outcome);

// Pairs rows by identity, then by evaluation, then by what the cell is called, as far as that is
// unambiguous.
std::vector<Comparison> compare_results(std::span<const ResultRow> a, std::span<const ResultRow> b,
                                        double tolerance_pct);

// Sides as in the help text of squant-results.
int compare_command(const std::string& a, const std::string& b, const std::string& database,
                    const CompareOptions& options, const Output& output);

}  // namespace squant::results
