// Collective over the point-to-point messages of a Transport: works between any ranks, also after
// one of them died (relay.h says how).
//
// The transport is shared with other traffic: its owner takes what arrives and hands frames on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runner/collective/collective.h"
#include "runner/collective/node_cache.h"
#include "runner/collective/relay_peer.h"
#include "runner/collective/relay_root.h"
#include "runner/transport.h"

namespace squant::runner {

struct MpiMember {
  int rank = 0;
  int root = 0;
  std::string host;
  std::string cache;  // folder for what arrives, shared by the ranks of a host that name the same
};

class MpiCollective final : public Collective {
 public:
  MpiCollective(Transport& transport, MpiMember self, RelayOptions options);

  const char* name() const override { return "MPI"; }
  void begin(const SharedFile& file, double now) override;
  std::vector<Delivery> step(double now) override;

  // Where a whole copy lies that this host has received, now or in an earlier sweep.
  std::optional<std::string> find(const std::string& sha256) { return cache_.find(sha256); }
  const std::string& cache_folder() const { return cache_.folder(); }

  // A message for which is_frame() holds. Throws std::invalid_argument for a malformed one.
  void receive(const Envelope& envelope, double now);
  // At the root: this rank is dead.
  void lost(int rank, double now);

 private:
  void flush();

  Transport& transport_;
  const MpiMember self_;
  NodeCache cache_;
  RelayPeer peer_;
  std::optional<RelayRoot> root_;  // at the root
  std::vector<Delivery> own_;
};

}  // namespace squant::runner
