#include "runner/collective/choose.h"

#include <map>
#include <set>
#include <stdexcept>
#include <utility>

#include "runner/collective/relay.h"

namespace squant::runner {
namespace {

// Why NCCL cannot connect these; empty: it can.
std::string obstacle(const std::vector<MemberFacts>& members, const std::string& no_nccl) {
  if (members.empty()) return "no worker is there";
  std::map<std::pair<std::string, std::string>, int> owners;  // of GPUs: by host and UUID
  for (const MemberFacts& one : members) {
    const std::string name = rank_name(one.rank, one.host);
    if (one.device != "cuda") return name + " computes on the CPU";
    if (one.device_uuid.empty()) return name + " does not say which GPU it has";
    const auto [owner, is_first] = owners.try_emplace({one.host, one.device_uuid}, one.rank);
    if (!is_first) {
      return "ranks " + std::to_string(owner->second) + " and " + std::to_string(one.rank) +
             " on " + one.host + " share one GPU";
    }
  }
  return no_nccl;
}

std::string gpus_text(const std::vector<MemberFacts>& members) {
  std::set<std::string> hosts;
  for (const MemberFacts& one : members) hosts.insert(one.host);
  const auto counted = [](std::size_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
  };
  return counted(members.size(), "GPU") + " on " + counted(hosts.size(), "host");
}

}  // namespace

Broadcast broadcast_from(const std::string& text) {
  if (text == "auto") return Broadcast::kAuto;
  if (text == "nccl") return Broadcast::kNccl;
  if (text == "mpi") return Broadcast::kMpi;
  if (text == "off") return Broadcast::kOff;
  throw std::invalid_argument("--broadcast: auto, nccl, mpi or off was expected, got '" + text +
                              "'");
}

CollectiveChoice choose_collective(const std::vector<MemberFacts>& members, Broadcast asked,
                                   const std::string& no_nccl) {
  if (asked == Broadcast::kOff) {
    return {Broadcast::kOff, "not at all (--broadcast off): each worker reads its own files"};
  }
  if (asked == Broadcast::kMpi) return {Broadcast::kMpi, "over MPI, as --broadcast mpi says"};
  const std::string problem = obstacle(members, no_nccl);
  if (problem.empty()) {
    return {Broadcast::kNccl, "over NCCL: " + gpus_text(members) +
                                  (asked == Broadcast::kNccl ? ", as --broadcast nccl says" : "")};
  }
  if (asked == Broadcast::kNccl) {
    throw std::invalid_argument("--broadcast nccl: " + problem + "; use --broadcast auto or mpi");
  }
  return {Broadcast::kMpi, "over MPI: " + problem};
}

}  // namespace squant::runner
