// Messages over a stream socket, between a worker and the process that does its work: four bytes of
// length, little-endian, then the message.
#pragma once

#include <cstddef>
#include <optional>

#include "runner/file_descriptor.h"
#include "runner/messages.h"

namespace squant::runner {

class Channel {
 public:
  explicit Channel(FileDescriptor socket);  // is made non-blocking

  // Never block. What the socket does not take at once stays for flush().
  void send(const Message& message);
  void flush();
  // The next message that has arrived, if any. Throws std::invalid_argument for what is no message.
  std::optional<Message> receive();

  // The other end has gone, and all it had sent was received.
  bool closed() const { return closed_; }
  // Sleeps until something can be received, and sends what is left meanwhile.
  void wait();
  int descriptor() const { return socket_.get(); }

 private:
  bool fill();

  FileDescriptor socket_;
  Bytes incoming_, outgoing_;
  std::size_t taken_ = 0;  // of incoming_
  bool closed_ = false;
};

}  // namespace squant::runner
