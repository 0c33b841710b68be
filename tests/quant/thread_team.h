// Teams (quant/team.h) of the host: threads that meet at a barrier.
#pragma once

#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "quant/team.h"

namespace squant::quant::testing {

// What the threads of one team share.
struct Meeting {
  explicit Meeting(int size) : barrier(size), slots(static_cast<std::size_t>(size)) {}
  std::barrier<> barrier;
  std::vector<std::int64_t> slots;
};

class ThreadTeam {
 public:
  ThreadTeam(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(meeting_.slots.size()); }
  void sync() { meeting_.barrier.arrive_and_wait(); }
  WeightRange range_of(WeightRange value) {
    return reduce(value, [](WeightRange a, WeightRange b) {
      return WeightRange{min_or_nan(a.min, b.min), max_or_nan(a.max, b.max)};
    });
  }
  std::int64_t sum_of(std::int64_t value) {
    return reduce(value, [](std::int64_t a, std::int64_t b) { return a + b; });
  }
  std::int32_t add(std::int32_t* counter, std::int32_t count) {
    return std::atomic_ref<std::int32_t>(*counter).fetch_add(count);
  }

 private:
  template <class T, class Combine>
  T reduce(T value, Combine combine) {
    std::memcpy(&meeting_.slots[static_cast<std::size_t>(rank_)], &value, sizeof value);
    sync();
    T result{};
    std::memcpy(&result, &meeting_.slots[0], sizeof result);
    for (std::size_t i = 1; i < meeting_.slots.size(); ++i) {
      T other{};
      std::memcpy(&other, &meeting_.slots[i], sizeof other);
      result = combine(result, other);
    }
    sync();
    return result;
  }
  Meeting& meeting_;
  int rank_;
};

// Runs work(team) by every member of a team of `size`.
template <class Work>
void run_team(int size, Work work) {
  Meeting meeting(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&meeting, &work, rank] {
      ThreadTeam team(meeting, rank);
      work(team);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace squant::quant::testing
