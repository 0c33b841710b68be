// Which GPU a worker takes. Nothing here initializes CUDA: a rank must not, its child process does.
#pragma once

#include <string>
#include <vector>

namespace squant::runner {

// GPUs of this host, whoever may use them: as the driver counts them, 0 without a driver.
int num_installed_gpus();

// The GPUs that a process with this CUDA_VISIBLE_DEVICES (null: not set) sees, in its order, as
// entries for the CUDA_VISIBLE_DEVICES of a child. As CUDA reads it: the list ends before the first
// entry that names no device; entries are indices or the beginning of a UUID ("GPU-...",
// "MIG-...").
std::vector<std::string> visible_gpus(const char* cuda_visible_devices, int num_installed);

// The share of one worker among `num_workers` on the same host, numbered from 0.
struct GpuShare {
  std::string gpu;      // an entry of `visible`
  int number = 0;       // its position there: CUDA's number of it in this process
  int num_sharing = 1;  // workers on this GPU
};
// Workers take turns over the GPUs, so that none is idle while another is shared. Throws
// std::invalid_argument where no GPU is visible, or the worker's number is out of range.
GpuShare assign_gpu(const std::vector<std::string>& visible, int worker, int num_workers);

}  // namespace squant::runner
