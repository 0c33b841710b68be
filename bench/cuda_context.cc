#include "bench/cuda_context.h"

#include <benchmark/benchmark.h>

#include <cstdio>

#include "eval/cuda/cuda_device.h"

namespace squant::bench {

std::string cuda_description() {
  std::string why_not;
  if (!eval::cuda_usable(&why_not)) {
    std::fprintf(stderr, "squant-bench: no CUDA device: its rows are skipped (%s)\n",
                 why_not.c_str());
    return "";
  }
  const eval::CudaFacts facts = eval::cuda_facts();
  return facts.name + ", " + std::to_string(facts.num_processors) + " processors, at most " +
         std::to_string(facts.clock_mhz) + " MHz, memory at most " +
         std::to_string(facts.memory_clock_mhz) + " MHz, CUDA " + facts.runtime +
         ", driver for CUDA " + facts.driver;
}

bool describe_cuda() {
  const std::string text = cuda_description();
  if (!text.empty()) benchmark::AddCustomContext("gpu", text);
  return !text.empty();
}

}  // namespace squant::bench
