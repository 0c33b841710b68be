#include "runner/collective/nccl_session.h"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "quant/cuda_check.h"
#include "runner/collective/nccl_library.h"

namespace squant::runner {
namespace {

constexpr auto kPollInterval = std::chrono::microseconds(50);

void nap() { std::this_thread::sleep_for(kPollInterval); }

}  // namespace

void check_nccl(ncclResult_t result, const char* expression) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw std::runtime_error(std::string(expression) + ": " + nccl().get_error_string(result) + ": " +
                           nccl().get_last_error(nullptr));
}

NcclSession::NcclSession(const NcclGroup& group) : group_(group) {
  open_device();
  start_clock();
  watchdog_ = std::thread([this] { watch(); });
  try {
    SQ_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    SQ_CUDA_CHECK(cudaMalloc(&staging_, 2 * kPieceBytes));
    connect();
    stop_clock();
  } catch (...) {
    release();
    throw;
  }
}

NcclSession::~NcclSession() {
  try {
    finalize();
  } catch (const std::runtime_error&) {  // the group broke: what is left is to abort it
  }
  release();
}

void NcclSession::open_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    throw std::runtime_error(std::string("no CUDA device: ") + (status != cudaSuccess
                                                                    ? cudaGetErrorString(status)
                                                                    : "none is there"));
  }
  if (group_.device < 0 || group_.device >= count) {
    throw std::runtime_error("no CUDA device " + std::to_string(group_.device) + ": there are " +
                             std::to_string(count));
  }
  SQ_CUDA_CHECK(cudaSetDevice(group_.device));
}

void NcclSession::connect() {
  ncclUniqueId id;
  static_assert(sizeof(id.internal) == std::tuple_size_v<NcclId>);
  std::memcpy(id.internal, group_.id.data(), group_.id.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  const ncclResult_t started = nccl().comm_init_rank_config(
      &comm, static_cast<int>(group_.hosts.size()), id, group_.rank, &config);
  {
    const std::lock_guard guard(mutex_);
    comm_ = comm;
  }
  check_nccl(started, "ncclCommInitRankConfig");
  settle("ncclCommInitRankConfig");
}

void NcclSession::start_clock() {
  {
    const std::lock_guard guard(mutex_);
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(group_.deadline_s));
  }
  changed_.notify_one();
}

void NcclSession::stop_clock() {
  const std::lock_guard guard(mutex_);
  deadline_.reset();
}

void NcclSession::broadcast(void* data, std::size_t size) {
  auto* received = static_cast<char*>(staging_) + kPieceBytes;
  if (group_.rank == group_.root) {
    SQ_CUDA_CHECK(cudaMemcpyAsync(staging_, data, size, cudaMemcpyHostToDevice, stream_));
  }
  run(nccl().broadcast(staging_, received, size, ncclUint8, group_.root, comm_, stream_),
      "ncclBroadcast");
  SQ_CUDA_CHECK(cudaMemcpy(data, received, size, cudaMemcpyDeviceToHost));
}

std::vector<std::int64_t> NcclSession::gather(std::int64_t mine) {
  std::vector<std::int64_t> all(group_.hosts.size());
  auto* received = static_cast<char*>(staging_) + kPieceBytes;
  SQ_CUDA_CHECK(cudaMemcpyAsync(staging_, &mine, sizeof(mine), cudaMemcpyHostToDevice, stream_));
  run(nccl().all_gather(staging_, received, 1, ncclInt64, comm_, stream_), "ncclAllGather");
  SQ_CUDA_CHECK(
      cudaMemcpy(all.data(), received, all.size() * sizeof(mine), cudaMemcpyDeviceToHost));
  return all;
}

void NcclSession::run(ncclResult_t started, const char* expression) {
  check_nccl(started, expression);
  settle(expression);
  for (;;) {
    const cudaError_t status = cudaStreamQuery(stream_);
    check_nccl(state(), expression);  // first: after an abort the stream looks as if all were well
    if (status == cudaSuccess) return;
    if (status != cudaErrorNotReady) SQ_CUDA_CHECK(status);
    nap();
  }
}

void NcclSession::settle(const char* expression) {
  for (;;) {
    const ncclResult_t now = state();
    check_nccl(now, expression);
    if (now == ncclSuccess) return;
    nap();
  }
}

ncclResult_t NcclSession::state() {
  const std::lock_guard guard(mutex_);
  if (aborted_) {
    std::string members;
    for (std::size_t rank = 0; rank < group_.hosts.size(); ++rank) {
      members += (rank == 0 ? "" : ", ") + group_.name_text(static_cast<int>(rank));
    }
    throw std::runtime_error("aborted after " +
                             std::to_string(static_cast<int>(group_.deadline_s)) +
                             " s: one of these does not take part: " + members);
  }
  ncclResult_t result = ncclSuccess;
  check_nccl(nccl().comm_get_async_error(comm_, &result), "ncclCommGetAsyncError");
  return result;
}

// The thread that uses the session may hang in a call of NCCL's or CUDA's: this one ends it.
void NcclSession::watch() {
  cudaSetDevice(group_.device);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!deadline_) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, *deadline_) == std::cv_status::timeout && !stopping_ &&
               deadline_ && Clock::now() >= *deadline_) {
      aborted_ = true;
      deadline_.reset();
      if (comm_ != nullptr) nccl().comm_abort(std::exchange(comm_, nullptr));
    }
  }
}

// Lets the others have what they still wait for, then frees the communicator.
void NcclSession::finalize() {
  start_clock();
  settle("ncclCommFinalize");
  check_nccl(nccl().comm_finalize(comm_), "ncclCommFinalize");
  settle("ncclCommFinalize");
  const std::lock_guard guard(mutex_);
  deadline_.reset();
  if (!aborted_) check_nccl(nccl().comm_destroy(std::exchange(comm_, nullptr)), "ncclCommDestroy");
}

void NcclSession::release() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  watchdog_.join();
  if (comm_ != nullptr) nccl().comm_abort(comm_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  cudaFree(staging_);
}

}  // namespace squant::runner
