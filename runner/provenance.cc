#include "runner/provenance.h"

#include <pwd.h>
#include <squant_build_info.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "eval/cuda/cuda_device.h"
#include "eval/evaluator.h"
#include "results/store.h"

namespace squant::runner {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string user_name() {
  if (const passwd* entry = getpwuid(geteuid())) return entry->pw_name;
  return environment("USER");
}

std::string libraries(const std::string& mpi_version) {
  std::string text = std::string("LibTorch ") + SQUANT_TORCH_VERSION;
  if (!mpi_version.empty()) text += ", " + mpi_version;
  text += ", SQLite " + results::sqlite_version();
  if (*SQUANT_CUDA_VERSION != '\0') text += std::string(", CUDA ") + SQUANT_CUDA_VERSION;
  return text;
}

std::string slurm_job() {
  std::string job = environment("SLURM_JOB_ID");
  const std::string array = environment("SLURM_ARRAY_JOB_ID");
  if (!array.empty()) job = array + "_" + environment("SLURM_ARRAY_TASK_ID");
  const std::string restarts = environment("SLURM_RESTART_COUNT");
  if (!job.empty() && !restarts.empty()) job += " restart " + restarts;
  return job;
}

}  // namespace

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%s.%03dZ", date.data(), static_cast<int>(milliseconds));
  return text.data();
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if ((line.starts_with("model name") || line.starts_with("Model")) &&
        colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

std::string program_version() {
  return std::string(SQUANT_VERSION) + " " + SQUANT_GIT_COMMIT +
         (SQUANT_GIT_DIRTY ? " (modified)" : "") + ", numerics " +
         std::to_string(eval::kNumericsVersion);
}

std::string version_text() {
  return "squant-sweep " + program_version() + "\n" + SQUANT_COMPILER + ", " + SQUANT_BUILD_TYPE +
         "; " + libraries("");
}

std::string shell_line(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    if (!line.empty()) line += ' ';
    constexpr const char* kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./:,@%";
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) {
      if (c == '\'') {
        line += "'\\''";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

results::RunRow run_row(const Experiment& experiment, const std::vector<std::string>& arguments,
                        const std::string& mpi_version) {
  results::RunRow run;
  run.experiment_name = experiment.name;
  run.experiment_path = experiment.path;
  run.experiment_json = experiment.canonical_json;
  run.command_line = shell_line(arguments);
  run.git_commit = SQUANT_GIT_COMMIT;
  run.git_dirty = SQUANT_GIT_DIRTY != 0;
  run.version = SQUANT_VERSION;
  run.compiler = std::string(SQUANT_COMPILER) + " " + SQUANT_BUILD_TYPE;
  run.libraries = libraries(mpi_version);
  run.host = host_name();
  run.user = user_name();
  run.slurm_job = slurm_job();
  run.started_at = utc_now();
  return run;
}

Hello hello_of_this_process(const std::string& device, int gpu, int num_threads,
                            const std::string& note) {
  Hello hello;
  hello.program = program_version();
  hello.host = host_name();
  hello.pid = static_cast<int>(getpid());
  hello.device = device;
  if (device == "cuda") {
    const eval::CudaFacts facts = eval::cuda_facts(gpu);
    hello.device_name = facts.name;
    hello.device_uuid = facts.uuid;
    hello.driver = facts.driver;
  } else {
    hello.device_name = cpu_name();
  }
  hello.num_threads = num_threads;
  hello.note = note;
  return hello;
}

}  // namespace squant::runner
