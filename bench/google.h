// Google Benchmark, run under its own flags.
#pragma once

#include <benchmark/benchmark.h>

#include <functional>
#include <string>
#include <vector>

namespace squant::bench {

// Runs what was registered and prints it as Google Benchmark does, or hands each run to `take`.
// flags: --benchmark_filter=REGEX and others. Returns the exit code: 2 for an unknown flag.
using TakeRun = std::function<void(const benchmark::BenchmarkReporter::Run& run)>;
int run_google_benchmarks(std::vector<std::string> flags, const TakeRun& take = {});

}  // namespace squant::bench
