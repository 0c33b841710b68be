#include "eval/export/row_threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace squant::eval {
namespace {

// What a thread takes at a time: small enough that all end at about the same time.
constexpr std::int64_t kPieceWeights = std::int64_t{1} << 17;

}  // namespace

quant::SquantTensor rows_of(const quant::SquantTensor& tensor, std::int64_t first_row,
                            std::int64_t num_rows) {
  const std::int64_t first = first_row * tensor.shape.row();
  quant::SquantTensor rows = tensor;
  rows.shape.out = num_rows;
  rows.weights += first;
  rows.codes += first;
  rows.scale += first_row;
  rows.zero_point += first_row;
  return rows;
}

void for_each_piece(const quant::SquantTensor& tensor, int num_threads,
                    const std::function<void(std::int64_t, std::int64_t)>& work) {
  const std::int64_t num_rows = tensor.shape.out;
  const std::int64_t most = std::max<std::int64_t>(1, kPieceWeights / tensor.shape.row());
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&] {
    try {
      for (std::int64_t row = next.fetch_add(most); row < num_rows; row = next.fetch_add(most))
        work(row, std::min(most, num_rows - row));
    } catch (...) {
      const std::scoped_lock lock(mutex);
      failure = std::current_exception();
      next = num_rows;
    }
  };

  const std::int64_t wished = num_threads > 0 ? num_threads : omp_get_max_threads();
  const std::int64_t num_pieces = (num_rows + most - 1) / most;
  {
    std::vector<std::jthread> others;
    try {
      for (std::int64_t i = 1; i < std::min(wished, num_pieces); ++i) others.emplace_back(run);
    } catch (const std::system_error&) {
      // A limit on threads: those that there are do it.
    }
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace squant::eval
