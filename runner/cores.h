// Which processor cores this process may use, and how many of them are its share.
#pragma once

#include <string>
#include <vector>

namespace squant::runner {

// Logical processors, ascending.
using CpuSet = std::vector<int>;

// The processors that the calling thread may run on.
CpuSet allowed_cpus();

// Lets the calling thread, and threads it starts, run on these alone. Returns whether the kernel
// agreed.
bool use_cpus(const CpuSet& cpus);

// "0-3,8": as the kernel writes such lists. parse_cpus() throws std::invalid_argument.
std::string cpus_text(const CpuSet& cpus);
CpuSet parse_cpus(const std::string& text);

// Undoes the binding that mpirun chooses by itself: Open MPI 4.1 pins each of up to two ranks to a
// single core. The calling thread, and threads it starts, may then run where the launcher may. Does
// nothing where the user chose a binding or the launcher is not the parent process. Returns what
// was done in a sentence, or an empty string.
std::string widen_affinity(bool binding_given);

// The share of `mine` among workers on the same host that may run on the processors `others` (this
// worker's own among them): processors over the workers that overlap with it, at least 1, at most
// `quota` (the limit of a container; 0: none) over all workers of the host.
int thread_share(const CpuSet& mine, const std::vector<CpuSet>& others, double quota);

// CPU time over time that the control group (container) allows; 0: no limit.
double cgroup_cpu_quota();

}  // namespace squant::runner
