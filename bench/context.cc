#include "bench/context.h"

#include <omp.h>
#include <squant_build_info.h>

#include <fstream>
#include <regex>
#include <string>

#include "bench/bench.h"
#include "bench/output.h"
#include "eval/cuda/cuda_device.h"
#include "runner/provenance.h"

namespace squant::bench {
namespace {

// "580.95.05"; empty where the kernel does not tell. Its file begins "NVRM version: NVIDIA UNIX
// x86_64 Kernel Module  580.95.05  ...", with other words before the version in other builds.
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::smatch found;
  return std::regex_search(line, found, std::regex(R"( (\d+\.\d+[.\d]*) )")) ? found[1].str() : "";
}

void add_gpu(Facts& context) {
  if (!eval::cuda_usable()) {
    for (const char* name : {"gpu", "gpu_processors", "gpu_max_clock_mhz", "gpu_max_memory_mhz",
                             "driver", "cuda_of_driver", "cuda_runtime"}) {
      context.emplace_back(name, std::monostate());
    }
    return;
  }
  const eval::CudaFacts facts = eval::cuda_facts();
  context.emplace_back("gpu", facts.name);
  context.emplace_back("gpu_processors", std::int64_t{facts.num_processors});
  context.emplace_back("gpu_max_clock_mhz", std::int64_t{facts.clock_mhz});
  context.emplace_back("gpu_max_memory_mhz", std::int64_t{facts.memory_clock_mhz});
  context.emplace_back("driver", driver_version());
  context.emplace_back("cuda_of_driver", facts.driver);
  context.emplace_back("cuda_runtime", facts.runtime);
}

}  // namespace

Facts context_of_this_process(int num_threads) {
  Facts context = {{"date", runner::utc_now()},
                   {"host", runner::host_name()},
                   {"cpu", runner::cpu_name()},
                   {"threads", std::int64_t{num_threads > 0 ? num_threads : omp_get_num_procs()}}};
  add_gpu(context);
  context.emplace_back("squant_sweep", runner::program_version());
  context.emplace_back("compiler", std::string(SQUANT_COMPILER) + ", " + SQUANT_BUILD_TYPE);
  context.emplace_back("libtorch", SQUANT_TORCH_VERSION);
  context.emplace_back("command", runner::shell_line(command_line()));
  return context;
}

bool has_cuda() {
  std::string why_not;
  if (eval::cuda_usable(&why_not)) return true;
  tell_progress("no GPU to measure: " + why_not);
  return false;
}

}  // namespace squant::bench
