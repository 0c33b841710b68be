// Collective over NCCL: from the root's disk through its GPU to all other GPUs of the group.
//
// For the processes that own GPUs, never for a rank of MPI itself. A communicator is made once,
// with the first file. A dead peer makes a collective hang for ever, so whatever is not done within
// the deadline is aborted (ncclCommAbort); as an aborted collective leaves half-written buffers,
// every member checks the SHA-256 of what it got. NCCL does not say who died: after one failure the
// group is of no use any more, every later file fails at once, and the caller takes MPI, or the
// file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runner/collective/collective.h"

namespace squant::runner {

using NcclId = std::array<std::uint8_t, 128>;  // of a communicator: made by one member, sent to all

struct NcclGroup {
  int rank = 0;  // of this member in the group
  int root = 0;
  std::vector<std::string> hosts;  // of all members, by rank; no GPU twice
  std::vector<int> names;          // what deliveries call the members; empty: their ranks here
  int device = 0;                  // CUDA's number of this member's GPU
  NcclId id{};
  double deadline_s = 120;  // for making the communicator, and again for each file

  int name(int member) const {
    return names.empty() ? member : names.at(static_cast<std::size_t>(member));
  }
  std::string name_text(int member) const {
    return rank_name(name(member), hosts.at(static_cast<std::size_t>(member)));
  }
};

// Why NCCL cannot be used, whatever the GPUs are: this program was built without it, or its library
// cannot be loaded here. Empty: it can. If not, the two below throw std::runtime_error.
std::string why_no_nccl();

// Throws std::runtime_error with NCCL's text.
NcclId make_nccl_id();

// `cache`: folder for what arrives (node_cache.h). Starts a thread that does the work. Errors, also
// of a missing device, are in the deliveries.
std::unique_ptr<Collective> make_nccl_collective(const NcclGroup& group, const std::string& cache);

}  // namespace squant::runner
