#include "runner/schedule_simulation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <tuple>
#include <utility>

namespace squant::runner {
namespace {

constexpr double kTickInterval = 0.5;
constexpr double kHeartbeatInterval = 2;
constexpr double kNever = std::numeric_limits<double>::infinity();

// Images a second: of a worker with four cores, of an H100.
struct NetworkCost {
  int stream = 0;
  double million_weights = 0;
  double float_images_s = 0, integer_images_s = 0;
  double gpu_images_s = 0;
};
constexpr NetworkCost kNetworks[] = {
    {0, 11.7, 60, 100, 24959},  // ResNet18
    {0, 25.6, 25, 50, 7815},    // ResNet50
    {1, 23.8, 18, 36, 3900},    // InceptionV3
    {0, 3.2, 70, 100, 5800},    // SqueezeNext
    {0, 1.4, 200, 250, 22000},  // ShuffleNet
};
constexpr int kIntegerJobs = 12;     // three widths in four modes
constexpr int kJobsPerNetwork = 21;  // those, float, and two weights-only widths in four modes
constexpr double kCalibrationImages = 256;
constexpr double kReadBytesPerSecond = 400e6;  // hashed on the way

SchedulerInput scheduler_input(const SimulatedWork& work) {
  SchedulerInput input;
  const auto num_chunks = static_cast<std::size_t>((work.num_images + work.chunk - 1) / work.chunk);
  std::vector<std::int64_t> sizes(num_chunks, work.chunk);
  if (num_chunks > 0) {
    sizes.back() = work.num_images - static_cast<std::int64_t>(num_chunks - 1) * work.chunk;
  }
  input.streams.assign(static_cast<std::size_t>(work.num_streams), sizes);
  for (const SimulatedJob& job : work.jobs) {
    SchedulerJob& added = input.jobs.emplace_back();
    added.stream = job.stream;
    added.model = job.model;
    added.chunks.resize(num_chunks);
    std::iota(added.chunks.begin(), added.chunks.end(), 0);
  }
  return input;
}

class Simulation {
 public:
  Simulation(const SimulatedWork& work, const SimulatedCluster& cluster,
             const SchedulerOptions& options)
      : work_(work),
        cluster_(cluster),
        input_(scheduler_input(work)),
        random_(cluster.seed),
        scheduler_(input_, options) {
    for (int index = 0; index < cluster.num_workers; ++index) add_worker(index);
    push(kTickInterval, kCoordinator, Tick{});
    for (const SchedulerJob& job : input_.jobs) {
      outcome_.num_cells += static_cast<std::int64_t>(job.chunks.size());
    }
  }

  ScheduleOutcome run() {
    while (!finished_ && !queue_.empty()) {
      const Item item = queue_.top();
      queue_.pop();
      arrive(item);
    }
    outcome_.complete = reason_ == FinishReason::kComplete;
    outcome_.makespan_s = ended_;
    outcome_.ideal_s = std::max(ideal_s(), longest_chain_s());
    for (const WorkerState& one : workers_) outcome_.num_deaths += one.dies_at < ended_;
    outcome_.loads_per_chunk = static_cast<double>(decoded_at_.size()) /
                               std::max<double>(1, static_cast<double>(num_chunks()));
    outcome_.scheduler_us_a_tile =
        scheduler_s_ * 1e6 / std::max<double>(1, static_cast<double>(outcome_.num_tiles));
    return outcome_;
  }

 private:
  static constexpr int kCoordinator = -1;

  struct Item {
    double time = 0;
    std::int64_t order = 0;
    int worker = kCoordinator;
    std::shared_ptr<const Event> event;  // behind a pointer: items move about in the queue
    bool operator>(const Item& other) const {
      return std::tie(time, order) > std::tie(other.time, other.order);
    }
  };
  struct WorkerState {
    double slowness = 1;
    double dies_at = kNever;
    std::pair<int, int> loaded{-1, -1};  // stream and chunk
    std::set<int> models, jobs;          // with their checkpoint read, their engine built
  };

  double uniform(double from, double to) {
    return std::uniform_real_distribution<>(from, to)(random_);
  }

