#include "runner/gpu_probe.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "eval/cuda/cuda_device.h"

namespace squant::runner {
namespace {

constexpr const char* kMode = "--try-gpu";  // not for users
constexpr auto kPatience = std::chrono::seconds(30);

// What an ended process has printed.
std::string text_of(const FileDescriptor& log) {
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t size = 0; (size = read(log.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(size));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Probe {
 public:
  explicit Probe(Spawner& spawner) : spawner_(spawner) {}

  std::string wait() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      while (auto event = spawner_.poll()) {
        if (const auto why = std::visit([this](auto& one) { return on(one); }, *event)) return *why;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    if (started_.pid > 0) spawner_.end(started_.pid);
    return "it did not answer within half a minute";
  }

 private:
  std::optional<std::string> on(Spawner::Started& event) {
    started_ = std::move(event);
    return std::nullopt;
  }
  std::optional<std::string> on(const Spawner::Ended& event) {
    if (event.pid != started_.pid) return std::nullopt;
    if (event.status == 0) return "";
    const std::string text = text_of(started_.log);
    return text.empty() ? "the process that tried it died" : text;
  }
  static std::optional<std::string> on(const Spawner::Refused& event) { return event.why; }
  static std::optional<std::string> on(const Spawner::Gone&) { return "no process can be started"; }

  Spawner& spawner_;
  Spawner::Started started_;
};

}  // namespace

std::string try_gpu(Spawner& spawner, const std::string& gpu) {
  spawner.start({"squant-sweep", kMode}, {"CUDA_VISIBLE_DEVICES=" + gpu});
  return Probe(spawner).wait();
}

bool is_gpu_probe(const std::vector<std::string>& arguments) {
  return arguments.size() == 2 && arguments[1] == kMode;
}

int run_gpu_probe() {
  try {
    eval::open_cuda_device();
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}

}  // namespace squant::runner
