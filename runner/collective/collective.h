// Gives files that one process can read to all others: one interface over MPI and over NCCL.
//
// A file is named by the SHA-256 of its content, and is checked against it wherever it arrives.
// Nothing here waits for another process: who is dead, slow or wrong costs an error after a
// deadline, in the result of those alone that could not be served otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace squant::runner {

inline std::string rank_name(int rank, const std::string& host) {
  return "rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host);
}

struct SharedFile {
  std::string path;    // at the root: what is read; elsewhere: what the plan calls it
  std::string sha256;  // of its content, lower-case hex
};

// One process has a file, or will not get it.
struct Delivery {
  std::string sha256;
  int rank = 0;
  std::string host;
  std::int64_t bytes = 0;  // that travelled to it; 0: its node had the file
  double seconds = 0;      // since it asked
  std::string path;        // where the verified file lies; empty in what the root hears of others
  std::string error;       // not empty: it did not get the file; names the rank and host at fault
};

// One end of a group: the root that has the files, or a peer that wants them. To be called from one
// thread.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual const char* name() const = 0;  // "MPI", "NCCL": for the log
  // Root: offers the file. Peer: asks for it. Over NCCL every member calls this for the same files
  // in the same order; over MPI a peer asks for what it needs when it needs it. Never blocks. `now`
  // in seconds, any origin.
  virtual void begin(const SharedFile& file, double now) = 0;
  // Lets things go on. Returns what has been decided since: at a peer
  // its own files; at the root its own and everybody else's.
  virtual std::vector<Delivery> step(double now) = 0;
};

}  // namespace squant::runner
