#include "runner/devices.h"

#include <dlfcn.h>

#include <charconv>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace squant::runner {
namespace {

namespace fs = std::filesystem;

// NVML, the driver's management library: no CUDA context is made.
std::optional<int> count_by_nvml() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::nullopt;
  const auto function = [&](const char* name) { return dlsym(library, name); };
  auto* init = reinterpret_cast<int (*)()>(function("nvmlInit_v2"));
  auto* count = reinterpret_cast<int (*)(unsigned*)>(function("nvmlDeviceGetCount_v2"));
  auto* shutdown = reinterpret_cast<int (*)()>(function("nvmlShutdown"));
  std::optional<int> found;
  unsigned devices = 0;
  if (init != nullptr && count != nullptr && shutdown != nullptr && init() == 0) {
    if (count(&devices) == 0) found = static_cast<int>(devices);
    shutdown();
  }
  dlclose(library);
  return found;
}

int count_by_proc() {
  std::error_code error;
  const fs::directory_iterator devices("/proc/driver/nvidia/gpus", error);
  return error ? 0 : static_cast<int>(std::distance(begin(devices), end(devices)));
}

bool names_a_gpu(std::string_view entry, int num_installed) {
  if (entry.starts_with("GPU-") || entry.starts_with("MIG-")) return true;
  int index = -1;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), index);
  return error == std::errc() && end == entry.data() + entry.size() && index >= 0 &&
         index < num_installed;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

int num_installed_gpus() {
  if (const std::optional<int> count = count_by_nvml()) return *count;
  return count_by_proc();
}

std::vector<std::string> visible_gpus(const char* cuda_visible_devices, int num_installed) {
  std::vector<std::string> visible;
  if (cuda_visible_devices == nullptr) {
    for (int gpu = 0; gpu < num_installed; ++gpu) visible.push_back(std::to_string(gpu));
    return visible;
  }
  if (num_installed == 0) return visible;
  for (std::string_view rest = cuda_visible_devices;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view entry = trimmed(rest.substr(0, comma));
    if (!names_a_gpu(entry, num_installed)) return visible;
    visible.emplace_back(entry);
    if (comma == std::string_view::npos) return visible;
    rest.remove_prefix(comma + 1);
  }
}

GpuShare assign_gpu(const std::vector<std::string>& visible, int worker, int num_workers) {
  if (visible.empty()) {
    throw std::invalid_argument(
        "no GPU is visible to this process (is there a driver? what is CUDA_VISIBLE_DEVICES?)");
  }
  if (worker < 0 || worker >= num_workers) {
    throw std::invalid_argument("assign_gpu: worker " + std::to_string(worker) + " of " +
                                std::to_string(num_workers));
  }
  const int num_gpus = static_cast<int>(visible.size());
  const int gpu = worker % num_gpus;
  return {visible[static_cast<std::size_t>(gpu)], gpu,
          num_workers / num_gpus + (gpu < num_workers % num_gpus ? 1 : 0)};
}

}  // namespace squant::runner
