// The root's part in distributing files (relay.h): who gets which file from whom.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runner/collective/collective.h"
#include "runner/collective/relay.h"

namespace squant::runner {

class RelayRoot {
 public:
  // `place` is the root's own: who shares it is told to look there.
  RelayRoot(int rank, std::string host, std::string place, RelayOptions options);

  void offer(const SharedFile& file, std::int64_t size);
  // Frames that are meant for peers are not for here.
  void receive(int from, const Frame& frame, double now);
  // Nothing is heard of this rank any more: those that pull from it get another source at once, and
  // of those that wait for its copy one gets the file in its stead. Must be told: the root notices
  // a rank that pulls too slowly only at the deadline.
  void lost(int rank, double now);
  // Notices who has neither got its file nor said why not.
  void tick(double now);

  std::vector<Outgoing> take_outgoing();
  std::vector<Delivery> take_deliveries();

 private:
  enum class State : std::uint8_t {
    kFetching,
    kNearby,  // waits until another rank of its place has the file
    kHas,
    kGone,  // it does not count any more: lost, gave up, or found the file at its place
  };
  struct Peer {
    State state = State::kFetching;
    std::string host, place;
    double began = 0;
    int source = -1;
    bool whole_only = false;  // its next source has the whole file: it was sent damaged bytes
    int num_failed = 0;
    std::set<int> failed;  // sources
    std::string last_problem;
  };
  struct File {
    SharedFile file;
    std::int64_t size = 0;
    std::map<int, Peer> peers;
  };

  void on(int from, const FileWanted& frame);
  void on(int from, const SourceFailed& frame);
  void on(int from, const FileArrived& frame);
  void on(int from, const FileLost& frame);
  template <typename Other>
  void on(int from, const Other& frame);

  void assign(File& file, int rank);
  int choose_source(const File& file, int rank) const;
  // Hops to the root; -1 where the way leads through `avoid`.
  int depth(const File& file, int rank, int avoid) const;
  void gone(File& file, int rank, const std::string& why);
  void wake_place(File& file, const std::string& place);
  void report(const File& file, int rank, std::int64_t bytes, const std::string& error);
  File* find(const std::string& sha256);
  void send(int to, Frame frame) { outgoing_.push_back({to, std::move(frame)}); }

  const int rank_;
  const std::string host_, place_;
  const RelayOptions options_;
  double now_ = 0;
  std::map<std::string, File> files_;  // by SHA-256
  std::vector<Outgoing> outgoing_;
  std::vector<Delivery> deliveries_;
};

}  // namespace squant::runner
