// Runs a fuzz harness without libFuzzer: on all seeds, then on mutations of them that are the same
// on every machine. Usage: replay_NAME NUM_MUTATIONS SEED_FILE... When the harness crashes, the
// input at fault is left in crash-input in the working directory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

const Bytes* current_input = nullptr;
std::string crash_path;

extern "C" void save_input(int signal) {
  const int fd = ::open(crash_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd >= 0 && current_input != nullptr) {
    const ssize_t written = ::write(fd, current_input->data(), current_input->size());
    static_cast<void>(written);  // nothing more can be done in a signal handler
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const Bytes& input) {
  // A copy of the exact size on the heap, so that a sanitizer sees every read behind its end.
  const Bytes copy(input.begin(), input.end());
  current_input = &copy;
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  current_input = nullptr;
}

// Random numbers by remainder: the standard's distributions differ between libraries.
class Mutator {
 public:
  explicit Mutator(const std::vector<Bytes>& seeds) : seeds_(seeds) {}

  Bytes next() {
    Bytes bytes = pick_seed();
    for (std::uint64_t step = 1 + below(6); step > 0; --step) mutate(bytes);
    return bytes;
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  const Bytes& pick_seed() { return seeds_[below(seeds_.size())]; }

  void mutate(Bytes& bytes) {
    if (bytes.empty()) {
      bytes.push_back(static_cast<std::uint8_t>(below(256)));
      return;
    }
    const std::uint64_t at = below(bytes.size());
    const auto position = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto length =
        static_cast<std::ptrdiff_t>(1 + below(std::min<std::uint64_t>(bytes.size() - at, 64)));
    switch (below(8)) {
      case 0:
        bytes[at] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(below(256));
        break;
      case 2:
        overwrite_number(bytes, at);
        break;
      case 3:
        bytes.erase(position, position + length);
        break;
      case 4: {
        const Bytes chunk(position, position + length);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size() + 1)),
                     chunk.begin(), chunk.end());
        break;
      }
      case 5:
        bytes.resize(at);
        break;
      case 6: {  // the tail of another seed
        const Bytes& other = pick_seed();
        const std::uint64_t from = below(other.size() + 1);
        bytes.erase(position, bytes.end());
        bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        break;
      }
      case 7:
        bytes.insert(position, static_cast<std::size_t>(length),
                     static_cast<std::uint8_t>(below(256)));
        break;
    }
  }

  // A number at the edge of some range, little-endian, of 2, 4 or 8 bytes.
  void overwrite_number(Bytes& bytes, std::uint64_t at) {
    constexpr std::array<std::uint64_t, 12> kNumbers = {0,
                                                        1,
                                                        0x7f,
                                                        0xffff,
                                                        0x7fffffff,
                                                        0x80000000,
                                                        0xffffffff,
                                                        0x7fffffffffffffff,
                                                        0x8000000000000000,
                                                        0xffffffffffffffff,
                                                        0x4000000000000000,
                                                        0x100000000};
    const std::uint64_t number = kNumbers[below(kNumbers.size())];
    const std::uint64_t size =
        std::min<std::uint64_t>(std::uint64_t{2} << below(3), bytes.size() - at);
    for (std::uint64_t i = 0; i < size; ++i)
      bytes[at + i] = static_cast<std::uint8_t>(number >> (8 * i));
  }

  const std::vector<Bytes>& seeds_;
  std::mt19937_64 random_{20220414};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s NUM_MUTATIONS SEED_FILE...\n", argv[0]);
    return 2;
  }
  crash_path = "crash-" + std::filesystem::path(argv[0]).filename().string();
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, save_input);
  const long num_mutations = std::strtol(argv[1], nullptr, 10);
  std::vector<Bytes> seeds;
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be opened\n", argv[i]);
      return 2;
    }
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  for (const Bytes& seed : seeds) run(seed);
  Mutator mutator(seeds);
  for (long i = 0; i < num_mutations; ++i) run(mutator.next());
  std::printf("%zu seeds and %ld mutations of them ran through\n", seeds.size(), num_mutations);
  return 0;
}
