#include "quant/squant_cpu.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/squant_chunk.h"
#include "quant/validate.h"

namespace squant::quant {
namespace {

// Consecutive output channels of one tensor: what a thread takes at a time.
struct ChunkAt {
  std::size_t tensor;
  std::int64_t first_row;
  std::int64_t num_rows;
};

// Chunks of about 8,192 weights, whose buffers stay in the inner caches; smaller where threads
// would be left idle.
std::vector<ChunkAt> split(std::span<const SquantTensor> tensors, int num_threads) {
  std::int64_t total = 0;
  for (const SquantTensor& tensor : tensors) total += tensor.shape.size();
  const std::int64_t weights =
      std::clamp<std::int64_t>(total / (std::int64_t{8} * num_threads), 1024, 8192);
  std::vector<ChunkAt> chunks;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const WeightShape& shape = tensors[i].shape;
    const std::int64_t rows = std::max<std::int64_t>(1, weights / shape.row());
    for (std::int64_t row = 0; row < shape.out; row += rows) {
      chunks.push_back({i, row, std::min(rows, shape.out - row)});
    }
  }
  return chunks;
}

// What the threads found wrong: of several problems the one that comes first in memory.
class FirstProblem {
 public:
  void add(std::size_t tensor, const WeightProblem& problem) {
#pragma omp critical(squant_first_problem)
    {
      if (!found_ || tensor < tensor_ || (tensor == tensor_ && problem.index < problem_.index)) {
        found_ = true;
        tensor_ = tensor;
        problem_ = problem;
      }
    }
  }
  void add(std::exception_ptr exception) {
#pragma omp critical(squant_first_problem)
    exception_ = exception;
  }

  void throw_if_any(std::span<const SquantTensor> tensors) const {
    if (exception_) std::rethrow_exception(exception_);
    if (!found_) return;
    const SquantTensor& tensor = tensors[tensor_];
    const std::int64_t channel = problem_.index / tensor.shape.row();
    const std::string where =
        "squant_cpu: tensor '" + tensor.name + "', output channel " + std::to_string(channel);
    if (problem_.kind == WeightProblem::Kind::kRangeOverflow) {
      throw std::invalid_argument(
          where + ": the weights are too large, their scale or zero point overflows float32");
    }
    throw std::invalid_argument(where + ": weight " + std::to_string(problem_.index) + " is " +
                                std::to_string(tensor.weights[problem_.index]) +
                                ", weights must be finite");
  }

 private:
  bool found_ = false;
  std::size_t tensor_ = 0;
  WeightProblem problem_{};
  std::exception_ptr exception_;
};

}  // namespace

void squant_cpu(std::span<const SquantTensor> tensors, const SquantOptions& options) {
  squant_cpu_simd(tensors, options, best_simd());
}

void squant_cpu_simd(std::span<const SquantTensor> tensors, const SquantOptions& options,
                     Simd simd) {
  check_bits(options.bits, "squant_cpu");
  for (const SquantTensor& tensor : tensors) check_tensor(tensor, "squant_cpu");
  const LaneLoops* const loops = lane_loops(simd);
  if (loops == nullptr && simd != Simd::kScalar) {
    throw std::invalid_argument("squant_cpu: this machine lacks the instruction set asked for");
  }

  const int wished = options.num_threads > 0 ? options.num_threads : omp_get_max_threads();
  const std::vector<ChunkAt> chunks = split(tensors, wished);
  const auto num_chunks = static_cast<std::int64_t>(chunks.size());
  if (num_chunks == 0) return;
  const int num_threads = static_cast<int>(std::min<std::int64_t>(wished, num_chunks));
  FirstProblem first_problem;
  // Neighbours go to one thread, which reads ahead.
  const std::int64_t block =
      std::clamp<std::int64_t>(num_chunks / (std::int64_t{8} * num_threads), 1, 8);
#pragma omp parallel for schedule(dynamic, block) num_threads(num_threads) if (num_threads > 1)
  for (std::int64_t i = 0; i < num_chunks; ++i) {
    // Kept for the thread's life, so that small networks do not wait for the allocator.
    thread_local ChunkScratch scratch;
    const ChunkAt& at = chunks[static_cast<std::size_t>(i)];
    try {
      const auto problem =
          squant_chunk(tensors[at.tensor], at.first_row, at.num_rows, options, loops, scratch);
      if (problem) first_problem.add(at.tensor, *problem);
    } catch (...) {
      first_problem.add(std::current_exception());
    }
  }
  first_problem.throw_if_any(tensors);
}

}  // namespace squant::quant
