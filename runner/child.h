// The process that does a worker's work, so that no crash of a decoder or of CUDA reaches MPI. Runs
// the same program in a mode of its own, started by the rank's Spawner.
//
// It is told what to do by the messages that a worker is told: DatasetInfo and JobInfo, then
// PrepareTask or TileTask, or PackTask, or BroadcastTask. It answers Prepared, TileAnswer, Packed,
// BroadcastDone or TaskError, and a Beat whenever it got further; its first message is Beat{0}.
// What it logs goes to standard error. It ends with the channel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runner/cores.h"

namespace squant::runner {

struct ChildSettings {
  std::string device = "cpu";
  int num_threads = 1;
  int batch_size = 0;  // 0: chosen by the program
  CpuSet cpus;         // that it may run on
};

// The command line of a child, and back: none for any other command line. Throws
// std::invalid_argument for a child's that is damaged.
std::vector<std::string> child_arguments(const ChildSettings& settings);
std::optional<ChildSettings> parse_child_arguments(const std::vector<std::string>& arguments);

// Serves the channel at kChannelDescriptor until it is closed.
[[noreturn]] void run_child(const ChildSettings& settings);

}  // namespace squant::runner
