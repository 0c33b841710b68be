// How long other methods take to quantize a network: what the paper's table 3 says, or a file of
// the same form. Internal to results/.
//
//   {"source": "SQuant, ICLR 2022, table 3", "note": "one A100",
//    "values": [{"model": "resnet18", "squant_ms": 84, "zeroq_s": 38, "gdfq_h": 1.7}, ...]}
// A key METHOD_ms, METHOD_s or METHOD_h is a method's time; other numbers are not looked at.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace squant::results {

struct ReferenceTimes {
  struct Model {
    std::string model;
    std::vector<std::pair<std::string, double>> methods_ms;  // "SQuant", 84; the quickest first
  };
  std::string source, note;
  std::vector<Model> models;

  // Throws std::invalid_argument that begins with the path.
  static ReferenceTimes load(const std::string& path);
  // experiments/paper/iclr2022_times.json as it was when the program was built.
  static ReferenceTimes paper();
};

}  // namespace squant::results
