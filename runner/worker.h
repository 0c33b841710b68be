// The worker's side of the conversation: says hello, keeps the heart beating, passes work to its
// executor and answers back. Called again and again by the main thread of its rank; knows no clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runner/collective/fetching_executor.h"
#include "runner/executor.h"
#include "runner/messages.h"
#include "runner/transport.h"

namespace squant::runner {

struct WorkerOptions {
  int coordinator = 0;
  double heartbeat_s = 2;
  double patience_s =
      300;  // without a word of the coordinator the worker ends: it must not hold a device for ever
  FetchingExecutor* files = nullptr;      // gets files from other ranks; null: nothing does
  std::function<std::string()> log_tail;  // the last lines of the log, for a failure; may be empty
};

class Worker {
 public:
  enum class State : std::uint8_t { kWorking, kLeft, kLeftForAbort, kAbandoned };

  Worker(Transport& transport, TaskExecutor& executor, Hello hello, WorkerOptions options);

  // Takes what has arrived and sends what is due. `now` in seconds, any origin. Returns whether
  // anything happened.
  bool step(double now);
  State state() const { return state_; }
  const std::string& farewell() const { return farewell_; }

 private:
  void on(const Ack& message);
  void on(const DatasetInfo& message);
  void on(const JobInfo& message);
  void on(const PrepareTask& message);
  void on(const TileTask& message);
  void on(const WhichFiles& message);
  void on(const BroadcastTask& message);
  void on(const Leave& message);
  template <typename Other>
  void on(const Other& message);
  void start(std::int64_t task, Work work);
  void send(const Message& message);
  void finish(WorkResult result);
  std::string log_tail() const { return options_.log_tail ? options_.log_tail() : std::string(); }

  Transport& transport_;
  TaskExecutor& executor_;
  const Hello hello_;
  const WorkerOptions options_;
  bool welcome_ = false;
  double last_heard_ = 0;
  double last_beat_ = 0;
  bool started_ = false;
  std::int64_t task_ = 0;
  std::map<int, eval::DatasetSpec> datasets_;
  std::map<int, JobInfo> jobs_;
  State state_ = State::kWorking;
  std::string farewell_;
};

}  // namespace squant::runner
