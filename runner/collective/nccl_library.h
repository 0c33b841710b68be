// NCCL's functions, from its library as this machine has it: a program that was built with NCCL
// starts where there is none, and says so when it is asked to use it.
#pragma once

#include <nccl.h>

namespace squant::runner {

struct NcclLibrary {
  decltype(&::ncclGetUniqueId) get_unique_id;
  decltype(&::ncclCommInitRankConfig) comm_init_rank_config;
  decltype(&::ncclCommGetAsyncError) comm_get_async_error;
  decltype(&::ncclCommFinalize) comm_finalize;
  decltype(&::ncclCommDestroy) comm_destroy;
  decltype(&::ncclCommAbort) comm_abort;
  decltype(&::ncclBroadcast) broadcast;
  decltype(&::ncclAllGather) all_gather;
  decltype(&::ncclGetErrorString) get_error_string;
  decltype(&::ncclGetLastError) get_last_error;
};

// Loads it once. Throws std::runtime_error with the loader's reason.
const NcclLibrary& nccl();

}  // namespace squant::runner
