// Every rank's part in distributing files: receives what it wants, serves what it has (relay.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runner/collective/collective.h"
#include "runner/collective/file_store.h"
#include "runner/collective/relay.h"

namespace squant::runner {

class RelayPeer {
 public:
  struct Self {
    int rank = 0;
    int root = 0;
    std::string host;
    std::string place;  // FileWanted::place
  };
  // `store` must outlive the peer.
  RelayPeer(Self self, FileStore& store, RelayOptions options);

  void want(const SharedFile& file, double now);
  // Frames that are meant for the root are not for here.
  void receive(int from, const Frame& frame, double now);
  void tick(double now);

  std::vector<Outgoing> take_outgoing();
  std::vector<Delivery> take_deliveries();

 private:
  struct Arrival {
    SharedFile file;
    double began = 0;
    int source = -1;  // -1: the root has not named one
    std::string source_host;
    std::int64_t size = -1;
    std::int64_t received = 0;
    std::int64_t requested = 0;
    double heard = 0;
    bool alone = false;  // shares with nobody
  };
  struct Pull {
    int to = 0;
    std::int64_t offset = 0;
  };

  void on(int from, const FileSource& frame);
  void on(int from, const FileNearby& frame);
  void on(int from, const FileRefused& frame);
  void on(int from, const PullPiece& frame);
  void on(int from, const Piece& frame);
  void on(int from, const StillWaiting& frame);
  void on(int from, const NotHere& frame);
  template <typename Other>
  void on(int from, const Other& frame);

  void ask(const Arrival& arrival);
  void pull(Arrival& arrival);
  void finish(Arrival& arrival);
  void source_failed(Arrival& arrival, const std::string& why, bool damaged);
  void give_up(Arrival& arrival, const std::string& why);
  void conclude(const Arrival& arrival, const std::string& path, std::int64_t bytes);
  void serve(const std::string& sha256);
  void refuse(const std::string& sha256, const std::string& why);
  Arrival* find(const std::string& sha256);
  void send(int to, Frame frame) { outgoing_.push_back({to, std::move(frame)}); }

  const Self self_;
  FileStore& store_;
  const RelayOptions options_;
  double now_ = 0;
  double last_sign_ = 0;
  std::map<std::string, Arrival> arrivals_;         // by SHA-256
  std::map<std::string, std::vector<Pull>> pulls_;  // of others, not yet served
  std::vector<Outgoing> outgoing_;
  std::vector<Delivery> deliveries_;
};

}  // namespace squant::runner
