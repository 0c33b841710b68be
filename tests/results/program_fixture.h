// squant-results, run in a folder that goes away with the test.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "tests/results/sample.h"

namespace squant::results::testing {

struct Answer {
  int code = -1;
  std::string text;  // standard output and error together
};

inline Answer run_command(const std::string& command) {
  Answer answer;
  FILE* const pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  for (std::size_t size; (size = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    answer.text.append(buffer.data(), size);
  }
  const int status = ::pclose(pipe);
  answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return answer;
}

class ProgramTest : public ::testing::Test {
 protected:
  Answer run(const std::string& arguments) const {
    return run_command("cd '" + folder_.folder().string() +
                       "' && " SQUANT_BIN_DIR "/squant-results " + arguments);
  }
  TemporaryFolder folder_;
};

}  // namespace squant::results::testing
