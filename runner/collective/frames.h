// What the members of a file distribution say to each other. Not part of messages.h, whose CBOR
// would copy every piece of a file byte by byte: fields in a fixed order, native to one program
// (all ranks run the same), told apart from messages by their first byte.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "runner/messages.h"

namespace squant::runner {

// --- peer to root

struct FileWanted {
  std::string sha256;
  std::string host;
  std::string place;  // peers of one place share a cache folder: one of them gets the file for all.
                      // Empty: the peer wants its own
};
struct SourceFailed {  // another one, please
  std::string sha256;
  int source = 0;
  std::string why;
  bool damaged = false;  // what it sent has another SHA-256
};
struct FileArrived {
  std::string sha256;
  std::int64_t bytes = 0;  // 0: the place had it
};
struct FileLost {  // the peer gives up
  std::string sha256;
  std::string why;
};

// --- root to peer

struct FileSource {
  std::string sha256;
  std::int64_t size = 0;
  int source = 0;    // the rank that has the file, or is getting it just now
  std::string host;  // where it runs
};
struct FileNearby {  // the place has the file now, or is the root's
  std::string sha256;
};
struct FileRefused {
  std::string sha256;
  std::string why;
};

// --- between a peer and its source

struct PullPiece {
  std::string sha256;
  std::int64_t offset = 0;
};
struct Piece {
  std::string sha256;
  std::int64_t offset = 0;
  Bytes bytes;
};
struct StillWaiting {  // the source is alive and has no piece yet
  std::string sha256;
};
struct NotHere {
  std::string sha256;
  std::string why;
};

using Frame = std::variant<FileWanted, SourceFailed, FileArrived, FileLost, FileSource, FileNearby,
                           FileRefused, PullPiece, Piece, StillWaiting, NotHere>;

// Pieces of files can come faster than they are written: who receives them sees to other things in
// between.
inline constexpr int kFramesAtOnce = 64;

Bytes encode_frame(const Frame& frame);
// Whether these bytes are a frame rather than a message.
bool is_frame(std::span<const std::uint8_t> bytes);
// Throws std::invalid_argument for bytes that encode_frame() did not make.
Frame decode_frame(std::span<const std::uint8_t> bytes);

}  // namespace squant::runner
