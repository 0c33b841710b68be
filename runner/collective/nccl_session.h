// A communicator of NCCL with its stream and staging buffers, every use of it under a deadline.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runner/collective/collective_nccl.h"

namespace squant::runner {

void check_nccl(ncclResult_t result, const char* expression);

// All functions throw std::runtime_error when CUDA or NCCL reports an error or the deadline is
// over; the session is of no use then. One thread uses it.
class NcclSession {
 public:
  static constexpr std::size_t kPieceBytes = std::size_t{16} << 20;

  // Waits for all members.
  explicit NcclSession(const NcclGroup& group);
  ~NcclSession();
  NcclSession(const NcclSession&) = delete;
  NcclSession& operator=(const NcclSession&) = delete;

  // What follows has to be done within the group's deadline, until stop_clock().
  void start_clock();
  void stop_clock();

  // At most kPieceBytes of host memory: from it at the root, into it everywhere, the root included.
  void broadcast(void* data, std::size_t size);
  // One number of each member, by rank.
  std::vector<std::int64_t> gather(std::int64_t mine);

 private:
  using Clock = std::chrono::steady_clock;
  void open_device();
  void connect();
  void run(ncclResult_t started, const char* expression);  // until it and the stream are done
  void settle(const char* expression);  // until NCCL has done what does not block
  void watch();
  void finalize();
  void release();
  ncclResult_t state();  // of the communicator; throws where it was aborted

  const NcclGroup group_;
  cudaStream_t stream_ = nullptr;
  void* staging_ = nullptr;  // device memory: what is sent, then what is received
  std::mutex mutex_;         // of all below
  std::condition_variable changed_;
  ncclComm_t comm_ = nullptr;
  bool aborted_ = false;
  bool stopping_ = false;
  std::optional<Clock::time_point> deadline_;
  std::thread watchdog_;
};

}  // namespace squant::runner
