#include "runner/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace squant::runner {
namespace {

constexpr std::size_t kHeaderBytes = 4;
constexpr std::size_t kMaxMessageBytes = std::size_t{256} << 20;

std::size_t length_of(const std::uint8_t* header) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < kHeaderBytes; ++i) length |= std::size_t{header[i]} << (8 * i);
  return length;
}

}  // namespace

Channel::Channel(FileDescriptor socket) : socket_(std::move(socket)) {
  fcntl(socket_.get(), F_SETFL, fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

void Channel::send(const Message& message) {
  const Bytes bytes = encode(message);
  for (std::size_t i = 0; i < kHeaderBytes; ++i)
    outgoing_.push_back(static_cast<std::uint8_t>(bytes.size() >> (8 * i)));
  outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end());
  flush();
}

void Channel::flush() {
  while (!outgoing_.empty()) {
    const ssize_t sent = ::send(socket_.get(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (sent < 0) return;  // full, or the other end has gone: receive() finds out
    outgoing_.erase(outgoing_.begin(), outgoing_.begin() + sent);
  }
}

std::optional<Message> Channel::receive() {
  for (;;) {
    const std::span<const std::uint8_t> rest = std::span(incoming_).subspan(taken_);
    if (rest.size() >= kHeaderBytes) {
      const std::size_t length = length_of(rest.data());
      if (length > kMaxMessageBytes) {
        throw std::invalid_argument("a message of " + std::to_string(length) +
                                    " bytes is announced");
      }
      if (rest.size() >= kHeaderBytes + length) {
        taken_ += kHeaderBytes + length;
        return decode(rest.subspan(kHeaderBytes, length));
      }
    }
    if (!fill()) return std::nullopt;
  }
}

// Whether more has arrived.
bool Channel::fill() {
  incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(taken_));
  taken_ = 0;
  std::array<std::uint8_t, 64 * 1024> part;
  const ssize_t size = recv(socket_.get(), part.data(), part.size(), 0);
  if (size > 0) incoming_.insert(incoming_.end(), part.begin(), part.begin() + size);
  closed_ = closed_ || size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR);
  return size > 0;
}

void Channel::wait() {
  pollfd watched{socket_.get(), POLLIN, 0};
  if (!outgoing_.empty()) watched.events |= POLLOUT;
  poll(&watched, 1, -1);
  flush();
}

}  // namespace squant::runner
