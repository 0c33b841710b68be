#include "runner/collective/collective_nccl.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "eval/checkpoint/digest.h"
#include "runner/collective/nccl_library.h"
#include "runner/collective/nccl_session.h"
#include "runner/collective/node_cache.h"

namespace squant::runner {
namespace {

constexpr auto kPieceBytes = static_cast<std::int64_t>(NcclSession::kPieceBytes);

class NcclCollective final : public Collective {
 public:
  NcclCollective(NcclGroup group, const std::string& cache)
      : group_(std::move(group)), cache_(cache), thread_([this] { run(); }) {}
  ~NcclCollective() override {
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  const char* name() const override { return "NCCL"; }
  void begin(const SharedFile& file, double) override {
    {
      const std::lock_guard guard(mutex_);
      todo_.push_back(file);
    }
    changed_.notify_one();
  }
  std::vector<Delivery> step(double) override {
    const std::lock_guard guard(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !todo_.empty(); });
      if (stopping_) break;
      const SharedFile file = todo_.front();
      todo_.pop_front();
      lock.unlock();
      std::vector<Delivery> delivered = deliver(file);
      lock.lock();
      for (Delivery& one : delivered) done_.push_back(std::move(one));
    }
    lock.unlock();
    session_.reset();
  }

  std::vector<Delivery> deliver(const SharedFile& file) {
    const auto began = std::chrono::steady_clock::now();
    Delivery own{file.sha256, group_.name(group_.rank), host(group_.rank), 0, 0, "", ""};
    std::vector<std::int64_t> verdicts;
    try {
      if (!broken_.empty()) throw std::runtime_error("the group broke earlier: " + broken_);
      if (!session_) session_ = std::make_unique<NcclSession>(group_);
      session_->start_clock();
      verdicts = exchange(file, own);
      session_->stop_clock();
    } catch (const std::exception& error) {
      if (broken_.empty()) broken_ = error.what();
      own.error = file.path + " was not received by " + group_.name_text(group_.rank) +
                  " over NCCL: " + error.what();
      cache_.abandon(file.sha256);
    }
    own.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return with_others(file, std::move(own), verdicts);
  }

  // What of the root's file arrived at each member: its bytes, or -1.
  std::vector<std::int64_t> exchange(const SharedFile& file, Delivery& own) {
    std::int64_t size = is_root() ? open_original(file, own) : 0;
    session_->broadcast(&size, sizeof(size));
    if (size < 0) {
      if (own.error.empty()) {
        own.error = file.path + ": cannot be read by the root, " + group_.name_text(group_.root);
      }
      return {};
    }
    eval::Sha256 digest;
    // A member that cannot write takes part to the end: the others need it.
    if (!is_root()) guarded(own, [&] { cache_.create(file.sha256, size); });
    Bytes piece;
    for (std::int64_t offset = 0; offset < size; offset += kPieceBytes) {
      piece.resize(static_cast<std::size_t>(std::min(kPieceBytes, size - offset)));
      if (is_root()) read_original(file, offset, piece, own);
      session_->broadcast(piece.data(), piece.size());
      digest.update(piece.data(), piece.size());
      if (!is_root()) guarded(own, [&] { cache_.append(file.sha256, piece); });
    }
    conclude(file, digest.hex() == file.sha256, own);
    if (own.error.empty() && !is_root()) own.bytes = size;
    return session_->gather(own.error.empty() ? size : -1);
  }

  void conclude(const SharedFile& file, bool intact, Delivery& own) {
    if (own.error.empty() && !intact) {
      own.error = "what " + group_.name_text(group_.root) + " sent does not have the SHA-256 " +
                  file.sha256;
    }
    if (is_root()) {
      if (own.error.empty()) own.path = file.path;
    } else if (own.error.empty()) {
      guarded(own, [&] { own.path = cache_.finish(file.sha256).value(); });
    } else {
      cache_.abandon(file.sha256);
    }
  }

  std::int64_t open_original(const SharedFile& file, Delivery& own) {
    std::int64_t size = -1;
    guarded(own, [&] {
      cache_.add_original(file);
      size = cache_.available(file.sha256).value();
    });
    return size;
  }

  // What cannot be read is sent as it is: the members see it by the digest.
  void read_original(const SharedFile& file, std::int64_t offset, Bytes& piece, Delivery& own) {
    guarded(own, [&] {
      const Bytes bytes = cache_.read(file.sha256, offset, std::ssize(piece));
      std::copy_n(bytes.begin(), std::min(bytes.size(), piece.size()), piece.begin());
    });
  }

  // The root tells of every member, a peer of itself alone.
  std::vector<Delivery> with_others(const SharedFile& file, Delivery own,
                                    const std::vector<std::int64_t>& verdicts) const {
    std::vector<Delivery> all;
    for (int rank = 0; is_root() && rank < static_cast<int>(group_.hosts.size()); ++rank) {
      if (rank == group_.root) continue;
      Delivery other{file.sha256, group_.name(rank), host(rank), 0, own.seconds, "", ""};
      if (verdicts.empty()) {
        other.error = own.error;
      } else if (verdicts[static_cast<std::size_t>(rank)] < 0) {
        other.error = group_.name_text(rank) + " did not get " + file.path +
                      " over NCCL: its own log says why";
      } else {
        other.bytes = verdicts[static_cast<std::size_t>(rank)];
      }
      all.push_back(std::move(other));
    }
    all.push_back(std::move(own));
    return all;
  }

  template <typename Function>
  static void guarded(Delivery& own, Function function) {
    if (!own.error.empty()) return;
    try {
      function();
    } catch (const std::exception& error) {
      own.error = error.what();
    }
  }

  bool is_root() const { return group_.rank == group_.root; }
  const std::string& host(int rank) const {
    return group_.hosts.at(static_cast<std::size_t>(rank));
  }

  const NcclGroup group_;
  // Of the thread:
  NodeCache cache_;
  std::unique_ptr<NcclSession> session_;
  std::string broken_;
  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<SharedFile> todo_;
  std::vector<Delivery> done_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::string why_no_nccl() {
  try {
    nccl();
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

NcclId make_nccl_id() {
  ncclUniqueId made;
  check_nccl(nccl().get_unique_id(&made), "ncclGetUniqueId");
  NcclId id{};
  std::memcpy(id.data(), made.internal, id.size());
  return id;
}

std::unique_ptr<Collective> make_nccl_collective(const NcclGroup& group, const std::string& cache) {
  return std::make_unique<NcclCollective>(group, cache);
}

}  // namespace squant::runner
