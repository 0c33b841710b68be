#include "runner/collective/nccl_library.h"

#include "eval/shared_library.h"

namespace squant::runner {
namespace {

NcclLibrary load() {
  // Where the loader looks first, then the library that this program was built with.
  const eval::SharedLibrary library("NCCL", {"libnccl.so.2", SQUANT_NCCL_LIBRARY});
  NcclLibrary found{};
  library.find("ncclGetUniqueId", found.get_unique_id);
  library.find("ncclCommInitRankConfig", found.comm_init_rank_config);
  library.find("ncclCommGetAsyncError", found.comm_get_async_error);
  library.find("ncclCommFinalize", found.comm_finalize);
  library.find("ncclCommDestroy", found.comm_destroy);
  library.find("ncclCommAbort", found.comm_abort);
  library.find("ncclBroadcast", found.broadcast);
  library.find("ncclAllGather", found.all_gather);
  library.find("ncclGetErrorString", found.get_error_string);
  library.find("ncclGetLastError", found.get_last_error);
  return found;
}

}  // namespace

const NcclLibrary& nccl() {
  static const NcclLibrary library = load();
  return library;
}

}  // namespace squant::runner
