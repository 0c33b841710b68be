#include "runner/write_queue.h"

#include <span>

namespace squant::runner {
namespace {

// Stores rows one by one from the front; one that throws stays, with those behind it.
template <typename Row, typename Write>
void drain(std::vector<Row>& rows, Write write) {
  std::size_t stored = 0;
  try {
    for (; stored < rows.size(); ++stored) write(rows[stored]);
  } catch (...) {
    rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(stored));
    throw;
  }
  rows.clear();
}

}  // namespace

WriteQueue::State WriteQueue::flush() {
  try {
    drain(workers_, [this](const results::WorkerRow& row) { store_.add_worker(row); });
    drain(preparations_, [this](const results::PreparationRow& row) {
      try {
        store_.add_preparation(row);
      } catch (const results::StoreConflict& error) {
        refused_.push_back({row.evaluation, row.rank, error.what()});
      }
    });
    flush_tiles();
    drain(failures_, [this](const results::FailureRow& row) { store_.add_failure(row); });
    return State::kStored;
  } catch (const results::StoreLocked& error) {
    problem_ = error.what();
    return State::kLockLost;
  } catch (const results::StoreError& error) {
    problem_ = error.what();
    return State::kWaiting;
  }
}

void WriteQueue::flush_tiles() {
  if (tiles_.empty()) return;
  try {
    store_.commit_tiles(tiles_);
    tiles_.clear();
    return;
  } catch (const results::StoreConflict&) {
    // One of them: the others are stored by themselves below.
  }
  drain(tiles_, [this](const results::TileRow& tile) {
    try {
      store_.commit_tiles(std::span(&tile, 1));
    } catch (const results::StoreConflict& error) {
      refused_.push_back({tile.evaluation, tile.rank, error.what()});
    }
  });
}

}  // namespace squant::runner
