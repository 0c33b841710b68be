// Sweeps for tests: real processes, a real mpirun, a small made-up data set and made-up weights.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "command.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/models/models.h"
#include "results/store.h"

namespace squant::runner {

inline constexpr int kNumImages = 1500;

inline void write_idx_header(std::ofstream& file, std::uint32_t kind,
                             const std::vector<std::uint32_t>& sizes) {
  const auto put = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) file.put(static_cast<char>(value >> shift));
  };
  put(kind);
  for (const std::uint32_t size : sizes) put(size);
}

inline void write_dataset(const std::filesystem::path& folder) {
  std::ofstream images(folder / "images", std::ios::binary);
  std::ofstream labels(folder / "labels", std::ios::binary);
  write_idx_header(images, 0x803, {kNumImages, 28, 28});
  write_idx_header(labels, 0x801, {kNumImages});
  for (int image = 0; image < kNumImages; ++image) {
    labels.put(static_cast<char>(image % 10));
    for (int pixel = 0; pixel < 28 * 28; ++pixel) {
      images.put(static_cast<char>(
          static_cast<unsigned char>(image * 31 + pixel * 7 + (pixel * image) % 13)));
    }
  }
}

inline eval::StateDict made_up_weights(const std::string& model) {
  return eval::generated_state_dict(eval::model_info(model).build());
}

inline constexpr const char* kExperiment = R"({
  "name": "tiny",
  "dataset": {"format": "idx", "images": "images", "labels": "labels", "chunk": 50},
  "checkpoints": {"fmnist_resnet": "resnet.safetensors", "fmnist_mobilenet": "mobilenet.safetensors"},
  "settings": {"sigma": 8, "calibration_images": 8},
  "matrix": {"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w8a8", "w4a4"], "mode": "squant"}
})";
inline constexpr std::size_t kNumJobs = 6;

// What must not depend on how a sweep was run.
using Fact = std::tuple<std::string, std::string, std::string, std::int64_t, std::int64_t,
                        std::int64_t, std::string>;

class SweepTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    std::string pattern = testing::TempDir() + "squant-sweep-test-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder() = pattern;
    write_dataset(folder());
    eval::write_safetensors(folder() / "resnet.safetensors", made_up_weights("fmnist_resnet"));
    eval::write_safetensors(folder() / "mobilenet.safetensors",
                            made_up_weights("fmnist_mobilenet"));
    write("tiny.json", kExperiment);
  }
  static void TearDownTestSuite() {
    if (!testing::UnitTest::GetInstance()->Failed()) std::filesystem::remove_all(folder());
  }
  static std::filesystem::path& folder() {
    static std::filesystem::path path;
    return path;
  }
  static void write(const std::string& name, const std::string& text) {
    std::ofstream(folder() / name) << text;
  }

  // `ranks` 0: without mpirun.
  std::unique_ptr<Command> start(int ranks, std::vector<std::string> arguments,
                                 std::vector<std::string> mpi = {}) {
    std::vector<std::string> line;
    if (ranks > 0) {
      line = {SQUANT_MPIEXEC, "--oversubscribe", "-np", std::to_string(ranks)};
      line.insert(line.end(), mpi.begin(), mpi.end());
    }
    line.push_back(std::string(SQUANT_BIN_DIR) + "/squant-sweep");
    line.insert(line.end(), arguments.begin(), arguments.end());
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    return std::make_unique<Command>(line, folder(), test + std::to_string(++num_started_));
  }
  static std::vector<std::string> sweep(const std::string& db, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"tiny.json", "--db", db, "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  static std::vector<results::ResultRow> rows(const std::string& db) {
    return results::Store::open_reader(folder() / db)->results();
  }
  static std::vector<Fact> facts(const std::string& db) {
    std::vector<Fact> found;
    for (const results::ResultRow& row : rows(db)) {
      found.emplace_back(row.job.model, row.job.bits, row.job.mode, row.num_images, row.num_top1,
                         row.num_top5, row.digest.value_or(""));
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::int64_t stored_images(const std::string& db) {
    if (!std::filesystem::exists(folder() / db)) return 0;
    std::int64_t images = 0;
    try {
      for (const results::ResultRow& row : rows(db)) images += row.num_images;
    } catch (const results::StoreError&) {  // it is just being created
    }
    return images;
  }
  static int last_exit_code(const std::string& db) {
    return results::Store::open_reader(folder() / db)->runs().back().exit_code;
  }
  // What squant-results answers as CSV, without the header.
  std::string query(const std::string& db, const std::string& sql) {
    Command command({std::string(SQUANT_BIN_DIR) + "/squant-results", "query", "--db", db,
                     "--format", "csv", sql},
                    folder(), "query");
    EXPECT_EQ(command.wait(), 0) << command.output();
    const std::string text = command.output();
    return text.substr(text.find('\n') + 1);
  }
  // Every job's sums by class add up to its own, and its images' outcomes to both.
  void expect_classes_add_up(const std::string& db, std::size_t num_jobs) {
    EXPECT_EQ(query(db,
                    "SELECT count(*) FROM results r"
                    " JOIN (SELECT identity, sum(num_images) AS n, sum(num_top1) AS t1,"
                    " sum(num_top5) AS t5 FROM classes GROUP BY identity) c USING (identity)"
                    " JOIN (SELECT identity, count(*) AS n, sum(outcome = 'top1') AS t1,"
                    " sum(outcome IN ('top1', 'top5')) AS t5 FROM images GROUP BY identity) i"
                    " USING (identity) WHERE r.num_images = c.n AND r.num_top1 = c.t1"
                    " AND r.num_top5 = c.t5 AND i.n = c.n AND i.t1 = c.t1 AND i.t5 = c.t5"),
              std::to_string(num_jobs) + "\n");
    Command doctor({std::string(SQUANT_BIN_DIR) + "/squant-results", "doctor", "--db", db},
                   folder(), "doctor");
    EXPECT_EQ(doctor.wait(), 0) << doctor.output();
  }
  std::string classes(const std::string& db) {
    return query(db,
                 "SELECT model, bits, mode, class, num_images, num_top1, num_top5 FROM classes"
                 " ORDER BY model, bits, mode, class");
  }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++found;
    return found;
  }

 private:
  int num_started_ = 0;
};

}  // namespace squant::runner
