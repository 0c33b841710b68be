// How a file reaches many nodes over point-to-point messages: what both ends of it share.
//
// One rank, the root, has the files. Who wants one asks the root, which names a source: itself, or
// a peer that has the file or is getting it just now, so that a tree grows over the nodes with no
// more than `fan_out` readers a source. A peer pulls: it keeps `window` small pieces asked for, so
// nobody is sent more than it asked for, and a dead peer holds up nobody but those that pull from
// it. They notice its silence and ask the root for another source, and go on from the piece they
// had. A source that is itself still waiting says so now and then: silence means death, not hunger.
//
// Pure state machines: no clock, no MPI, no threads (`now` in seconds, any origin).
#pragma once

#include <cstdint>
#include <string>

#include "runner/collective/frames.h"

namespace squant::runner {

struct RelayOptions {
  int fan_out = 2;
  std::int64_t piece_bytes = 1 << 20;
  int window = 4;           // pieces that are asked for and not yet here
  double silence_s = 30;    // after which a source is given up
  double deadline_s = 600;  // for the whole file
  int max_sources = 6;      // a peer that all of them have failed is refused
};

struct Outgoing {
  int to = 0;
  Frame frame;
};

}  // namespace squant::runner
