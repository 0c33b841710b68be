// Lines that another process writes into a pipe.
#pragma once

#include <string>
#include <vector>

#include "runner/file_descriptor.h"

namespace squant::runner {

class LogLines {
 public:
  explicit LogLines(FileDescriptor pipe);  // is made non-blocking
  // The lines that were completed since the last call, without their ends. Never blocks.
  std::vector<std::string> read();
  // What came after the last line's end.
  const std::string& rest() const { return rest_; }
  int descriptor() const { return pipe_.get(); }

 private:
  FileDescriptor pipe_;
  std::string rest_;
};

}  // namespace squant::runner
