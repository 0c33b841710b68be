// Whether a worker's GPU can be used, found out by a process of its own: a rank computes nothing on
// a GPU, and what CUDA does to a process that it fails in stays there.
#pragma once

#include <string>
#include <vector>

#include "runner/spawner.h"

namespace squant::runner {

// Opens `gpu` (as CUDA_VISIBLE_DEVICES names it) as a worker's child would. Returns why that
// failed; empty: it can be used. Blocks, for half a minute at most.
std::string try_gpu(Spawner& spawner, const std::string& gpu);

// Whether the command line is that process's.
bool is_gpu_probe(const std::vector<std::string>& arguments);
// Exit code 0, or 1 and the reason on standard output.
int run_gpu_probe();

}  // namespace squant::runner
