// Makes a small database with a result of every kind, for tests that want a file.
// usage: results_make_database PATH
#include <cstdio>

#include "tests/results/sample.h"

namespace {

using namespace squant::results;
using namespace squant::results::testing;

void fill(Store& store) {
  const std::int64_t run = begin_sample_run(store, "sample");
  std::vector<Store::PlannedJob> jobs;
  for (const char* model : {"resnet18", "größe <b>&amp;"}) {
    for (const char* bits : {"float", "w8a8", "w4a4"}) {
      for (const char* mode : {"squant-e", "squant"}) {
        const bool is_float = bits == std::string("float");
        if (is_float && mode == std::string("squant-e")) continue;
        jobs.push_back({sample_job(model, bits, is_float ? "float" : mode),
                        ReferenceValue{72, 0.2, "table 1", 72}});
      }
    }
  }
  jobs.push_back({sample_job("unfinished", "w4a4", "squant"), {}});
  jobs.push_back({sample_job("broken", "w4a4", "squant"), {}});
  store.add_jobs(run, jobs);
  for (std::size_t i = 0; i + 2 < jobs.size(); ++i) {
    store.add_preparation(sample_preparation(jobs[i].job, run));
    store.commit_tiles(
        sample_tiles(jobs[i].job, run, 180 - static_cast<std::int64_t>(3 * (i % 5))));
  }
  store.add_failure(
      {jobs.back().job.identity, run, 0, "out of memory", "", "2026-01-31T12:00:02.000Z"});
  store.finish_run(run, 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: results_make_database PATH\n", stderr);
    return 2;
  }
  fill(*Store::open_writer(argv[1]));
}
