// Where a result comes from: program, libraries, machine, command.
#pragma once

#include <string>
#include <vector>

#include "results/rows.h"
#include "runner/experiment.h"
#include "runner/messages.h"

namespace squant::runner {

// Now, UTC, ISO 8601 with milliseconds: 2026-01-31T12:00:00.000Z.
std::string utc_now();
std::string host_name();
std::string cpu_name();         // the model name that the kernel tells
std::string program_version();  // "0.1.0 1a2b3c4d (modified)": what all ranks must share
std::string version_text();     // --version: program, commit, compiler, libraries

// A command line that a shell reads back as the same arguments.
std::string shell_line(const std::vector<std::string>& arguments);

// Everything but the run's times and world size.
results::RunRow run_row(const Experiment& experiment, const std::vector<std::string>& arguments,
                        const std::string& mpi_version);

// `gpu`: CUDA's number of the worker's GPU in this process, where `device` is "cuda".
Hello hello_of_this_process(const std::string& device, int gpu, int num_threads,
                            const std::string& note);

}  // namespace squant::runner
