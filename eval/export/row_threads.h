// Channels of a tensor shared out to threads.
#pragma once

#include <cstdint>
#include <functional>

#include "quant/squant.h"

namespace squant::eval {

// Channels [first_row, first_row + num_rows) as a tensor of their own, on the same memory.
quant::SquantTensor rows_of(const quant::SquantTensor& tensor, std::int64_t first_row,
                            std::int64_t num_rows);

// Calls work(first_row, num_rows) for pieces that together are all channels, each once, on this
// thread and up to num_threads - 1 others (num_threads 0: one a processor), and waits for them:
// asleep, where OpenMP's threads would spin and take time from the one that computes the digest.
// Rethrows what any of them threw.
void for_each_piece(const quant::SquantTensor& tensor, int num_threads,
                    const std::function<void(std::int64_t first_row, std::int64_t num_rows)>& work);

}  // namespace squant::eval
