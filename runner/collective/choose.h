// Which way files are broadcast, and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace squant::runner {

enum class Broadcast : std::uint8_t { kAuto, kNccl, kMpi, kOff };
// "auto", "nccl", "mpi", "off". Throws std::invalid_argument for other text.
Broadcast broadcast_from(const std::string& text);

// What is known of one member of the group.
struct MemberFacts {
  int rank = 0;
  std::string host;
  std::string device;       // "cpu", "cuda"
  std::string device_uuid;  // tells two ranks on one GPU
};

struct CollectiveChoice {
  Broadcast way = Broadcast::kMpi;  // never kAuto
  std::string why;                  // "over MPI: rank 1 on node1 computes on the CPU"
};

// NCCL where every member has a GPU of its own, else MPI. `no_nccl`: why this program cannot use it
// whatever the members are; empty: it can. Throws std::invalid_argument where kNccl is asked for
// and cannot be, with the reason.
CollectiveChoice choose_collective(const std::vector<MemberFacts>& members, Broadcast asked,
                                   const std::string& no_nccl);

}  // namespace squant::runner
