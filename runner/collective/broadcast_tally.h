// What was broadcast in a sweep, for its summary.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runner/collective/collective.h"

namespace squant::runner {

class BroadcastTally {
 public:
  // What the file is to people: "checkpoint resnet18.pth".
  void name(const std::string& sha256, const std::string& what) { files_[sha256].what = what; }
  // `way`: over what it came, "MPI".
  void add(const Delivery& delivery, const std::string& way, double now);
  // "checkpoint resnet18.pth: 44.7 MiB sent to 3 nodes in 1.2 s over MPI", from the first question
  // to the last arrival; nothing for what was not sent.
  std::vector<std::string> lines() const;

 private:
  struct File {
    std::string what;
    std::int64_t bytes = 0;  // of one copy
    int copies = 0;
    std::set<std::string> ways;
    int failures = 0;
    double first = 0, last = 0;
  };
  std::map<std::string, File> files_;  // by SHA-256
};

}  // namespace squant::runner
