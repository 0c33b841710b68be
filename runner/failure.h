// What kind of failure ended a task: decides who is to blame, and what is tried next.
#pragma once

#include <cstdint>

namespace squant::runner {

enum class FailureKind : std::uint8_t {
  kError,           // an answer: this is why it cannot be done
  kDied,            // the process that did the work crashed, hung or talked nonsense
  kOutOfMemory,     // also with the smallest batch
  kWorkerUnusable,  // the worker cannot start a process to do the work, or its machine lacks what
                    // the work needs: no job is to blame
};

}  // namespace squant::runner
