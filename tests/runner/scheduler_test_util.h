// What the tests of the scheduler share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <variant>
#include <vector>

#include "runner/scheduler.h"

namespace squant::runner {

// `models` x `jobs_per_model` jobs on one stream of `chunks` chunks of 250 images.
inline SchedulerInput matrix(int models, int jobs_per_model, int chunks, bool prepared = false) {
  SchedulerInput input;
  input.streams.emplace_back(static_cast<std::size_t>(chunks), 250);
  for (int job = 0; job < models * jobs_per_model; ++job) {
    SchedulerJob& added = input.jobs.emplace_back();
    added.model = job / jobs_per_model;
    added.prepared = prepared;
    added.chunks.resize(static_cast<std::size_t>(chunks));
    std::iota(added.chunks.begin(), added.chunks.end(), 0);
  }
  return input;
}

// The commands of one kind.
template <typename T>
std::vector<T> only(const std::vector<Command>& commands) {
  std::vector<T> found;
  for (const Command& command : commands) {
    if (const T* one = std::get_if<T>(&command)) found.push_back(*one);
  }
  return found;
}

inline TileDone answer(const AssignTile& tile, double seconds_per_job = 0.1) {
  return {tile.worker, tile.task,
          std::vector<CellAnswer>(tile.jobs.size(), CellAnswer{seconds_per_job, 7, ""})};
}

}  // namespace squant::runner
