#include "bench/google.h"

namespace squant::bench {
namespace {

class RunTaker final : public benchmark::BenchmarkReporter {
 public:
  explicit RunTaker(const TakeRun& take) : take_(take) {}
  bool ReportContext(const Context& /*context*/) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) take_(run);
  }

 private:
  const TakeRun& take_;
};

}  // namespace

int run_google_benchmarks(std::vector<std::string> flags, const TakeRun& take) {
  std::string program = "squant-bench";
  std::vector<char*> arguments{program.data()};
  for (std::string& flag : flags) arguments.push_back(flag.data());
  auto count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  RunTaker taker(take);
  benchmark::RunSpecifiedBenchmarks(take ? &taker : nullptr);
  benchmark::Shutdown();
  return 0;
}

}  // namespace squant::bench
