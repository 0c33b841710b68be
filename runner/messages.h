// What coordinator and workers say to each other: small structs, sent as CBOR. A worker and its
// child process speak the same language.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "eval/evaluator.h"
#include "eval/images/image_pack.h"
#include "runner/collective/collective.h"
#include "runner/collective/collective_nccl.h"
#include "runner/failure.h"

namespace squant::runner {

using Bytes = std::vector<std::uint8_t>;

// --- worker to coordinator

// The first message of a worker, repeated until it is answered: who it is. Becomes its row in the
// database.
struct Hello {
  std::string program;  // version and commit: all ranks must run the same
  std::string host;
  int pid = 0;
  std::string device;       // "cpu"
  std::string device_name;  // the CPU's model name
  std::string device_uuid;
  std::string driver;
  int num_threads = 0;
  std::string note;  // what the user should know, for example that the affinity was widened
};
// Every few seconds, also while it computes.
struct Beat {
  std::int64_t task = 0;       // 0: idle
  std::int64_t jobs_done = 0;  // of the tile
};
struct Prepared {
  std::int64_t task = 0;
  eval::Preparation preparation;
};
struct TileAnswer {
  std::int64_t task = 0;
  eval::Evaluator::Tile tile;
  std::string log_tail;  // where a job failed
};
struct TaskError {
  std::int64_t task = 0;
  std::string reason;
  std::string log_tail;
  FailureKind kind = FailureKind::kError;
};
// Answers PackTask.
struct Packed {
  std::int64_t task = 0;
  eval::ImagePack pack;
};
// Answers WhichFiles: the SHA-256 of those that cannot be read where this worker runs.
struct FilesLacking {
  std::vector<std::string> sha256;
};
// Answers BroadcastTask.
struct BroadcastDone {
  std::int64_t task = 0;
  std::vector<Delivery> deliveries;
};
// Answers Leave: the last message of a worker.
struct Farewell {};

// --- coordinator to worker

// Answers Hello and every Beat.
struct Ack {};
// Facts that later tasks name by number. Sent to a worker before it needs them.
struct DatasetInfo {
  int dataset = 0;
  eval::DatasetSpec spec;
};
struct JobInfo {
  int job = 0;
  eval::Job spec;
  int repeats = 0;  // of the timed quantization; 0: the evaluator's default
  std::vector<quant::ActivationRange> ranges;  // once the job is prepared
};
struct PrepareTask {
  std::int64_t task = 0;
  int job = 0;
};
struct TileTask {
  std::int64_t task = 0;
  int dataset = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::vector<int> jobs;
};
// To the coordinator's own child process: PackingWork.
struct PackTask {
  std::int64_t task = 0;
  eval::DatasetSpec dataset;
  std::int64_t count = 0;
  eval::Shape shape;
  std::string folder;
};
struct WhichFiles {
  std::vector<SharedFile> files;
};
// BroadcastWork. `cache` is the worker's own choice.
struct BroadcastTask {
  std::int64_t task = 0;
  NcclGroup group;
  std::vector<SharedFile> files;
  std::string cache;
};
// The worker ends, whatever it is doing.
struct Leave {
  bool abort_follows =
      false;  // a rank was lost: MPI_Finalize would hang, so wait for MPI_Abort instead
  std::string why;
};

using Message = std::variant<Hello, Beat, Prepared, TileAnswer, TaskError, Packed, FilesLacking,
                             BroadcastDone, Farewell, Ack, DatasetInfo, JobInfo, PrepareTask,
                             TileTask, PackTask, WhichFiles, BroadcastTask, Leave>;

Bytes encode(const Message& message);
// Floats come back as the same bits. Throws std::invalid_argument for bytes that encode() did not
// make.
Message decode(std::span<const std::uint8_t> bytes);

}  // namespace squant::runner