  void add_worker(int index) {
    WorkerState& worker = workers_.emplace_back();
    // The slow ones are spread over the nodes.
    const double slow_so_far = std::floor(cluster_.slow_share * index);
    if (std::floor(cluster_.slow_share * (index + 1)) > slow_so_far) {
      worker.slowness = cluster_.slow_factor;
    }
    if (cluster_.deaths_per_hour > 0) {
      worker.dies_at = std::exponential_distribution<>(cluster_.deaths_per_hour / 3600)(random_);
    }
    push(uniform(0, cluster_.poll_s), index, WorkerJoined{index});
    push(uniform(0, kHeartbeatInterval), index, Heartbeat{index});
  }

  void push(double time, int worker, const Event& event) {
    queue_.push({time, next_order_++, worker, std::make_shared<const Event>(event)});
  }

  // A message has reached the coordinator's node; it is taken when the coordinator has time.
  void arrive(const Item& item) {
    const bool is_tick = item.worker == kCoordinator;
    if (!is_tick && item.time >= worker(item.worker).dies_at) return;
    now_ = std::max(item.time, free_at_);
    if (is_tick) {
      push(item.time + kTickInterval, kCoordinator, Tick{});
    } else {
      ++outcome_.num_messages;
      spend(cluster_.message_s);
    }
    if (std::holds_alternative<Heartbeat>(*item.event)) {
      push(item.time + kHeartbeatInterval, item.worker, Heartbeat{item.worker});
      ++outcome_.num_messages;  // it is acknowledged
    }
    handle(*item.event);
    const bool others_wait = !queue_.empty() && queue_.top().time <= now_;
    if (uncommitted_ && !others_wait) commit();
    free_at_ = now_;
  }

  void spend(double seconds) {
    now_ += seconds;
    outcome_.coordinator_busy_s += seconds;
  }

  void commit() {
    uncommitted_ = false;
    ++outcome_.num_commits;
    spend(cluster_.commit_s);
  }

  void handle(const Event& event) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Command> commands = scheduler_.handle(event, now_);
    scheduler_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const Command& command : commands) {
      std::visit([this](const auto& one) { obey(one); }, command);
    }
  }

  template <typename Other>
  void obey(const Other&) {}

  void obey(const AcceptCell&) {
    uncommitted_ = true;
    spend(cluster_.cell_s);
  }
  void obey(const AcceptPreparation&) { uncommitted_ = true; }
  void obey(const Finished& command) {
    finished_ = true;
    reason_ = command.reason;
    if (uncommitted_) commit();
    ended_ = now_;
  }

  void obey(const AssignPreparation& command) {
    spend(cluster_.message_s);
    ++outcome_.num_messages;
    const SimulatedJob& job = work_.jobs[static_cast<std::size_t>(command.job)];
    double seconds = checkpoint_s(command.worker, job) + job.prepare_s;
    worker(command.worker).jobs.insert(command.job);
    answer(command.worker, seconds, PreparationDone{command.worker, command.task});
  }

  void obey(const AssignTile& command) {
    spend(cluster_.message_s);
    ++outcome_.num_messages;
    ++outcome_.num_tiles;
    TileDone done{command.worker, command.task, {}};
    double seconds = load_s(command);
    const std::int64_t images = input_.streams[static_cast<std::size_t>(command.stream)]
                                              [static_cast<std::size_t>(command.chunk)];
    for (const int index : command.jobs) {
      const SimulatedJob& job = work_.jobs[static_cast<std::size_t>(index)];
      seconds += checkpoint_s(command.worker, job);
      if (worker(command.worker).jobs.insert(index).second) seconds += job.setup_s;
      const double compute = job.image_s * static_cast<double>(images) *
                             worker(command.worker).slowness *
                             uniform(1 - cluster_.jitter, 1 + cluster_.jitter);
      done.answers.push_back({compute, 1, ""});
      seconds += compute;
      outcome_.num_repeated += !given_.insert({index, command.chunk}).second;
    }
    answer(command.worker, seconds, done);
  }

  WorkerState& worker(int index) { return workers_[static_cast<std::size_t>(index)]; }

  double checkpoint_s(int index, const SimulatedJob& job) {
    return worker(index).models.insert(job.model).second ? job.checkpoint_s : 0;
  }

