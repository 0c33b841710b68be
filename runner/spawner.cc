#include "runner/spawner.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runner/spawner_process.h"

namespace squant::runner {

using nlohmann::json;

namespace {

std::string cbor(const json& value) {
  std::string bytes;
  json::to_cbor(value, bytes);
  return bytes;
}

}  // namespace

std::unique_ptr<Spawner> Spawner::fork_off() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  FileDescriptor mine(ends[0]);
  FileDescriptor other(ends[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) run_spawner(std::move(other), parent);
  return std::unique_ptr<Spawner>(new Spawner(std::move(mine)));
}

void Spawner::start(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment) {
  request(cbor(json::array({"start", arguments, environment})));
}

void Spawner::end(pid_t pid) { request(cbor(json::array({"end", pid}))); }

// A spawner that is gone is noticed by poll().
void Spawner::request(const std::string& packet) { send_packet(control_.get(), packet, {}); }

std::optional<Spawner::Event> Spawner::poll() {
  std::vector<FileDescriptor> descriptors;
  std::string packet;
  try {
    packet = receive_packet(control_.get(), &descriptors, MSG_DONTWAIT);
  } catch (const std::system_error& error) {
    if (error.code().value() == EAGAIN) return std::nullopt;
    return Gone{};
  }
  if (packet.empty()) return Gone{};
  const json event = json::from_cbor(packet);
  const auto& word = event.at(0).get_ref<const std::string&>();
  if (word == "refused") return Refused{event.at(1).get<std::string>()};
  if (word == "ended") return Ended{event.at(1).get<pid_t>(), event.at(2).get<int>()};
  if (descriptors.size() != 2) return Refused{"no descriptors came with the new process"};
  return Started{event.at(1).get<pid_t>(), std::move(descriptors[0]), std::move(descriptors[1])};
}

}  // namespace squant::runner
