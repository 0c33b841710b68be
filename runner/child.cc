#include "runner/child.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>
#include <variant>

#include "runner/channel.h"
#include "runner/file_work.h"
#include "runner/process.h"
#include "runner/spawner.h"
#include "runner/test_fault.h"
#include "runner/work_evaluator.h"

namespace squant::runner {
namespace {

constexpr double kBeatInterval = 0.25;              // seconds; a beat wakes the rank
constexpr const char* kMode = "--work-for-a-rank";  // not for users

int number(const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    throw std::invalid_argument(std::string(kMode) + ": not a number: " + text);
  return value;
}

void log_to_standard_error() {
  auto logger =
      std::make_shared<spdlog::logger>("squant", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("[%l] %v");
  spdlog::set_default_logger(logger);
}

class Child {
 public:
  explicit Child(const ChildSettings& settings)
      : channel_(FileDescriptor(kChannelDescriptor)),
        num_threads_(settings.num_threads),
        evaluator_({.device = settings.device,
                    .num_threads = settings.num_threads,
                    .batch_size = settings.batch_size}) {}

  void serve() {
    channel_.send(Beat{});
    while (!channel_.closed()) {
      if (const std::optional<Message> message = channel_.receive()) {
        std::visit([this](const auto& one) { on(one); }, *message);
      } else if (!channel_.closed()) {
        channel_.wait();
      }
    }
  }

 private:
  void on(const DatasetInfo& message) { datasets_[message.dataset] = message.spec; }
  void on(const JobInfo& message) { jobs_[message.job] = message; }
  void on(const PrepareTask& message) {
    const JobInfo& job = jobs_.at(message.job);
    work(message.task, PreparationWork{job.spec, job.repeats});
  }
  void on(const TileTask& message) {
    TileWork tile{datasets_.at(message.dataset), message.first, message.count, {}};
    for (const int job : message.jobs)
      tile.jobs.push_back({jobs_.at(job).spec, jobs_.at(job).ranges});
    work(message.task, std::move(tile));
  }
  void on(const PackTask& message) {
    work(message.task, PackingWork{message.dataset, message.count, message.shape, message.folder});
  }
  void on(const BroadcastTask& message) {
    work(message.task, BroadcastWork{message.group, message.files, message.cache});
  }
  template <typename Other>
  void on(const Other&) {
    throw std::logic_error("a child process received a message that is not for it");
  }

  void work(std::int64_t task, const Work& what) {
    if (const std::optional<TestFault> fault = TestFault::from_environment()) fault->strike(what);
    Beat last{task};
    double beaten = seconds_since_start();
    const auto progress = [&](std::size_t jobs_done) {
      const auto done = static_cast<std::int64_t>(jobs_done);
      const double now = seconds_since_start();
      if (done == last.jobs_done && now - beaten < kBeatInterval) return;
      last.jobs_done = done;
      beaten = now;
      channel_.send(last);
    };
    answer(task, run(what, progress));
  }

  WorkResult run(const Work& what, const std::function<void(std::size_t)>& progress) {
    if (const auto* packing = std::get_if<PackingWork>(&what))
      return run_packing(*packing, num_threads_, progress);
    if (const auto* broadcast = std::get_if<BroadcastWork>(&what))
      return run_broadcast(*broadcast, progress);
    return evaluator_.run(what, progress);
  }

  void answer(std::int64_t task, WorkResult result) {
    if (auto* preparation = std::get_if<eval::Preparation>(&result)) {
      channel_.send(Prepared{task, std::move(*preparation)});
    } else if (auto* tile = std::get_if<eval::Evaluator::Tile>(&result)) {
      channel_.send(TileAnswer{task, std::move(*tile), ""});
    } else if (auto* pack = std::get_if<eval::ImagePack>(&result)) {
      channel_.send(Packed{task, std::move(*pack)});
    } else if (auto* deliveries = std::get_if<Deliveries>(&result)) {
      channel_.send(BroadcastDone{task, std::move(*deliveries)});
    } else {
      auto& failure = std::get<WorkFailed>(result);
      channel_.send(TaskError{task, std::move(failure.reason), "", failure.kind});
    }
  }

  Channel channel_;
  int num_threads_;
  WorkEvaluator evaluator_;
  std::map<int, eval::DatasetSpec> datasets_;
  std::map<int, JobInfo> jobs_;
};

}  // namespace

std::vector<std::string> child_arguments(const ChildSettings& settings) {
  return {"squant-sweep",
          kMode,
          settings.device,
          std::to_string(settings.num_threads),
          std::to_string(settings.batch_size),
          cpus_text(settings.cpus)};
}

std::optional<ChildSettings> parse_child_arguments(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2 || arguments[1] != kMode) return std::nullopt;
  if (arguments.size() != 6) {
    throw std::invalid_argument(std::string(kMode) +
                                " is how squant-sweep starts itself: leave it out");
  }
  return ChildSettings{arguments[2], number(arguments[3]), number(arguments[4]),
                       parse_cpus(arguments[5])};
}

void run_child(const ChildSettings& settings) {
  prctl(PR_SET_NAME, "squant-child");
  if (!settings.cpus.empty()) use_cpus(settings.cpus);
  log_to_standard_error();
  int exit_code = 0;
  try {
    Child(settings).serve();
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    exit_code = 1;
  }
  spdlog::default_logger()->flush();
  _exit(exit_code);
}

}  // namespace squant::runner
