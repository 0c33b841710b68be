// The spawner's own side: what it does, and how it is spoken to.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "runner/file_descriptor.h"

namespace squant::runner {

// A request or an event is one packet: CBOR of an array of a word and its operands.
//   to the spawner    ["start", [argument ...], [NAME=VALUE ...]]    ["end", pid]
//   from it           ["started", pid] with two descriptors    ["refused", why]
//                     ["ended", pid, status]
inline constexpr std::size_t kMaxPacketBytes = 64 * 1024;

// An empty string and no descriptors: the other side is gone. `flags` as for recvmsg(). Throws
// std::system_error; EAGAIN among the errors.
std::string receive_packet(int socket, std::vector<FileDescriptor>* descriptors, int flags);
// Returns whether it was sent.
bool send_packet(int socket, const std::string& packet, const std::vector<int>& descriptors);

// Serves requests until the other end of `control` is closed or `parent` has ended.
[[noreturn]] void run_spawner(FileDescriptor control, pid_t parent);

}  // namespace squant::runner
