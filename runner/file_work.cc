#include "runner/file_work.h"

#include <chrono>
#include <exception>
#include <thread>

namespace squant::runner {
namespace {

constexpr std::chrono::milliseconds kPollInterval{10};
constexpr double kGraceS = 60;

}  // namespace

WorkResult run_packing(const PackingWork& work, int num_threads, const FileProgress& progress) {
  try {
    const auto dataset = eval::open_dataset(work.dataset);
    return eval::pack_images(*dataset, work.count, work.shape, num_threads, work.folder,
                             [&](std::int64_t done) { progress(static_cast<std::size_t>(done)); });
  } catch (const std::exception& error) {
    return WorkFailed{error.what()};
  }
}

WorkResult run_broadcast(const BroadcastWork& work, const FileProgress& progress) {
  try {
    const auto collective = make_nccl_collective(work.group, work.cache);
    for (const SharedFile& file : work.files) collective->begin(file, 0);
    Deliveries deliveries;
    std::size_t num_own = 0;
    // Its own deadlines end it; where they do not, this process is not said to be alive any more.
    const double limit_s =
        work.group.deadline_s * static_cast<double>(work.files.size() + 1) + kGraceS;
    const auto began = std::chrono::steady_clock::now();
    while (num_own < work.files.size()) {
      for (Delivery& one : collective->step(0)) {
        num_own += one.rank == work.group.name(work.group.rank);
        deliveries.push_back(std::move(one));
      }
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
      if (elapsed.count() < limit_s) progress(num_own);
      std::this_thread::sleep_for(kPollInterval);
    }
    return deliveries;
  } catch (const std::exception& error) {
    return WorkFailed{error.what()};
  }
}

}  // namespace squant::runner
