#include "runner/test_fault.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

#include "runner/experiment.h"
#include "runner/spawner.h"

namespace squant::runner {
namespace {

// A child that runs out of memory while it works, wherever it began.
void limit_memory(const std::string& mebibytes) {
  static bool limited = false;
  if (std::exchange(limited, true)) return;
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  const rlim_t bytes = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) +
                       (static_cast<rlim_t>(std::stoul(mebibytes)) << 20);
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_AS, &limit);
}

}  // namespace

std::optional<TestFault> TestFault::from_environment() {
  const char* text = std::getenv("SQUANT_TEST_FAULT");
  if (text == nullptr || *text == '\0') return std::nullopt;
  return TestFault(text);
}

TestFault::TestFault(const std::string& text) {
  std::istringstream parts(text);
  for (std::string* part : {&kind_, &model_, &bits_, &image_}) std::getline(parts, *part, ':');
}

bool TestFault::concerns(const eval::Job& job) const {
  return (model_.empty() || model_ == job.model) &&
         (bits_.empty() || bits_ == Bits{job.weight_bits, job.activation_bits}.text());
}

bool TestFault::concerns(const Work& work) const {
  if (const auto* preparation = std::get_if<PreparationWork>(&work))
    return image_.empty() && concerns(preparation->job);
  const auto* tile = std::get_if<TileWork>(&work);
  if (tile == nullptr) return false;
  if (!image_.empty()) {
    const std::int64_t image = std::stoll(image_);
    if (image < tile->first || image >= tile->first + tile->count) return false;
  }
  return std::any_of(tile->jobs.begin(), tile->jobs.end(),
                     [&](const auto& one) { return concerns(one.job); });
}

void TestFault::strike(const Work& work) const {
  if (kind_ == "memory") return limit_memory(model_);
  if (!concerns(work)) return;
  spdlog::warn("the planted fault strikes: {}", kind_);
  if (kind_ == "segv") std::raise(SIGSEGV);
  if (kind_ == "abort") std::abort();
  if (kind_ == "exit") _exit(7);
  while (kind_ == "hang") pause();
  if (kind_ == "nonsense") {
    constexpr std::string_view kNoMessage("\x04\0\0\0what", 8);
    if (write(kChannelDescriptor, kNoMessage.data(), kNoMessage.size()) < 0) _exit(8);
    pause();
  }
}

}  // namespace squant::runner
