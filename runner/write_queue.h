// What the coordinator has to store and has not stored yet. A full disk costs time, not results:
// they wait here.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "results/store.h"

namespace squant::runner {

class WriteQueue {
 public:
  enum class State : std::uint8_t {
    kStored,    // nothing waits
    kWaiting,   // the database could not be written; what waits can be tried again
    kLockLost,  // another coordinator has taken the database over
  };
  // A row that contradicts what is stored: a hardware or software fault.
  struct Refused {
    std::string evaluation;
    int rank = 0;
    std::string why;
  };

  explicit WriteQueue(results::Store& store) : store_(store) {}

  void add(results::WorkerRow worker) { workers_.push_back(std::move(worker)); }
  void add(results::PreparationRow preparation) { preparations_.push_back(std::move(preparation)); }
  void add(results::TileRow tile) { tiles_.push_back(std::move(tile)); }
  void add(results::FailureRow failure) { failures_.push_back(std::move(failure)); }

  bool empty() const {
    return workers_.empty() && preparations_.empty() && tiles_.empty() && failures_.empty();
  }
  const std::vector<results::TileRow>& tiles() const { return tiles_; }
  const std::vector<results::PreparationRow>& preparations() const { return preparations_; }
  const std::vector<results::FailureRow>& failures() const { return failures_; }

  // Stores what waits, all tiles in one transaction. Never throws StoreError.
  State flush();
  const std::string& problem() const { return problem_; }  // of the last flush that was not kStored
  std::vector<Refused> take_refused() { return std::exchange(refused_, {}); }

 private:
  void flush_tiles();

  results::Store& store_;
  std::vector<results::WorkerRow> workers_;
  std::vector<results::PreparationRow> preparations_;
  std::vector<results::TileRow> tiles_;
  std::vector<results::FailureRow> failures_;
  std::vector<Refused> refused_;
  std::string problem_;
};

}  // namespace squant::runner
