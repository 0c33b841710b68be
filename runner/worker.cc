#include "runner/worker.h"

#include <spdlog/spdlog.h>

#include <stdexcept>
#include <utility>

namespace squant::runner {

Worker::Worker(Transport& transport, TaskExecutor& executor, Hello hello, WorkerOptions options)
    : transport_(transport),
      executor_(executor),
      hello_(std::move(hello)),
      options_(std::move(options)) {}

bool Worker::step(double now) {
  if (!started_) {
    started_ = true;
    last_heard_ = now;
    last_beat_ = now;
    send(hello_);
  }
  bool active = false;
  if (options_.files != nullptr) options_.files->step(now);
  int frames = 0;
  while (frames < kFramesAtOnce) {
    const std::optional<Envelope> envelope = transport_.receive();
    if (!envelope) break;
    active = true;
    if (envelope->source == options_.coordinator) last_heard_ = now;
    if (is_frame(envelope->bytes)) {
      ++frames;
      if (options_.files != nullptr) options_.files->receive(*envelope, now);
      continue;
    }
    std::visit([this](const auto& message) { on(message); }, decode(envelope->bytes));
    if (state_ != State::kWorking) return true;
  }
  if (task_ != 0) {
    if (std::optional<WorkResult> result = executor_.poll()) {
      active = true;
      finish(std::move(*result));
    }
  }
  if (now - last_beat_ >= options_.heartbeat_s) {
    last_beat_ = now;
    if (welcome_) {
      send(Beat{task_});
    } else {
      send(hello_);
    }
  }
  if (now - last_heard_ > options_.patience_s) {
    state_ = State::kAbandoned;
    farewell_ = "nothing was heard of the coordinator for " +
                std::to_string(static_cast<int>(options_.patience_s)) + " s";
  }
  return active;
}

void Worker::on(const Ack&) { welcome_ = true; }

void Worker::on(const DatasetInfo& message) { datasets_[message.dataset] = message.spec; }

void Worker::on(const JobInfo& message) { jobs_[message.job] = message; }

void Worker::on(const PrepareTask& message) {
  const JobInfo& job = jobs_.at(message.job);
  spdlog::info("task {}: prepare {} w{}a{}", message.task, job.spec.model, job.spec.weight_bits,
               job.spec.activation_bits);
  start(message.task, PreparationWork{job.spec, job.repeats});
}

void Worker::on(const TileTask& message) {
  TileWork work{datasets_.at(message.dataset), message.first, message.count, {}};
  for (const int job : message.jobs) {
    const JobInfo& info = jobs_.at(job);
    work.jobs.push_back({info.spec, info.ranges});
  }
  spdlog::info("task {}: {} jobs on images [{}, {})", message.task, work.jobs.size(), message.first,
               message.first + message.count);
  start(message.task, std::move(work));
}

void Worker::on(const WhichFiles& message) {
  FilesLacking answer;
  if (options_.files != nullptr) answer.sha256 = options_.files->lacking(message.files);
  send(answer);
}

void Worker::on(const BroadcastTask& message) {
  spdlog::info("task {}: {} files over NCCL, as {} of {}", message.task, message.files.size(),
               message.group.rank, message.group.hosts.size());
  const std::string cache = options_.files != nullptr ? options_.files->cache_folder() : "";
  start(message.task, BroadcastWork{message.group, message.files, cache});
}

void Worker::on(const Leave& message) {
  state_ = message.abort_follows ? State::kLeftForAbort : State::kLeft;
  farewell_ = message.why;
  send(Farewell{});
}

template <typename Other>
void Worker::on(const Other&) {
  throw std::logic_error("a worker received a message that is meant for the coordinator");
}

void Worker::start(std::int64_t task, Work work) {
  if (task_ != 0) {
    send(TaskError{task, "the worker is busy with task " + std::to_string(task_), ""});
    return;
  }
  task_ = task;
  executor_.start(std::move(work));
}

void Worker::send(const Message& message) {
  transport_.send(options_.coordinator, encode(message));
}

void Worker::finish(WorkResult result) {
  const std::int64_t task = std::exchange(task_, 0);
  if (auto* preparation = std::get_if<eval::Preparation>(&result)) {
    send(Prepared{task, std::move(*preparation)});
    return;
  }
  if (auto* tile = std::get_if<eval::Evaluator::Tile>(&result)) {
    bool failed = false;
    for (const std::string& broken : tile->broken) spdlog::warn("broken image: {}", broken);
    for (const eval::Evaluator::TileResult& one : tile->results) {
      if (one.error.empty()) continue;
      failed = true;
      spdlog::error("task {}: {}", task, one.error);
    }
    send(TileAnswer{task, std::move(*tile), failed ? log_tail() : std::string()});
    return;
  }
  if (auto* deliveries = std::get_if<Deliveries>(&result)) {
    for (const Delivery& one : *deliveries) {
      if (!one.error.empty()) spdlog::warn("task {}: {}", task, one.error);
    }
    send(BroadcastDone{task, std::move(*deliveries)});
    return;
  }
  const auto& [reason, kind] = std::get<WorkFailed>(result);
  spdlog::error("task {}: {}", task, reason);
  send(TaskError{task, reason, log_tail(), kind});
}

}  // namespace squant::runner
