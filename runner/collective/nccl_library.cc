#include "runner/collective/nccl_library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace squant::runner {
namespace {

// Where the loader looks first, then the library that this program was built with.
void* open_library() {
  for (const char* name : {"libnccl.so.2", SQUANT_NCCL_LIBRARY}) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw std::runtime_error(std::string("NCCL cannot be loaded: ") + dlerror());
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr)
    throw std::runtime_error(std::string("NCCL is too old here: it has no ") + name);
}

NcclLibrary load() {
  void* library = open_library();
  NcclLibrary found{};
  find(library, "ncclGetUniqueId", found.get_unique_id);
  find(library, "ncclCommInitRankConfig", found.comm_init_rank_config);
  find(library, "ncclCommGetAsyncError", found.comm_get_async_error);
  find(library, "ncclCommFinalize", found.comm_finalize);
  find(library, "ncclCommDestroy", found.comm_destroy);
  find(library, "ncclCommAbort", found.comm_abort);
  find(library, "ncclBroadcast", found.broadcast);
  find(library, "ncclAllGather", found.all_gather);
  find(library, "ncclGetErrorString", found.get_error_string);
  find(library, "ncclGetLastError", found.get_last_error);
  return found;
}

}  // namespace

const NcclLibrary& nccl() {
  static const NcclLibrary library = load();
  return library;
}

}  // namespace squant::runner
