// Decode, resize and crop on one core, beside Pillow in the same run: passes of both take turns.
// Seconds are processor time, so that what else runs on the machine matters less.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/stopwatch.h"
#include "eval/checkpoint/checkpoint.h"
#include "eval/images/file_bytes.h"
#include "eval/images/picture.h"
#include "eval/images/picture_list.h"

namespace squant::bench {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Pass {
  double seconds = 0;
  std::size_t num_pictures = 0;
  std::string digest;   // SHA-256 over all pixels
  std::string version;  // Pillow's
};

struct Summary {
  double median_per_s = 0, best_per_s = 0;
};

std::vector<Bytes> read_pictures(const std::string& folder) {
  std::vector<Bytes> files;
  for (const std::string& path : eval::find_picture_paths(folder)) {
    eval::read_file(folder + "/" + path, files.emplace_back());
  }
  return files;
}

Pass pass_of_ours(const std::vector<Bytes>& files, std::int64_t size) {
  const auto picture_bytes = static_cast<std::size_t>(size * size * 3);
  Bytes pixels(picture_bytes * files.size());
  eval::PictureReader reader;
  const double begin = processor_seconds();
  for (std::size_t i = 0; i < files.size(); ++i) {
    reader.read(files[i], size, pixels.data() + i * picture_bytes);
  }
  const double elapsed = processor_seconds() - begin;
  return {elapsed, files.size(), eval::sha256_hex(pixels.data(), pixels.size()), ""};
}

// In single quotes for the shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A pass without pictures when there is no Python with Pillow.
Pass pass_of_pillow(const std::string& python, const std::string& folder, std::int64_t size) {
  const std::string command = quoted(python) + " " SQUANT_BENCH_DIR "/decode_pillow.py " +
                              quoted(folder) + " " + std::to_string(size);
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 512> line{};
  const bool got = std::fgets(line.data(), line.size(), pipe) != nullptr;
  if (pclose(pipe) != 0 || !got) return {};
  Pass pass;
  std::istringstream(line.data()) >> pass.seconds >> pass.num_pictures >> pass.digest >>
      pass.version;
  return pass;
}

Summary summarize(const std::vector<Pass>& passes) {
  std::vector<double> per_second;
  for (const Pass& pass : passes) {
    per_second.push_back(static_cast<double>(pass.num_pictures) / pass.seconds);
  }
  std::sort(per_second.begin(), per_second.end());
  return {per_second[per_second.size() / 2], per_second.back()};
}

void measure(const std::string& folder, const std::vector<Bytes>& files, std::int64_t size,
             int repeats, const std::string& python) {
  std::vector<Pass> ours, pillow;
  pass_of_ours(files, size);  // warms up
  for (int i = 0; i < repeats; ++i) {
    ours.push_back(pass_of_ours(files, size));
    if (python.empty() || pillow.size() < static_cast<std::size_t>(i)) continue;
    Pass pass = pass_of_pillow(python, folder, size);
    if (pass.num_pictures == files.size()) pillow.push_back(std::move(pass));
  }
  const Summary own = summarize(ours);
  std::printf("| squant | %lld | %zu | %.1f | %.1f | | |\n", static_cast<long long>(size),
              files.size(), own.median_per_s, own.best_per_s);
  if (pillow.empty()) {
    if (!python.empty()) std::fprintf(stderr, "no Pillow to compare with: pip install pillow\n");
    return;
  }
  const Summary other = summarize(pillow);
  std::printf("| Pillow %s | %lld | %zu | %.1f | %.1f | %.2f | %s |\n",
              pillow.front().version.c_str(), static_cast<long long>(size), files.size(),
              other.median_per_s, other.best_per_s, own.median_per_s / other.median_per_s,
              pillow.front().digest == ours.front().digest ? "yes" : "NO");
}

int run(int argc, char** argv) {
  CLI::App app("Pictures decoded, resized and cropped per second on one core, beside Pillow",
               "squant-bench decode");
  std::string folder, python = "python3";
  std::vector<std::int64_t> sizes{224, 299};
  int repeats = 5;
  if (const char* data = std::getenv("SQUANT_TEST_DATA"); data != nullptr) {
    folder = std::string(data) + "/imagenet-sample";
  }
  app.add_option("--images", folder, "Folder of pictures")->capture_default_str();
  app.add_option("--sizes", sizes, "Sides of the crop")->delimiter(',')->capture_default_str();
  app.add_option("--repeats", repeats, "Passes over all pictures")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--python", python, "Python that has Pillow; empty: without comparison")
      ->capture_default_str();
  return run_command(app, argc, argv, [&] {
    if (folder.empty()) throw std::invalid_argument("give --images or set SQUANT_TEST_DATA");
    const std::vector<Bytes> files = read_pictures(folder);
    std::printf("| | size | pictures | median/s | best/s | squant is faster by | same pixels |\n");
    std::printf("|---|---|---|---|---|---|---|\n");
    for (const std::int64_t size : sizes) measure(folder, files, size, repeats, python);
    return 0;
  });
}

const Subcommand kDecode("decode", "pictures decoded per second and core, beside Pillow", run);

}  // namespace
}  // namespace squant::bench
