// A program started by a test, with its output in a file.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace squant::runner {

inline void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

// Waits until `condition` holds; false after `seconds`.
template <typename Condition>
bool eventually(Condition condition, double seconds = 120) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    nap();
  }
  return true;
}

class Command {
 public:
  // Runs in `folder`; standard output and error go to `folder`/NAME.log.
  Command(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
          const std::string& name)
      : log_(folder / (name + ".log")) {
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      const int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      const int in = open("/dev/null", O_RDONLY);
      if (out < 0 || in < 0 || chdir(folder.c_str()) != 0) _exit(127);
      dup2(in, 0);
      dup2(out, 1);
      dup2(out, 2);
      execvp(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Command() { kill_all(); }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // The exit code; 128 + the signal's number where one ended it; -1 where it had to be killed after
  // `seconds`.
  int wait(double seconds = 240) {
    if (!eventually([&] { return !running(); }, seconds)) {
      kill_all();
      return -1;
    }
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }
  bool running() {
    if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }
  pid_t pid() const { return pid_; }  // 0: it has ended
  void send(int signal) const {
    if (pid_ > 0) ::kill(pid_, signal);
  }

  // The processes that it started, ascending.
  std::vector<pid_t> children() const {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream file(entry.path() / "stat");
      std::string text;
      std::getline(file, text);
      const std::size_t end = text.rfind(')');
      if (end == std::string::npos || end + 4 > text.size()) continue;
      const char* rest = text.c_str() + end + 4;  // after ") S "
      if (std::atoi(rest) == pid_) found.push_back(std::stoi(name));
    }
    return found;
  }
  // SIGKILL for it and all that it started.
  void kill_all() {
    if (pid_ <= 0) return;
    const std::vector<pid_t> started = children();
    ::kill(pid_, SIGKILL);
    for (const pid_t child : started) ::kill(child, SIGKILL);
    waitpid(pid_, &status_, 0);
    pid_ = 0;
  }

  std::string output() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::filesystem::path log_;
  pid_t pid_ = 0;  // 0: it has ended
  int status_ = 0;
};

}  // namespace squant::runner
