#include "runner/coordinator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <stdexcept>

#include "eval/models/models.h"
#include "runner/provenance.h"

namespace squant::runner {
namespace {

constexpr double kTickInterval = 0.5;
constexpr double kRateWindow = 60;
constexpr std::size_t kShownBrokenImages = 10;

}  // namespace

Coordinator::Coordinator(Transport& transport, CoordinatorOptions options, Say say)
    : transport_(transport), options_(std::move(options)), say_(std::move(say)) {
  if (options_.files != nullptr) {
    files_.emplace(*options_.files, options_.broadcast, [this](int worker, const Message& message) {
      if (std::holds_alternative<BroadcastTask>(message))
        workers_.at(worker).unanswered = kBroadcastTask;
      send(worker, message);
    });
  }
}

bool Coordinator::step(double now) {
  now_ = now;
  bool active = false;
  int frames = 0;
  while (frames < kFramesAtOnce) {
    const std::optional<Envelope> envelope = transport_.receive();
    if (!envelope) break;
    active = true;
    frames += is_frame(envelope->bytes);
    receive(*envelope);
  }
  distribute_files();
  if (!scheduler_ || ending_) return active;
  // After what arrived: a coordinator that was held up must not take its workers for dead.
  if (now_ - last_tick_ >= kTickInterval || finished_) {
    last_tick_ = now_;
    handle(Tick{});
  }
  store_pending();
  return active;
}

// --- the sweep's beginning and end

void Coordinator::begin(results::Store& store, const Plan& plan,
                        const std::vector<JobInventory>& inventory,
                        const std::vector<results::ResultRow>& totals, std::int64_t run_id,
                        double now) {
  now_ = began_ = last_store_heartbeat_ = now;
  store_ = &store;
  plan_ = &plan;
  run_id_ = run_id;
  queue_.emplace(store);
  std::map<std::string, const results::ResultRow*> known;
  for (const results::ResultRow& row : totals) known[row.job.identity] = &row;
  for (std::size_t index = 0; index < plan.jobs.size(); ++index) {
    const PlannedJob& planned = plan.jobs[index];
    const JobInventory& found = inventory[index];
    JobProgress& job = jobs_.emplace_back();
    job.ranges = found.ranges;
    job.prepared = found.prepared;
    for (const int chunk : found.repeated) job.repeated.insert(chunk * planned.row.chunk);
    job.row.label = planned.label;
    job.row.num_planned = planned.row.num_images;
    if (const auto stored = known.find(planned.row.identity); stored != known.end()) {
      job.row.num_images = stored->second->num_images;
      job.row.num_top1 = stored->second->num_top1;
    }
    job.row.state = found.to_run                           ? RowView::State::kWaiting
                    : found.status == JobStatus::kFinished ? RowView::State::kDone
                    : found.status == JobStatus::kFailed   ? RowView::State::kFailed
                                                           : RowView::State::kSkipped;
    if (found.to_run && found.prepared) job.row.state = RowView::State::kPrepared;
  }
  offer_files(inventory);
  if (files_) files_->step(now_);  // mostly it is clear by now that nobody has to wait for files
  build_scheduler(inventory);
  for (const auto& [worker, info] : workers_) {
    if (info.refused) {
      handle(WorkerRefused{worker});
    } else {
      join(worker);
    }
  }
  handle(Tick{});
}

void Coordinator::build_scheduler(const std::vector<JobInventory>& inventory) {
  SchedulerInput input;
  std::map<std::array<std::int64_t, 4>, int> streams;  // by data set and input shape
  std::map<std::pair<std::string, std::string>, int> models;
  for (std::size_t index = 0; index < plan_->jobs.size(); ++index) {
    const PlannedJob& planned = plan_->jobs[index];
    const JobInventory& found = inventory[index];
    const eval::Shape& shape = eval::model_info(planned.job.model).input;
    const auto [stream, is_new] =
        streams.try_emplace({planned.dataset, shape.channels, shape.height, shape.width},
                            static_cast<int>(streams.size()));
    if (is_new) {
      Stream& added = streams_.emplace_back();
      added.dataset = spec_for_workers(planned.dataset, shape);
      std::vector<std::int64_t>& sizes = input.streams.emplace_back();
      for (std::int64_t chunk = 0; chunk < found.num_chunks; ++chunk) {
        const std::int64_t first = chunk * planned.row.chunk;
        added.chunks.push_back(
            {first, std::min(planned.row.chunk, planned.row.num_images - first)});
        sizes.push_back(added.chunks.back().count);
      }
    }
    const auto model = models
                           .try_emplace({planned.job.model, planned.job.checkpoint_sha256},
                                        static_cast<int>(models.size()))
                           .first;
    SchedulerJob& job = input.jobs.emplace_back();
    job.stream = stream->second;
    job.model = model->second;
    job.prepared = !found.to_run || found.prepared;
    if (!found.to_run) continue;
    job.chunks = found.missing;
    const Stream& own = streams_[static_cast<std::size_t>(job.stream)];
    for (const int chunk : found.missing)
      evaluations_total_ += own.chunks[static_cast<std::size_t>(chunk)].count;
  }
  scheduler_.emplace(input, options_.scheduler);
}

void Coordinator::drain(double now) {
  now_ = now;
  if (scheduler_) handle(Drain{});
}

bool Coordinator::flush() {
  return !queue_ || queue_->empty() || queue_->flush() == WriteQueue::State::kStored;
}

std::vector<std::string> Coordinator::unsaved() const {
  std::vector<std::string> lines;
  if (!queue_) return lines;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>>
      tiles;  // tiles and images, by evaluation
  for (const results::TileRow& tile : queue_->tiles()) {
    ++tiles[tile.evaluation].first;
    tiles[tile.evaluation].second += tile.count;
  }
  for (const PlannedJob& planned : plan_->jobs) {
    const auto found = tiles.find(planned.row.evaluation);
    if (found == tiles.end()) continue;
    lines.push_back(planned.label + ": " + plural(found->second.first, "tile") + ", " +
                    plural(found->second.second, "image"));
    tiles.erase(found);
  }
  if (!queue_->preparations().empty())
    lines.push_back(plural(std::ssize(queue_->preparations()), "preparation"));
  if (!queue_->failures().empty())
    lines.push_back(plural(std::ssize(queue_->failures()), "failure"));
  return lines;
}

SweepView Coordinator::view(double now) const {
  SweepView view;
  for (const JobProgress& job : jobs_) view.rows.push_back(job.row);
  view.evaluations = evaluations_;
  view.evaluations_total = evaluations_total_;
  view.jobs_failed = jobs_failed_;
  view.elapsed_s = now - began_;
  for (const JobProgress& job : jobs_) {
    view.jobs_total += job.row.state != RowView::State::kSkipped;
    view.jobs_done += job.row.state == RowView::State::kDone;
  }
  if (scheduler_) {
    view.workers = static_cast<int>(scheduler_->num_alive());
    view.workers_busy = view.workers - static_cast<int>(scheduler_->num_idle());
    view.remaining_s = scheduler_->remaining_s();
  }
  std::int64_t recent = 0;
  for (const auto& [when, count] : recent_) recent += when >= now - kRateWindow ? count : 0;
  const double window = std::min(kRateWindow, view.elapsed_s);
  if (window > 0) view.images_per_s = static_cast<double>(recent) / window;
  if (store_trouble_since_) view.trouble = "the database cannot be written: " + store_problem_;
  return view;
}

// --- messages

void Coordinator::receive(const Envelope& envelope) {
  if (is_frame(envelope.bytes)) {
    if (files_) files_->receive_frame(envelope, now_);
    return;
  }
  const Message message = decode(envelope.bytes);
  std::visit([&](const auto& one) { on(envelope.source, one); }, message);
}

void Coordinator::on(int worker, const Hello& message) {
  const auto [entry, is_new] = workers_.try_emplace(worker);
  send(worker, Ack{});
  if (!is_new) return;
  entry->second.hello = message;
  spdlog::info("{} joined: {}, {} threads, pid {}", worker_name(worker), message.device_name,
               message.num_threads, message.pid);
  if (!message.note.empty()) spdlog::info("{}: {}", worker_name(worker), message.note);
  if (message.program != options_.program) {
    entry->second.refused = true;
    say_(worker_name(worker) + " is not used: it runs squant-sweep " + message.program +
         ", the coordinator " + options_.program);
    if (scheduler_) handle(WorkerRefused{worker});
    return;
  }
  if (files_) files_->joined(worker, message);
  if (scheduler_) join(worker);
}

void Coordinator::on(int worker, const Beat& message) {
  send(worker, Ack{});
  const auto found = workers_.find(worker);
  if (!scheduler_ || found == workers_.end() || found->second.refused) return;
  if (!scheduler_->alive(worker) && message.task == 0 && found->second.unanswered == 0) {
    join(worker);
  } else {
    handle(Heartbeat{worker});
  }
}

void Coordinator::answered(int worker, TaskId task) {
  const auto found = workers_.find(worker);
  if (found != workers_.end() && found->second.unanswered == task) found->second.unanswered = 0;
}

void Coordinator::on(int worker, const Prepared& message) {
  if (!scheduler_) return;
  answered(worker, message.task);
  Arrived arrived;
  arrived.preparation = &message;
  handle(PreparationDone{worker, message.task}, arrived);
}

void Coordinator::on(int worker, const TileAnswer& message) {
  answered(worker, message.task);
  const auto tile = tiles_.find(message.task);
  if (!scheduler_ || tile == tiles_.end()) return;
  TileDone done{worker, message.task, {}};
  for (const eval::Evaluator::TileResult& result : message.tile.results) {
    const std::string error =
        result.error.empty() ? miscounted(result.counts, tile->second.count) : result.error;
    done.answers.push_back({result.counts.compute_ms / 1000, fingerprint_of(result.counts), error});
  }
  for (const std::string& broken : message.tile.broken) {
    if (!broken_.insert(broken).second) continue;
    spdlog::warn("{}: broken image: {}", worker_name(worker), broken);
    if (broken_.size() <= kShownBrokenImages) say_("broken image, counted as wrong: " + broken);
    if (broken_.size() == kShownBrokenImages)
      say_("more broken images are counted without a line each");
  }
  Arrived arrived;
  arrived.tile = &message;
  arrived.log_tail = message.log_tail;
  handle(done, arrived);
  tiles_.erase(message.task);
}

void Coordinator::on(int worker, const FilesLacking& message) {
  if (files_) files_->receive(worker, message);
}

void Coordinator::on(int worker, const BroadcastDone& message) {
  answered(worker, message.task);
  if (files_) files_->receive(worker, message, now_);
}

void Coordinator::on(int worker, const TaskError& message) {
  if (!scheduler_) return;
  answered(worker, message.task);
  if (message.task == kBroadcastTask) {
    if (files_) files_->receive(worker, message, now_);
    return;
  }
  Arrived arrived;
  arrived.log_tail = message.log_tail;
  if (message.kind == FailureKind::kDied)
    say_(worker_name(worker) + ": " + message.reason + "; what it did is tried again");
  handle(TaskFailed{worker, message.task, message.reason, message.kind}, arrived);
  tiles_.erase(message.task);
}

template <typename Other>
void Coordinator::on(int, const Other&) {
  throw std::logic_error("the coordinator received a message that is meant for a worker");
}

void Coordinator::join(int worker) {
  if (files_ && !files_->may_work(worker)) {
    waiting_.insert(worker);
    return handle(Heartbeat{worker});
  }
  waiting_.erase(worker);
  WorkerInfo& info = workers_.at(worker);
  if (!info.in_database) {
    queue_->add(worker_row(run_id_, worker, info.hello));
    info.in_database = true;
  }
  if (lost_.erase(worker) > 0) say_(worker_name(worker) + " is back");
  handle(WorkerJoined{worker});
}

void Coordinator::tell_job(int worker, int job) {
  const JobProgress& progress = jobs_[static_cast<std::size_t>(job)];
  std::map<int, bool>& told = workers_.at(worker).jobs;
  const auto found = told.find(job);
  if (found != told.end() && found->second == progress.prepared) return;
  told[job] = progress.prepared;
  const PlannedJob& planned = plan_->jobs[static_cast<std::size_t>(job)];
  send(worker, JobInfo{job, planned.job, planned.repeats, progress.ranges});
}

void Coordinator::tell_stream(int worker, int stream) {
  if (!workers_.at(worker).streams.insert(stream).second) return;
  send(worker, DatasetInfo{stream, streams_[static_cast<std::size_t>(stream)].dataset});
}

Computed Coordinator::computed_by(int worker, int job) const {
  return {plan_->jobs[static_cast<std::size_t>(job)].row.evaluation, run_id_, worker};
}

std::string Coordinator::worker_name(int worker) const {
  const auto found = workers_.find(worker);
  return "rank " + std::to_string(worker) +
         (found == workers_.end() ? "" : " on " + found->second.hello.host);
}

// --- commands

void Coordinator::handle(const Event& event) { handle(event, {}); }

void Coordinator::handle(const Event& event, const Arrived& arrived) {
  for (const Command& command : scheduler_->handle(event, now_)) {
    std::visit([&](const auto& one) { obey(one, arrived); }, command);
  }
}

void Coordinator::obey(const AssignPreparation& command, const Arrived&) {
  workers_.at(command.worker).unanswered = command.task;
  tell_job(command.worker, command.job);
  send(command.worker, PrepareTask{command.task, command.job});
}

void Coordinator::obey(const AssignTile& command, const Arrived&) {
  const Stream& stream = streams_[static_cast<std::size_t>(command.stream)];
  const results::TileRange& range = stream.chunks[static_cast<std::size_t>(command.chunk)];
  tiles_[command.task] = range;
  workers_.at(command.worker).unanswered = command.task;
  tell_stream(command.worker, command.stream);
  for (const int job : command.jobs) {
    tell_job(command.worker, job);
    jobs_[static_cast<std::size_t>(job)].row.state = RowView::State::kRunning;
  }
  send(command.worker,
       TileTask{command.task, command.stream, range.first, range.count, command.jobs});
}

void Coordinator::obey(const AcceptPreparation& command, const Arrived& arrived) {
  JobProgress& job = jobs_[static_cast<std::size_t>(command.job)];
  const eval::Preparation& preparation = arrived.preparation->preparation;
  job.ranges = preparation.ranges;
  job.prepared = true;
  if (job.row.state == RowView::State::kWaiting) job.row.state = RowView::State::kPrepared;
  queue_->add(preparation_row(computed_by(command.worker, command.job), preparation));
}

void Coordinator::obey(const AcceptCell& command, const Arrived& arrived) {
  JobProgress& job = jobs_[static_cast<std::size_t>(command.job)];
  const eval::TileCounts& counts = arrived.tile->tile.results[command.index].counts;
  const results::TileRange range = tiles_.at(arrived.tile->task);
  queue_->add(tile_row(computed_by(command.worker, command.job), range, counts,
                       arrived.tile->tile.load_ms));
  if (!job.repeated.contains(range.first)) {
    job.row.num_images += range.count;
    job.row.num_top1 += counts.num_top1;
  }
  evaluations_ += range.count;
  recent_.emplace_back(now_, range.count);
  while (!recent_.empty() && recent_.front().first < now_ - kRateWindow) recent_.pop_front();
}

void Coordinator::obey(const JobFinished& command, const Arrived&) {
  RowView& row = jobs_[static_cast<std::size_t>(command.job)].row;
  if (row.state != RowView::State::kFailed) row.state = RowView::State::kDone;
}

void Coordinator::obey(const TryFailed& command, const Arrived& arrived) {
  spdlog::warn("{}: {} goes to another worker (failures of its own: {}): {}",
               worker_name(command.worker), label(command.job), command.attempt, command.reason);
  if (!arrived.log_tail.empty())
    jobs_[static_cast<std::size_t>(command.job)].log_tail = arrived.log_tail;
}

void Coordinator::obey(const GiveUp& command, const Arrived& arrived) {
  const std::string& earlier = jobs_[static_cast<std::size_t>(command.job)].log_tail;
  fail_job(command.job, command.worker, command.reason,
           arrived.log_tail.empty() ? earlier : arrived.log_tail);
}

void Coordinator::obey(const DropWorker& command, const Arrived&) {
  if (files_) files_->lost(command.worker, now_);
  if (command.for_good) {
    say_(worker_name(command.worker) + " is not used any more: " + command.why);
    send(command.worker, Leave{false, command.why});
    return;
  }
  lost_.insert(command.worker);
  say_(worker_name(command.worker) + " is lost: " + command.why + "; its task goes to another");
}

void Coordinator::obey(const Contradiction& command, const Arrived&) {
  fail_job(command.job, command.second_worker,
           "two workers gave different answers for the same images, " +
               worker_name(command.first_worker) + " and " + worker_name(command.second_worker) +
               ": a hardware or software fault",
           "");
}

void Coordinator::obey(const Finished& command, const Arrived&) { finished_ = command.reason; }

void Coordinator::fail_job(int job, int worker, const std::string& reason,
                           const std::string& log_tail) {
  JobProgress& progress = jobs_[static_cast<std::size_t>(job)];
  if (progress.row.state == RowView::State::kFailed) return;
  progress.row.state = RowView::State::kFailed;
  ++jobs_failed_;
  say_("FAILED " + label(job) + ": " + reason + " (" + worker_name(worker) + ")");
  const std::string& identity = plan_->jobs[static_cast<std::size_t>(job)].row.identity;
  queue_->add(results::FailureRow{identity, run_id_, worker, reason, log_tail, utc_now()});
}

// --- files for nodes that lack them

eval::DatasetSpec Coordinator::spec_for_workers(int dataset, const eval::Shape& shape) const {
  const eval::DatasetSpec& planned = plan_->datasets[static_cast<std::size_t>(dataset)].spec;
  for (const PackedDataset& one : packs_) {
    if (one.dataset != dataset || !(one.shape == shape)) continue;
    return {.format = eval::kImagePackFormat,
            .images = one.pack.path,
            .labels = "",
            .cache = "",
            .order = planned.order,
            .sha256 = one.pack.sha256};
  }
  return planned;
}

void Coordinator::offer_files(const std::vector<JobInventory>& inventory) {
  if (!files_) return;
  std::set<std::string> offered;
  for (std::size_t job = 0; job < plan_->jobs.size(); ++job) {
    const eval::Job& spec = plan_->jobs[job].job;
    if (!inventory[job].to_run || !offered.insert(spec.checkpoint_sha256).second) continue;
    const std::string name = std::filesystem::path(spec.checkpoint).filename();
    files_->offer({spec.checkpoint, spec.checkpoint_sha256}, "checkpoint " + name, now_);
  }
  for (const PackedDataset& one : packs_)
    files_->offer({one.pack.path, one.pack.sha256}, one.name, now_);
  files_->begin(now_);
}

void Coordinator::distribute_files() {
  if (!files_) return;
  files_->step(now_);
  if (!scheduler_ || ending_) return;
  for (const int worker : std::set<int>(waiting_)) {
    if (files_->may_work(worker) && workers_.at(worker).unanswered == 0) join(worker);
  }
}

std::vector<std::string> Coordinator::broadcasts() const {
  return files_ ? files_->lines() : std::vector<std::string>();
}

// --- the database

void Coordinator::store_pending() {
  if (!queue_->empty() && now_ >= next_store_try_) {
    const WriteQueue::State state = queue_->flush();
    for (const WriteQueue::Refused& refused : queue_->take_refused()) {
      for (std::size_t job = 0; job < plan_->jobs.size(); ++job) {
        if (plan_->jobs[job].row.evaluation == refused.evaluation) {
          fail_job(static_cast<int>(job), refused.rank, refused.why, "");
        }
      }
    }
    if (state == WriteQueue::State::kStored) {
      last_store_heartbeat_ = now_;
      if (store_trouble_since_) {
        store_trouble_since_.reset();
        say_("the database can be written again: the sweep goes on");
        handle(Pause{false});
      }
    } else {
      store_problem_ = queue_->problem();
      next_store_try_ = now_ + options_.store_retry_s;
      if (state == WriteQueue::State::kLockLost) {
        ending_ = Ending::kLockLost;
      } else if (!store_trouble_since_) {
        store_trouble_since_ = now_;
        say_(
            "the database cannot be written; no work is handed out and what is computed is kept in "
            "memory while it is "
            "tried again for " +
            duration_text(options_.store_patience_s) + ": " + store_problem_);
        handle(Pause{true});
      } else if (now_ - *store_trouble_since_ >= options_.store_patience_s) {
        ending_ = Ending::kStoreFull;
      }
    }
  }
  store_heartbeat();
  if (ending_ || !finished_ || !queue_->empty()) return;
  switch (*finished_) {
    case FinishReason::kComplete:
      ending_ = Ending::kComplete;
      break;
    case FinishReason::kDrained:
      ending_ = Ending::kDrained;
      break;
    case FinishReason::kTooManyFailures:
      ending_ = Ending::kTooManyFailures;
      break;
    case FinishReason::kNoWorkers:
      ending_ = Ending::kNoWorkers;
      break;
  }
}

void Coordinator::store_heartbeat() {
  if (now_ - last_store_heartbeat_ < options_.store_heartbeat_s) return;
  last_store_heartbeat_ = now_;
  try {
    store_->heartbeat();
  } catch (const results::StoreLocked& error) {
    store_problem_ = error.what();
    ending_ = Ending::kLockLost;
  } catch (const results::StoreError& error) {
    spdlog::warn("the database's heartbeat failed: {}", error.what());
  }
}

}  // namespace squant::runner
