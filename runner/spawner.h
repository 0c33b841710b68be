// Starts processes on behalf of a rank. Once MPI is up a rank must not fork (Open MPI and the
// network libraries below it do not allow it), so it forks a small process before, which starts
// others on request, waits for them, and ends with the rank, whatever ends that one; so do the
// processes it started.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runner/file_descriptor.h"

namespace squant::runner {

// The descriptor under which a started process finds its end of the channel.
inline constexpr int kChannelDescriptor = 3;

class Spawner {
 public:
  // --- what happened to processes
  struct Started {
    pid_t pid = 0;
    FileDescriptor channel;  // a stream socket to the process
    FileDescriptor log;      // its standard output and error
  };
  struct Refused {
    std::string why;
  };
  struct Ended {
    pid_t pid = 0;
    int status = 0;  // as waitpid() gives it
  };
  struct Gone {};  // the spawner itself has ended, and all that it had started
  using Event = std::variant<Started, Refused, Ended, Gone>;

  // Forks: before MPI_Init, while this process has a single thread. Its parent is that thread.
  // Throws std::system_error.
  static std::unique_ptr<Spawner> fork_off();

  // Starts this very program, with these arguments (the first is its name) and these NAME=VALUE
  // over the environment that this process had at fork_off(), less what belongs to MPI. Answered by
  // Started or Refused.
  void start(const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment);
  // SIGKILL, unless it has ended already. Answered by its Ended.
  void end(pid_t pid);

  // The next event, if there is one. Never blocks.
  std::optional<Event> poll();
  int descriptor() const { return control_.get(); }  // readable where poll() has something

 private:
  explicit Spawner(FileDescriptor control) : control_(std::move(control)) {}
  void request(const std::string& packet);

  FileDescriptor control_;
};

}  // namespace squant::runner