  // Until the chunk is in the worker's memory. Workers of a node decode a chunk together.
  double load_s(const AssignTile& command) {
    WorkerState& loading = worker(command.worker);
    const std::pair<int, int> wanted{command.stream, command.chunk};
    if (std::exchange(loading.loaded, wanted) == wanted) return 0;
    const auto images =
        static_cast<double>(input_.streams[static_cast<std::size_t>(command.stream)]
                                          [static_cast<std::size_t>(command.chunk)]);
    const int node = command.worker / cluster_.workers_per_node;
    const double decode = images * cluster_.decode_s * loading.slowness;
    const auto [known, is_new] =
        decoded_at_.try_emplace(std::tuple{node, command.stream, command.chunk}, now_ + decode);
    return is_new ? decode : std::max(0.0, known->second - now_) + images * cluster_.cached_s;
  }

  void answer(int index, double seconds, const Event& event) {
    const double way = cluster_.latency_s + uniform(0, cluster_.poll_s);
    push(now_ + way + seconds + cluster_.latency_s, index, event);
  }

  std::size_t num_chunks() const {
    std::size_t chunks = 0;
    for (const auto& stream : input_.streams) chunks += stream.size();
    return chunks;
  }

  // Seconds of a worker of speed 1 that cannot be saved.
  double total_work_s() const {
    double seconds = 0;
    for (const SimulatedJob& job : work_.jobs) {
      seconds += job.prepare_s + job.image_s * static_cast<double>(work_.num_images);
    }
    return seconds + cluster_.decode_s * static_cast<double>(work_.num_images * work_.num_streams);
  }

  // When workers that lose none of their time are through with total_work_s().
  double ideal_s() const {
    double speed = 0;
    std::vector<std::pair<double, double>> deaths;
    for (const WorkerState& one : workers_) {
      speed += 1 / one.slowness;
      if (one.dies_at < kNever) deaths.emplace_back(one.dies_at, 1 / one.slowness);
    }
    std::sort(deaths.begin(), deaths.end());
    double left = total_work_s();
    double time = 0;
    for (const auto& [when, lost] : deaths) {
      if (left <= speed * (when - time)) break;
      left -= speed * (when - time);
      time = when;
      speed -= lost;
    }
    return time + left / speed;
  }

  double longest_chain_s() const {
    double longest = 0;
    const std::int64_t images = std::min(work_.chunk, work_.num_images);
    for (const SimulatedJob& job : work_.jobs) {
      longest = std::max(
          longest, job.checkpoint_s + job.prepare_s + job.image_s * static_cast<double>(images));
    }
    return longest;
  }

  const SimulatedWork& work_;
  const SimulatedCluster& cluster_;
  const SchedulerInput input_;
  std::mt19937_64 random_;
  Scheduler scheduler_;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue_;
  std::vector<WorkerState> workers_;
  std::map<std::tuple<int, int, int>, double> decoded_at_;  // by node, stream, chunk
  std::set<std::pair<int, int>> given_;                     // cells handed out
  double now_ = 0;
  double free_at_ = 0;
  double ended_ = 0;
  std::int64_t next_order_ = 0;
  bool uncommitted_ = false;
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kNoWorkers;
  double scheduler_s_ = 0;
  ScheduleOutcome outcome_;
};

}  // namespace

SimulatedWork full_matrix(WorkerKind kind) {
  const bool gpu = kind == WorkerKind::kGpu;
  SimulatedWork work;
  work.num_streams = 2;
  work.num_images = 50000;
  work.chunk = 250;
  int model = 0;
  for (const NetworkCost& network : kNetworks) {
    for (int index = 0; index < kJobsPerNetwork; ++index) {
      const bool integer = index >= 1 && index <= kIntegerJobs;
      SimulatedJob& job = work.jobs.emplace_back();
      job.stream = network.stream;
      job.model = model;
      job.image_s = 1 / (gpu       ? network.gpu_images_s
                         : integer ? network.integer_images_s
                                   : network.float_images_s);
      job.checkpoint_s = 0.05 + network.million_weights * 4e6 / kReadBytesPerSecond;
      job.setup_s = index == 0 ? 0 : 0.02 + network.million_weights / (gpu ? 2000 : 500);
      const double calibration =
          kCalibrationImages / (gpu ? network.gpu_images_s : network.float_images_s);
      job.prepare_s = 5 * job.setup_s + (integer ? calibration : 0);
    }
    ++model;
  }
  return work;
}

ScheduleOutcome simulate_schedule(const SimulatedWork& work, const SimulatedCluster& cluster,
                                  const SchedulerOptions& options) {
  return Simulation(work, cluster, options).run();
}

}  // namespace squant::runner
