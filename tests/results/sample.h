// Rows for tests of the store: a small matrix with plausible values, and a folder that goes away
// with the test.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "results/store.h"

namespace squant::results::testing {

// A fresh folder, removed with everything in it.
class TemporaryFolder {
 public:
  // In `parent`; empty: where temporary files go.
  explicit TemporaryFolder(const std::string& parent = {});
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string path(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& folder() const { return path_; }

 private:
  std::filesystem::path path_;
};

RunRow sample_run(const std::string& name = "sample");
WorkerRow sample_worker(std::int64_t run_id, int rank = 0);
// Identity and evaluation are made of the arguments, so that equal arguments are the same job.
JobRow sample_job(const std::string& model, const std::string& bits, const std::string& mode,
                  std::int64_t num_images = 1000, std::int64_t chunk = 250);
// The tile of `job` that begins at image `first`; `num_top1` of it are right. Exact jobs get the
// digest (first, first).
TileRow sample_tile(const JobRow& job, std::int64_t run_id, std::int64_t first,
                    std::int64_t num_top1, int rank = 0);
// Outcomes that the tile's counts are the sums of: the images that are right come first, broken
// ones last.
void set_outcomes(TileRow& tile);
// The classes that those outcomes are of, where image i is of class i modulo 10: a wrong one is
// taken for the next class.
void set_predictions(TileRow& tile);
// Of the jobs' data set: image i is of class i modulo 10, called "class 0" to "class 9".
DatasetRow sample_dataset(std::int64_t num_images = 1000);
std::vector<TileRow> sample_tiles(const JobRow& job, std::int64_t run_id,
                                  std::int64_t num_top1_each);
PreparationRow sample_preparation(const JobRow& job, std::int64_t run_id);

// A run with one worker in an open store.
std::int64_t begin_sample_run(Store& store, const std::string& name = "sample");

// The first column of the first row, through SQLite's own C interface and nothing of this project;
// "NULL" for NULL.
std::string plain_sql(const std::string& path, const std::string& sql);

}  // namespace squant::results::testing
