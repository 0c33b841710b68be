#include "tests/results/sample.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace squant::results::testing {

TemporaryFolder::TemporaryFolder(const std::string& parent) {
  const std::filesystem::path place =
      parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(parent);
  std::string name = (place / "squant_results_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

RunRow sample_run(const std::string& name) {
  RunRow run;
  run.experiment_name = name;
  run.experiment_path = "experiments/" + name + ".json";
  run.experiment_json = "{}";
  run.command_line = "squant-sweep experiments/" + name + ".json";
  run.git_commit = "0123456789abcdef0123456789abcdef01234567";
  run.version = "0.1.0";
  run.compiler = "GNU 12.2.0";
  run.libraries = "LibTorch 2.11.0, SQLite 3.40.1";
  run.host = "node1";
  run.user = "ada";
  run.world_size = 2;
  run.started_at = "2026-01-31T12:00:00.000Z";
  return run;
}

WorkerRow sample_worker(std::int64_t run_id, int rank) {
  WorkerRow worker;
  worker.run_id = run_id;
  worker.rank = rank;
  worker.host = "node1";
  worker.pid = 4711 + rank;
  worker.device = "cpu";
  worker.device_name = "AMD EPYC 9454";
  worker.num_threads = 2;
  return worker;
}

JobRow sample_job(const std::string& model, const std::string& bits, const std::string& mode,
                  std::int64_t num_images, std::int64_t chunk) {
  JobRow job;
  job.evaluation = "evaluation " + model + ' ' + bits + ' ' + mode;
  job.identity = "job-" + model + '-' + bits + '-' + mode + '-' + std::to_string(num_images);
  job.config_json =
      R"({"model":")" + model + R"(","num_images":)" + std::to_string(num_images) + "}";
  job.model = model;
  job.bits = bits;
  if (bits != "float") {
    std::sscanf(bits.c_str(), "w%da%d", &job.weight_bits, &job.activation_bits);
  }
  job.mode = mode;
  job.rounding = "current";
  job.sigma = job.activation_bits == 0 ? 0 : 12;
  job.engine = job.activation_bits == 0 ? "float" : "integer";
  job.checkpoint_path = "/data/" + model + ".safetensors";
  job.checkpoint_sha256 = "sha256 of " + model;
  job.dataset_name = "imagenet";
  job.dataset_fingerprint = "fingerprint of imagenet";
  job.dataset_size = 1000;
  job.num_images = num_images;
  job.chunk = chunk;
  job.numerics_version = 1;
  return job;
}

TileRow sample_tile(const JobRow& job, std::int64_t run_id, std::int64_t first,
                    std::int64_t num_top1, int rank) {
  TileRow tile;
  tile.evaluation = job.evaluation;
  tile.first = first;
  tile.count = std::min(job.chunk, job.num_images - first);
  tile.num_top1 = num_top1;
  tile.num_top5 = std::min(tile.count, num_top1 + 10);
  if (job.activation_bits > 0) {
    char digest[33];
    std::snprintf(digest, sizeof digest, "%016llx%016llx", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(first));
    tile.digest = digest;
  }
  tile.run_id = run_id;
  tile.rank = rank;
  tile.compute_ms = 100;
  tile.load_ms = 20;
  tile.finished_at = "2026-01-31T12:00:01.000Z";
  set_outcomes(tile);
  return tile;
}

void set_outcomes(TileRow& tile) {
  const auto letters = [](std::int64_t count, char letter) {
    return std::string(static_cast<std::size_t>(count), letter);
  };
  tile.outcomes = letters(tile.num_top1, '1') + letters(tile.num_top5 - tile.num_top1, '5') +
                  letters(tile.count - tile.num_top5 - tile.num_broken, '0') +
                  letters(tile.num_broken, 'x');
}

void set_predictions(TileRow& tile) {
  tile.predictions.clear();
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const char outcome = tile.outcomes[static_cast<std::size_t>(i)];
    const auto label = static_cast<std::int32_t>((tile.first + i) % 10);
    tile.predictions.push_back(outcome == 'x' ? -1 : outcome == '1' ? label : (label + 1) % 10);
  }
}

DatasetRow sample_dataset(std::int64_t num_images) {
  DatasetRow dataset;
  dataset.fingerprint = sample_job("any", "float", "float").dataset_fingerprint;
  for (std::int64_t i = 0; i < num_images; ++i)
    dataset.labels.push_back(static_cast<std::int32_t>(i % 10));
  for (int label = 0; label < 10; ++label)
    dataset.class_names.push_back("class " + std::to_string(label));
  return dataset;
}

std::vector<TileRow> sample_tiles(const JobRow& job, std::int64_t run_id,
                                  std::int64_t num_top1_each) {
  std::vector<TileRow> tiles;
  for (std::int64_t first = 0; first < job.num_images; first += job.chunk) {
    tiles.push_back(sample_tile(job, run_id, first, num_top1_each));
  }
  return tiles;
}

PreparationRow sample_preparation(const JobRow& job, std::int64_t run_id) {
  PreparationRow preparation;
  preparation.evaluation = job.evaluation;
  preparation.run_id = run_id;
  preparation.ranges_json = "[[-1.5,2.25],[0,6]]";
  preparation.quantize_ms = 1.25;
  preparation.quantize_device = "cpu";
  preparation.calibrate_ms = 40;
  preparation.num_weights = 1200;
  preparation.finished_at = "2026-01-31T12:00:00.500Z";
  for (int i = 0; i < 2; ++i) {
    LayerRow layer;
    layer.layer = i;
    layer.name = i == 0 ? "features.conv" : "output.linear";
    layer.out = 10;
    layer.in = i == 0 ? 3 : 93;
    layer.kernel = i == 0 ? 9 : 1;
    layer.quantize_ms = 0.5;
    layer.errors = {12.5 * (i + 1), 0.5, 0.75};
    layer.errors_e = CodeErrors{10.5 * (i + 1), 3.5, 9.25};
    layer.errors_k = CodeErrors{11.5 * (i + 1), 0.5, 4.25};
    layer.saturated_low = i == 0 ? 0.125 : 0;
    layer.saturated_high = 0.25;
    layer.range_min = i == 0 ? -1.5 : 0;
    layer.range_max = i == 0 ? 2.25 : 6;
    layer.sum_bound = 4096;
    layer.kernel_kind = "int8";
    preparation.layers.push_back(layer);
  }
  return preparation;
}

std::int64_t begin_sample_run(Store& store, const std::string& name) {
  const std::int64_t run_id = store.begin_run(sample_run(name));
  store.add_worker(sample_worker(run_id));
  return run_id;
}

std::string plain_sql(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::string text;
  if (sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK &&
      sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK) {
    sqlite3_busy_timeout(database, 5000);
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
      const auto* const value = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      text = value == nullptr ? "NULL" : value;
    } else if (code != SQLITE_DONE) {
      text = std::string("error: ") + sqlite3_errmsg(database);
    }
  } else {
    text = std::string("error: ") + sqlite3_errmsg(database);
  }
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return text;
}

}  // namespace squant::results::testing
