#include "runner/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace squant::runner {
namespace {

constexpr std::size_t kTailLines = 40;

std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt>& tail() {
  static auto sink = std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(kTailLines);
  return sink;
}

}  // namespace

void set_up_logging(const Options& options, int rank) {
  std::vector<spdlog::sink_ptr> sinks{tail()};
  if (!options.log_file.empty()) {
    const std::string path =
        rank == 0 ? options.log_file : options.log_file + ".rank" + std::to_string(rank);
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    } catch (const spdlog::spdlog_ex& error) {
      // Rank 0 alone may end the program for it: the others would leave it waiting for them in
      // MPI_Init.
      if (rank == 0) throw std::invalid_argument("--log-file " + path + ": " + error.what());
    }
  }
  if (options.verbose && rank == 0)
    sinks.push_back(std::make_shared<spdlog::sinks::stdout_sink_mt>());
  auto logger = std::make_shared<spdlog::logger>("squant", sinks.begin(), sinks.end());
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e [%l] %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

std::string log_tail() {
  std::string text;
  for (const std::string& line : tail()->last_formatted()) text += line;
  return text;
}

}  // namespace squant::runner
