#include "runner/spawner_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>

#include "runner/spawner.h"

namespace squant::runner {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDescriptors = 2;
constexpr int kControl = 3;  // where the spawner keeps its socket

std::system_error failure(const char* call) { return {errno, std::generic_category(), call}; }

std::string cbor(const json& value) {
  std::string bytes;
  json::to_cbor(value, bytes);
  return bytes;
}

// Once this process belongs to the rank alone: what mpirun holds open must close with the rank.
void keep_one_descriptor(const FileDescriptor& control) {
  dup2(control.get(), kControl);
  fcntl(kControl, F_SETFD, FD_CLOEXEC);
  closefrom(kControl + 1);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {0, 1, 2}) dup2(nothing, standard);
}

// A process that finds these variables takes itself for a rank.
void forget_mpi() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    for (const std::string_view prefix : {"OMPI_", "PMIX_", "PRTE_", "PMI_", "OPAL_", "ORTE_"}) {
      if (text.starts_with(prefix)) names.emplace_back(text.substr(0, text.find('=')));
    }
  }
  for (const std::string& name : names) unsetenv(name.c_str());
}

struct Pair {
  FileDescriptor mine, other;
};

Pair socket_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw failure("socketpair");
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

Pair pipe_pair() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw failure("pipe");
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

class SpawnerProcess {
 public:
  SpawnerProcess() : self_(getpid()) {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, &mask_);
    ended_ = FileDescriptor(signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  void serve() {
    std::array<pollfd, 2> watched{pollfd{kControl, POLLIN, 0}, pollfd{ended_.get(), POLLIN, 0}};
    for (;;) {
      if (::poll(watched.data(), watched.size(), -1) < 0) {
        if (errno == EINTR) continue;
        throw failure("poll");
      }
      if (watched[1].revents != 0) reap();
      if (watched[0].revents == 0) continue;
      const std::string packet = receive_packet(kControl, nullptr, 0);
      if (packet.empty()) return;
      obey(json::from_cbor(packet));
    }
  }

  void end_all() const {
    for (const pid_t pid : running_) kill(pid, SIGKILL);
  }

 private:
  void obey(const json& request) {
    if (request.at(0) == "end") {
      const auto pid = request.at(1).get<pid_t>();
      if (running_.contains(pid)) kill(pid, SIGKILL);
      return;
    }
    try {
      start(request.at(1).get<std::vector<std::string>>(),
            request.at(2).get<std::vector<std::string>>());
    } catch (const std::system_error& error) {
      send_packet(kControl, cbor(json::array({"refused", error.what()})), {});
    }
  }

  void start(const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment) {
    const Pair channel = socket_pair();
    const Pair log = pipe_pair();
    Pair exec_failed = pipe_pair();
    const pid_t pid = fork();
    if (pid < 0) throw failure("fork");
    if (pid == 0) become(arguments, environment, channel.other, log.other, exec_failed.other);
    running_.insert(pid);
    exec_failed.other = FileDescriptor();
    int error = 0;
    if (read(exec_failed.mine.get(), &error, sizeof error) == sizeof error) {
      throw std::system_error(error, std::generic_category(), "exec");
    }
    send_packet(kControl, cbor(json::array({"started", pid})),
                {channel.mine.get(), log.mine.get()});
  }

  // In the new process.
  [[noreturn]] void become(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& environment,
                           const FileDescriptor& channel, const FileDescriptor& log,
                           const FileDescriptor& exec_failed) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self_) _exit(0);  // it ended before the line above
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
    dup2(log.get(), 1);
    dup2(log.get(), 2);
    dup2(channel.get(), kChannelDescriptor);
    for (const std::string& entry : environment) {
      const std::size_t equals = entry.find('=');
      setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv("/proc/self/exe", argv.data());
    const int error = errno;
    if (write(exec_failed.get(), &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }

  void reap() {
    signalfd_siginfo info{};
    while (read(ended_.get(), &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      running_.erase(pid);
      send_packet(kControl, cbor(json::array({"ended", pid, status})), {});
    }
  }

  pid_t self_;
  sigset_t mask_{};
  FileDescriptor ended_;
  std::set<pid_t> running_;
};

}  // namespace

std::string receive_packet(int socket, std::vector<FileDescriptor>* descriptors, int flags) {
  std::string packet(kMaxPacketBytes, '\0');
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control{};
  iovec part{packet.data(), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  if (size < 0) throw failure("recvmsg");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> numbers((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(numbers.data(), CMSG_DATA(header), numbers.size() * sizeof(int));
    for (const int number : numbers) {
      FileDescriptor descriptor(number);
      if (descriptors != nullptr) descriptors->push_back(std::move(descriptor));
    }
  }
  packet.resize(static_cast<std::size_t>(size));
  return packet;
}

bool send_packet(int socket, const std::string& packet, const std::vector<int>& descriptors) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control{};
  iovec part{const_cast<char*>(packet.data()), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t bytes = descriptors.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size());
}

void run_spawner(FileDescriptor control, pid_t parent) {
  prctl(PR_SET_NAME, "squant-spawner");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  // Ctrl-C and mpirun's signals go to process groups and are the rank's business.
  setpgid(0, 0);
  for (const int caught : {SIGINT, SIGTERM, SIGUSR1}) signal(caught, SIG_DFL);
  keep_one_descriptor(control);
  forget_mpi();
  SpawnerProcess process;
  try {
    process.serve();
  } catch (const std::exception&) {  // the rank sees that this process is gone
  }
  process.end_all();
  _exit(0);
}

}  // namespace squant::runner
