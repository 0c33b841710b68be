#include "runner/log_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <utility>

namespace squant::runner {
namespace {

constexpr std::size_t kMaxLineBytes = 4096;  // a longer one is cut into several

}  // namespace

LogLines::LogLines(FileDescriptor pipe) : pipe_(std::move(pipe)) {
  fcntl(pipe_.get(), F_SETFL, fcntl(pipe_.get(), F_GETFL) | O_NONBLOCK);
}

std::vector<std::string> LogLines::read() {
  std::vector<std::string> lines;
  std::array<char, 4096> part;
  for (ssize_t size = 0; (size = ::read(pipe_.get(), part.data(), part.size())) > 0;) {
    for (const char c : std::string_view(part.data(), static_cast<std::size_t>(size))) {
      if (c != '\n') rest_ += c;
      if (c == '\n' || rest_.size() >= kMaxLineBytes) lines.push_back(std::exchange(rest_, ""));
    }
  }
  return lines;
}

}  // namespace squant::runner
