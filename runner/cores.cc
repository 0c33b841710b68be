#include "runner/cores.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

namespace squant::runner {
namespace {

constexpr int kMaxCpus = 8192;

CpuSet cpus_of(pid_t pid) {
  cpu_set_t* mask = CPU_ALLOC(kMaxCpus);
  const std::size_t size = CPU_ALLOC_SIZE(kMaxCpus);
  CpuSet cpus;
  if (mask != nullptr && sched_getaffinity(pid, size, mask) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, mask)) cpus.push_back(cpu);
    }
  }
  CPU_FREE(mask);
  return cpus;
}

bool is_open_mpi_launcher(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  constexpr std::array<std::string_view, 6> kNames{"mpirun", "mpiexec", "orterun",
                                                   "orted",  "prterun", "prted"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

int number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value >= kMaxCpus) {
    throw std::invalid_argument("not a list of processors: " + std::string(text));
  }
  return value;
}

}  // namespace

CpuSet allowed_cpus() { return cpus_of(0); }

bool use_cpus(const CpuSet& cpus) {
  cpu_set_t* mask = CPU_ALLOC(kMaxCpus);
  if (mask == nullptr) return false;
  const std::size_t size = CPU_ALLOC_SIZE(kMaxCpus);
  CPU_ZERO_S(size, mask);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), size, mask);
  const bool done = sched_setaffinity(0, size, mask) == 0;
  CPU_FREE(mask);
  return done;
}

std::string cpus_text(const CpuSet& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpus[i]);
    if (last > i) text += '-' + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

CpuSet parse_cpus(const std::string& text) {
  CpuSet cpus;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const std::size_t dash = part.find('-');
    const int first = number(part.substr(0, dash));
    const int last = dash == std::string_view::npos ? first : number(part.substr(dash + 1));
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return cpus;
}

std::string widen_affinity(bool binding_given) {
  if (binding_given || !is_open_mpi_launcher(getppid())) return "";
  const CpuSet mine = allowed_cpus();
  const CpuSet launchers = cpus_of(getppid());
  const bool within = std::includes(launchers.begin(), launchers.end(), mine.begin(), mine.end());
  if (!within || mine.size() >= launchers.size() || !use_cpus(launchers)) return "";
  return "mpirun had bound this rank to processor " + cpus_text(mine) + "; it now uses " +
         cpus_text(launchers) + " (choose a --bind-to to prevent that)";
}

int thread_share(const CpuSet& mine, const std::vector<CpuSet>& others, double quota) {
  std::size_t overlapping = 0;
  for (const CpuSet& other : others) {
    CpuSet common;
    std::set_intersection(mine.begin(), mine.end(), other.begin(), other.end(),
                          std::back_inserter(common));
    overlapping += !common.empty();
  }
  double share =
      static_cast<double>(mine.size()) / static_cast<double>(std::max<std::size_t>(overlapping, 1));
  if (quota > 0)
    share = std::min(
        share, std::ceil(quota) / static_cast<double>(std::max<std::size_t>(others.size(), 1)));
  return std::max(1, static_cast<int>(share));
}

double cgroup_cpu_quota() {
  double tightest = 0;
  const auto limit = [&](double quota, double period) {
    if (quota > 0 && period > 0 && (tightest == 0 || quota / period < tightest))
      tightest = quota / period;
  };
  // Version 2: "QUOTA PERIOD" or "max PERIOD" in every group from this process's up to the root
  // that it sees.
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::string group = line.substr(3);; group.erase(group.rfind('/'))) {
      std::ifstream file("/sys/fs/cgroup" + group + "/cpu.max");
      double quota = 0;
      double period = 0;
      if (file >> quota >> period) limit(quota, period);
      if (group.find('/') == std::string::npos) break;
    }
  }
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (quota_file >> quota && period_file >> period) limit(quota, period);
  return tightest;
}

}  // namespace squant::runner
