// What a report says of the machine and the program: date, host, processor, GPU, versions.
#pragma once

#include "bench/report.h"

namespace squant::bench {

// num_threads: of the CPU's engines, 0: one for each allowed core. Without a GPU its entries are
// empty.
Facts context_of_this_process(int num_threads);

// Whether there is a GPU to measure; where there is none, standard error says why.
bool has_cuda();

}  // namespace squant::bench
