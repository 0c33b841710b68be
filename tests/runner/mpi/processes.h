// Processes as /proc shows them.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace squant::runner {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  std::string name;  // as ps -e shows it
  char state = '?';  // 'Z': ended
};

inline std::vector<Process> all_processes() {
  std::vector<Process> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::size_t open = text.find('(');
    const std::size_t close = text.rfind(')');
    if (close == std::string::npos || close + 4 > text.size()) continue;  // it has just gone
    found.push_back({std::stoi(name), std::atoi(text.c_str() + close + 4),
                     text.substr(open + 1, close - open - 1), text[close + 2]});
  }
  return found;
}

// What `ancestor` started, what those started and so on; those that have ended are left out.
inline std::vector<Process> descendants(pid_t ancestor) {
  const std::vector<Process> all = all_processes();
  std::vector<Process> found;
  std::vector<pid_t> parents{ancestor};
  while (!parents.empty()) {
    const pid_t parent = parents.back();
    parents.pop_back();
    for (const Process& process : all) {
      if (process.parent != parent) continue;
      parents.push_back(process.pid);
      if (process.state != 'Z') found.push_back(process);
    }
  }
  return found;
}

inline std::vector<pid_t> named(const std::vector<Process>& processes, const std::string& name) {
  std::vector<pid_t> pids;
  for (const Process& process : processes) {
    if (process.name == name) pids.push_back(process.pid);
  }
  return pids;
}

inline bool runs(pid_t pid) {
  const std::vector<Process> all = all_processes();
  return std::any_of(all.begin(), all.end(), [&](const Process& process) {
    return process.pid == pid && process.state != 'Z';
  });
}

}  // namespace squant::runner
