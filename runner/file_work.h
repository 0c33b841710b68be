// The work of a child process that is about files and not about jobs.
#pragma once

#include <cstdint>
#include <functional>

#include "runner/executor.h"

namespace squant::runner {

// `progress` is called at least a few times a second, with what is done so far: images of a pack,
// files of a broadcast. Both throw nothing: what goes wrong is a WorkFailed, or the error of a
// delivery.
using FileProgress = std::function<void(std::size_t)>;
WorkResult run_packing(const PackingWork& work, int num_threads, const FileProgress& progress);
WorkResult run_broadcast(const BroadcastWork& work, const FileProgress& progress);

}  // namespace squant::runner
