#include "runner/dry_run.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "runner/progress.h"

namespace squant::runner {
namespace {

std::int64_t missing_images(const PlannedJob& planned, const JobInventory& job) {
  std::int64_t images = 0;
  for (const int chunk : job.missing)
    images += std::min(planned.row.chunk, planned.row.num_images - chunk * planned.row.chunk);
  return images;
}

std::string status_text(const PlannedJob& planned, const JobInventory& job) {
  std::string text;
  switch (job.status) {
    case JobStatus::kFinished:
      text = "finished earlier";
      break;
    case JobStatus::kNew:
      text = "new";
      break;
    case JobStatus::kFailed:
      text = "failed earlier";
      break;
    case JobStatus::kPartly:
      if (job.repeated.size() == job.missing.size()) {
        text = "finished earlier, computed again for its predictions";
        break;
      }
      text = "partly finished, " +
             std::to_string(job.num_chunks - static_cast<std::int64_t>(job.missing.size())) + "/" +
             std::to_string(job.num_chunks) + " tiles";
      break;
  }
  if (!job.to_run) return job.why_not.empty() ? text : text + ", will not run: " + job.why_not;
  if (job.status == JobStatus::kFinished) text += ", computed again (--force)";
  if (job.status == JobStatus::kFailed) text += ", tried again: " + job.failure->reason;
  if (!planned.evaluate) return text + ": quantization only";
  if (planned.row.num_images == 0) return text + ": on images that are not there yet";
  return text + ": " + plural(std::ssize(job.missing), "tile") + ", " +
         plural(missing_images(planned, job), "image");
}

// Images a second of one worker, as the database knows them.
class Throughput {
 public:
  explicit Throughput(std::span<const results::ResultRow> rows) {
    for (const results::ResultRow& row : rows) {
      if (!row.images_per_s || *row.images_per_s <= 0) continue;
      for (const Key& key : {Key{row.job.model, row.job.engine, row.job.bits},
                             Key{row.job.model, row.job.engine, ""}}) {
        auto& [seconds, images] = sums_[key];
        seconds += static_cast<double>(row.num_images) / *row.images_per_s;
        images += static_cast<double>(row.num_images);
      }
    }
  }
  std::optional<double> images_per_s(const results::JobRow& job) const {
    for (const Key& key : {Key{job.model, job.engine, job.bits}, Key{job.model, job.engine, ""}}) {
      const auto found = sums_.find(key);
      if (found != sums_.end() && found->second.first > 0)
        return found->second.second / found->second.first;
    }
    return std::nullopt;
  }

 private:
  struct Key {
    std::string model, engine, bits;
    auto operator<=>(const Key&) const = default;
  };
  std::map<Key, std::pair<double, double>> sums_;
};

std::string estimate(const Plan& plan, const std::vector<JobInventory>& inventory,
                     std::span<const results::ResultRow> measured, int workers) {
  const Throughput throughput(measured);
  double seconds = 0;
  int known = 0;
  int unknown = 0;
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    if (!inventory[i].to_run || !plan.jobs[i].evaluate) continue;
    if (const std::optional<double> rate = throughput.images_per_s(plan.jobs[i].row)) {
      seconds += static_cast<double>(missing_images(plan.jobs[i], inventory[i])) / *rate;
      ++known;
    } else {
      ++unknown;
    }
  }
  if (known + unknown == 0) return "";
  if (known == 0) return "no estimate: the database has no measurement of these networks yet";
  std::string text = "about " + duration_text(seconds / workers) + " on " +
                     plural(workers, "worker") + ", from what the database has measured";
  if (unknown > 0)
    text += "; " + plural(unknown, "job") + " of networks that it does not know come on top";
  return text;
}

}  // namespace

WorkSize work_size(const Plan& plan, const std::vector<JobInventory>& inventory) {
  WorkSize size;
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    const JobInventory& job = inventory[i];
    size.finished += job.status == JobStatus::kFinished;
    size.partly += job.status == JobStatus::kPartly;
    size.is_new += job.status == JobStatus::kNew;
    size.failed += job.status == JobStatus::kFailed;
    if (!job.to_run) continue;
    ++size.jobs_to_run;
    size.preparations += !job.prepared;
    size.tiles += static_cast<std::int64_t>(job.missing.size());
    size.evaluations += missing_images(plan.jobs[i], job);
  }
  return size;
}

std::vector<std::string> dry_run_report(const Plan& plan,
                                        const std::vector<JobInventory>& inventory,
                                        std::span<const results::ResultRow> measured, int workers) {
  std::size_t columns = 0;
  for (const PlannedJob& job : plan.jobs) columns = std::max(columns, job.label.size());
  for (const SkippedCell& cell : plan.skipped) columns = std::max(columns, cell.label.size());
  const auto line = [&](const std::string& label, const std::string& text) {
    return label + std::string(columns - label.size() + 2, ' ') + text;
  };
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    lines.push_back(line(plan.jobs[i].label, status_text(plan.jobs[i], inventory[i])));
  }
  for (const SkippedCell& cell : plan.skipped) lines.push_back(line(cell.label, cell.reason));

  const WorkSize size = work_size(plan, inventory);
  lines.emplace_back();
  lines.push_back(
      plural(std::ssize(plan.jobs), "job") + ": " + std::to_string(size.is_new) + " new, " +
      std::to_string(size.partly) + " partly finished, " + std::to_string(size.finished) +
      " finished earlier, " + std::to_string(size.failed) + " failed earlier; " +
      plural(std::ssize(plan.skipped), "cell") + " excluded, not selected or duplicate");
  if (size.jobs_to_run == 0) {
    lines.emplace_back("nothing to do");
  } else if (!plan.missing.empty()) {
    lines.push_back("to do: " + plural(size.jobs_to_run, "job") +
                    "; how much work that is shows when nothing is missing");
  } else {
    lines.push_back("to do: " + plural(size.jobs_to_run, "job") + ", " +
                    plural(size.preparations, "preparation") + ", " + plural(size.tiles, "tile") +
                    ", " + plural(size.evaluations, "evaluation") + " of an image");
    const std::string expected = estimate(plan, inventory, measured, workers);
    if (!expected.empty()) lines.push_back(expected);
  }
  for (const Problem& missing : plan.missing) lines.push_back("missing: " + missing.text());
  return lines;
}

}  // namespace squant::runner
