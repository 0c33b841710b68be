// Faults that tests plant in a child process. Without the environment variable SQUANT_TEST_FAULT
// this does nothing; the worker itself never reads it.
//
//   KIND[:MODEL[:BITS[:IMAGE]]]   strikes before work on such a job ("w4a4", "float"), on a tile
//   with this
//                                 image; an empty part, or one left out, stands for any
//   segv, abort, exit   end the process; hang   never answers; nonsense   answers with no message
//   memory              MODEL is a number: from now on this process may map so many MiB more
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runner/executor.h"

namespace squant::runner {

class TestFault {
 public:
  static std::optional<TestFault> from_environment();
  explicit TestFault(const std::string& text);

  // Does what the fault says where it concerns `work`.
  void strike(const Work& work) const;

 private:
  bool concerns(const eval::Job& job) const;
  bool concerns(const Work& work) const;

  std::string kind_, model_, bits_, image_;
};

}  // namespace squant::runner
