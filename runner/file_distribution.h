// The coordinator's end of everything by which files reach other nodes: over MPI when a worker asks
// (collective/relay.h), over NCCL before the work begins (collective/gpu_broadcast.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runner/collective/broadcast_tally.h"
#include "runner/collective/collective_mpi.h"
#include "runner/collective/gpu_broadcast.h"
#include "runner/messages.h"

namespace squant::runner {

class FileDistribution {
 public:
  using Send = std::function<void(int worker, const Message& message)>;

  // `mpi` must outlive it.
  FileDistribution(MpiCollective& mpi, GpuBroadcastOptions options, Send send);

  // `what` is the file's name for people: "checkpoint resnet18.pth".
  void offer(const SharedFile& file, const std::string& what, double now);
  void begin(double now) { gpus_.begin(now); }

  void joined(int worker, const Hello& hello);
  void lost(int worker, double now);
  void receive_frame(const Envelope& envelope, double now);
  void receive(int worker, const FilesLacking& message) { gpus_.lacks(worker, message.sha256); }
  void receive(int worker, const BroadcastDone& message, double now);
  // Of kBroadcastTask.
  void receive(int worker, const TaskError& message, double now);

  // Lets things go on. Throws std::invalid_argument where the way that was asked for cannot be.
  void step(double now);
  bool may_work(int worker) const { return gpus_.may_work(worker); }
  // What went to other nodes, a line each.
  std::vector<std::string> lines() const { return tally_.lines(); }

 private:
  void say_way();
  void note(const Delivery& delivery, const char* way, double now);

  MpiCollective& mpi_;
  GpuBroadcast gpus_;
  Send send_;
  BroadcastTally tally_;
  bool said_ = false;  // which way is taken
};

}  // namespace squant::runner
