#include "runner/collective/collective_mpi.h"

#include <filesystem>
#include <iterator>
#include <system_error>
#include <type_traits>
#include <utility>

namespace squant::runner {
namespace {

std::string place_of(const MpiMember& member) { return member.host + ":" + member.cache; }

bool is_for_root(const Frame& frame) {
  return std::visit(
      []<typename T>(const T&) {
        return std::is_same_v<T, FileWanted> || std::is_same_v<T, SourceFailed> ||
               std::is_same_v<T, FileArrived> || std::is_same_v<T, FileLost>;
      },
      frame);
}

template <typename T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

MpiCollective::MpiCollective(Transport& transport, MpiMember self, RelayOptions options)
    : transport_(transport),
      self_(std::move(self)),
      cache_(self_.cache),
      peer_({self_.rank, self_.root, self_.host, place_of(self_)}, cache_, options) {
  if (self_.rank == self_.root) root_.emplace(self_.rank, self_.host, place_of(self_), options);
}

void MpiCollective::begin(const SharedFile& file, double now) {
  if (!root_) {
    peer_.want(file, now);
    flush();
    return;
  }
  Delivery own{file.sha256, self_.rank, self_.host, 0, 0, file.path, ""};
  std::error_code error;
  const auto size = std::filesystem::file_size(file.path, error);
  if (error) {
    own.path.clear();
    own.error = file.path + ": cannot be read by the root, " + rank_name(self_.rank, self_.host) +
                ": " + error.message();
  } else {
    cache_.add_original(file);
    root_->offer(file, static_cast<std::int64_t>(size));
  }
  own_.push_back(std::move(own));
}

std::vector<Delivery> MpiCollective::step(double now) {
  peer_.tick(now);
  if (root_) root_->tick(now);
  flush();
  std::vector<Delivery> all = std::exchange(own_, {});
  append(all, peer_.take_deliveries());
  if (root_) append(all, root_->take_deliveries());
  return all;
}

void MpiCollective::receive(const Envelope& envelope, double now) {
  const Frame frame = decode_frame(envelope.bytes);
  if (!is_for_root(frame)) {
    peer_.receive(envelope.source, frame, now);
  } else if (root_) {
    root_->receive(envelope.source, frame, now);
  }
  flush();
}

void MpiCollective::lost(int rank, double now) {
  if (root_) root_->lost(rank, now);
  flush();
}

void MpiCollective::flush() {
  for (const Outgoing& one : peer_.take_outgoing())
    transport_.send(one.to, encode_frame(one.frame));
  if (!root_) return;
  for (const Outgoing& one : root_->take_outgoing()) {
    transport_.send(one.to, encode_frame(one.frame));
  }
}

}  // namespace squant::runner
