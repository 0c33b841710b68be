#include "runner/child_executor.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "runner/labels.h"
#include "runner/process.h"
#include "runner/work_evaluator.h"

namespace squant::runner {
namespace {

constexpr int kMaxFailedStarts = 3;
constexpr int kMaxHalvings = 20;

std::string ending_text(int status) {
  if (WIFEXITED(status)) return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  const char* name = sigabbrev_np(signal);
  std::string text = "was ended by ";
  text += name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
  if (signal == SIGKILL) return text + " (perhaps the host ran out of memory)";
  return text + " (" + strsignal(signal) + ")";
}

std::invalid_argument unasked() {
  return std::invalid_argument("an answer that was not asked for");
}

std::string place_of(const PreparationWork& work, std::size_t) {
  return "while it prepared " + job_text(work.job);
}

std::string place_of(const PackingWork& work, std::size_t) {
  return "while it packed the images of " + work.dataset.images;
}

std::string place_of(const BroadcastWork&, std::size_t) {
  return "while files were broadcast over NCCL";
}

std::string place_of(const TileWork& tile, std::size_t jobs_done) {
  const std::size_t total = tile.jobs.size();
  const std::size_t current = std::min(jobs_done, total - 1);
  std::string job = job_text(tile.jobs.at(current).job);
  if (total > 1)
    job += " (job " + std::to_string(current + 1) + " of " + std::to_string(total) + ")";
  return "while it evaluated " + job + " on images " + std::to_string(tile.first) + " to " +
         std::to_string(tile.first + tile.count - 1);
}

std::string place_of(const Work& work, std::size_t jobs_done) {
  return std::visit([&](const auto& one) { return place_of(one, jobs_done); }, work);
}

}  // namespace

ChildExecutor::ChildExecutor(Spawner& spawner, ChildExecutorOptions options)
    : spawner_(spawner), options_(std::move(options)) {}

ChildExecutor::~ChildExecutor() {
  if (child_) spawner_.end(child_->pid);
}

void ChildExecutor::start(Work work) {
  if (work_) throw std::logic_error("ChildExecutor: work was started while other work runs");
  work_ = std::move(work);
  ++task_;
  told_ = false;
  failed_starts_ = 0;
  next_start_ = 0;
  last_progress_ = seconds_since_start();
  poll_child();
}

std::optional<WorkResult> ChildExecutor::poll() {
  poll_child();
  if (!result_) return std::nullopt;
  work_.reset();
  return std::exchange(result_, std::nullopt);
}

void ChildExecutor::poll_child() {
  while (std::optional<Spawner::Event> event = spawner_.poll()) {
    std::visit([this](auto& one) { on(one); }, *event);
    if (spawner_gone_) break;
  }
  if (child_) listen();
  if (!work_ || result_) return;
  watch();
  if (!child_) {
    start_child();
  } else if (!told_) {
    tell_work();
  } else {
    child_->channel.flush();
  }
}

void ChildExecutor::wait(double seconds) {
  std::array<pollfd, 3> watched{};
  nfds_t count = 0;
  if (!spawner_gone_) watched[count++] = {spawner_.descriptor(), POLLIN, 0};
  if (child_ && !child_->channel.closed())
    watched[count++] = {child_->channel.descriptor(), POLLIN, 0};
  // Not the log: it is read whenever there is something else to do, often enough.
  const double whole = std::floor(seconds);
  const timespec timeout{static_cast<time_t>(whole), static_cast<long>((seconds - whole) * 1e9)};
  ppoll(watched.data(), count, &timeout, nullptr);
}

// --- a child begins and ends

void ChildExecutor::start_child() {
  const double now = seconds_since_start();
  if (spawner_gone_)
    return fail("the process that starts others was ended", FailureKind::kWorkerUnusable);
  if (starting_ || now < next_start_) return;
  starting_ = true;
  ChildSettings settings = options_.child;
  settings.batch_size = batch_size();
  spawner_.start(child_arguments(settings), options_.environment);
}

// The last child may have been killed for the memory it took, or have crashed for want of it, as
// oneDNN does where an allocation fails: the next one takes less.
int ChildExecutor::batch_size() const {
  const int given = options_.child.batch_size;
  const auto* tile = std::get_if<TileWork>(&*work_);
  if (kills_ == 0 || tile == nullptr) return given;
  return std::max(
      1, (given > 0 ? given : largest_batch_size(*tile)) >> std::min(kills_, kMaxHalvings));
}

void ChildExecutor::on(Spawner::Started& event) {
  starting_ = false;
  spdlog::info("child process {} started", event.pid);
  child_.emplace(
      Child{event.pid, Channel(std::move(event.channel)), LogLines(std::move(event.log))});
  last_progress_ = seconds_since_start();
}

void ChildExecutor::on(const Spawner::Refused& event) {
  starting_ = false;
  start_failed(event.why);
}

void ChildExecutor::on(const Spawner::Ended& event) {
  if (!child_ || child_->pid != event.pid) return;
  listen();  // what it said before
  if (!child_) return;
  const std::string why =
      "child process " + std::to_string(event.pid) + " " + ending_text(event.status);
  spdlog::warn("{}", why);
  const bool spoke = child_->spoke;
  drop_child();
  if (!work_ || result_) return;
  if (!spoke) return start_failed(why);
  if (WIFSIGNALED(event.status)) ++kills_;
  if (told_) fail(why + " " + place_of(*work_, jobs_done_), FailureKind::kDied);
}

void ChildExecutor::on(const Spawner::Gone&) {
  spawner_gone_ = true;
  starting_ = false;
  if (child_) listen();
  if (child_) drop_child();
}

void ChildExecutor::start_failed(const std::string& why) {
  spdlog::error("a child process could not be started: {}", why);
  if (!work_ || result_) return;
  told_ = false;
  if (++failed_starts_ >= kMaxFailedStarts) {
    fail("no process could be started to do the work: " + why, FailureKind::kWorkerUnusable);
  }
  next_start_ = seconds_since_start() + options_.start_pause_s;
}

void ChildExecutor::abandon_child(const std::string& why) {
  spdlog::warn("child process {} {}", child_->pid, why);
  spawner_.end(child_->pid);
  const std::string whole = "child process " + std::to_string(child_->pid) + " " + why;
  drop_child();
  if (work_ && !result_) fail(whole + " " + place_of(*work_, jobs_done_), FailureKind::kDied);
}

void ChildExecutor::drop_child() {
  read_log();
  if (!child_->log.rest().empty()) spdlog::info("child: {}", child_->log.rest());
  child_.reset();
}

void ChildExecutor::read_log() {
  for (const std::string& line : child_->log.read()) spdlog::info("child: {}", line);
}

// --- work

void ChildExecutor::tell_work() {
  told_ = true;
  jobs_done_ = 0;
  std::visit([this](const auto& work) { tell(work); }, *work_);
}

void ChildExecutor::tell(const PreparationWork& work) {
  child_->channel.send(JobInfo{0, work.job, work.repeats, {}});
  child_->channel.send(PrepareTask{task_, 0});
}

void ChildExecutor::tell(const PackingWork& work) {
  child_->channel.send(PackTask{task_, work.dataset, work.count, work.shape, work.folder});
}

void ChildExecutor::tell(const BroadcastWork& work) {
  child_->channel.send(BroadcastTask{task_, work.group, work.files, work.cache});
}

void ChildExecutor::tell(const TileWork& tile) {
  Channel& channel = child_->channel;
  TileTask task{task_, 0, tile.first, tile.count, {}};
  channel.send(DatasetInfo{0, tile.dataset});
  for (const eval::Evaluator::TileJob& job : tile.jobs) {
    const int number = static_cast<int>(task.jobs.size());
    channel.send(JobInfo{number, job.job, 0, job.ranges});
    task.jobs.push_back(number);
  }
  channel.send(task);
}

void ChildExecutor::listen() {
  read_log();
  try {
    while (child_) {
      std::optional<Message> message = child_->channel.receive();
      if (!message) return;
      last_progress_ = seconds_since_start();
      child_->spoke = true;
      std::visit([this](auto& one) { on(one); }, *message);
    }
  } catch (const std::invalid_argument& error) {
    abandon_child(std::string("answered nonsense (") + error.what() + ")");
  }
}

void ChildExecutor::on(const Beat& message) {
  if (message.task == task_)
    jobs_done_ = static_cast<std::size_t>(std::max<std::int64_t>(message.jobs_done, 0));
}

void ChildExecutor::on(Prepared& message) {
  check_task(message.task);
  if (!std::holds_alternative<PreparationWork>(*work_)) throw unasked();
  finish(std::move(message.preparation));
}

void ChildExecutor::on(TileAnswer& message) {
  check_task(message.task);
  const auto* tile = std::get_if<TileWork>(&*work_);
  if (tile == nullptr || message.tile.results.size() != tile->jobs.size()) throw unasked();
  finish(std::move(message.tile));
}

void ChildExecutor::on(Packed& message) {
  check_task(message.task);
  if (!std::holds_alternative<PackingWork>(*work_)) throw unasked();
  finish(std::move(message.pack));
}

void ChildExecutor::on(BroadcastDone& message) {
  check_task(message.task);
  if (!std::holds_alternative<BroadcastWork>(*work_)) throw unasked();
  finish(std::move(message.deliveries));
}

void ChildExecutor::on(TaskError& message) {
  check_task(message.task);
  if (message.kind == FailureKind::kDied)
    return abandon_child("lost its device (" + message.reason + ")");
  fail(message.reason, message.kind);
}

template <typename Other>
void ChildExecutor::on(const Other&) {
  throw std::invalid_argument("a message that is meant for a child");
}

void ChildExecutor::check_task(std::int64_t task) const {
  if (!work_ || result_ || task != task_) throw unasked();
}

void ChildExecutor::watch() {
  if (seconds_since_start() - last_progress_ < options_.hang_s) return;
  const std::string limit = std::to_string(static_cast<int>(options_.hang_s)) + " s";
  if (child_ && told_) return abandon_child("got no further for " + limit);
  starting_ = false;
  fail("no process was started within " + limit, FailureKind::kWorkerUnusable);
}

void ChildExecutor::finish(WorkResult result) {
  kills_ = 0;
  result_ = std::move(result);
}

void ChildExecutor::fail(const std::string& why, FailureKind kind) {
  result_ = WorkFailed{why, kind};
}

}  // namespace squant::runner
