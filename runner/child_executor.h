// Does the work in a child process and survives it: a child that dies, hangs or talks nonsense
// costs the work at hand, and the next work gets a new one. A child is started when there is work,
// not before.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/channel.h"
#include "runner/child.h"
#include "runner/executor.h"
#include "runner/log_lines.h"
#include "runner/spawner.h"

namespace squant::runner {

struct ChildExecutorOptions {
  ChildSettings child;
  std::vector<std::string> environment;  // NAME=VALUE, for the child alone
  double hang_s = 600;                   // a child that got no further for so long is ended
  double start_pause_s = 1;              // before another try where a child could not be started
};

class ChildExecutor final : public TaskExecutor {
 public:
  // `spawner` must outlive the executor.
  ChildExecutor(Spawner& spawner, ChildExecutorOptions options);
  ~ChildExecutor() override;  // ends the child

  void start(Work work) override;
  std::optional<WorkResult> poll() override;
  bool busy() const override { return work_.has_value(); }
  void wait(double seconds) override;

 private:
  struct Child {
    pid_t pid = 0;
    Channel channel;
    LogLines log;
    bool spoke = false;
  };
  void poll_child();
  // --- a child begins and ends
  void start_child();
  int batch_size() const;
  void on(Spawner::Started& event);
  void on(const Spawner::Refused& event);
  void on(const Spawner::Ended& event);
  void on(const Spawner::Gone& event);
  void start_failed(const std::string& why);
  void abandon_child(const std::string& why);
  void drop_child();
  void read_log();
  // --- work
  void tell_work();
  void tell(const PreparationWork& work);
  void tell(const TileWork& work);
  void tell(const PackingWork& work);
  void tell(const BroadcastWork& work);
  void listen();
  void on(const Beat& message);
  void on(Prepared& message);
  void on(TileAnswer& message);
  void on(Packed& message);
  void on(BroadcastDone& message);
  void on(TaskError& message);
  template <typename Other>
  void on(const Other& message);
  void check_task(std::int64_t task) const;
  void watch();
  void finish(WorkResult result);
  void fail(const std::string& why, FailureKind kind);

  Spawner& spawner_;
  const ChildExecutorOptions options_;
  bool spawner_gone_ = false;
  bool starting_ = false;
  int failed_starts_ = 0;  // in a row
  double next_start_ = 0;
  int kills_ = 0;  // deaths by a signal since work was last finished: for memory, perhaps
  std::optional<Child> child_;
  std::optional<Work> work_;
  bool told_ = false;  // the child knows of it
  std::int64_t task_ = 0;
  std::size_t jobs_done_ = 0;
  double last_progress_ = 0;
  std::optional<WorkResult> result_;
};

}  // namespace squant::runner
