// squant-quantize as a user runs it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "tests/quant/golden_codes.h"
#include "tests/runner/mpi/command.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;
using runner::Command;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kProgram = std::string(SQUANT_BIN_DIR) + "/squant-quantize";
const fs::path kCheckpoints = fs::path(SQUANT_TESTS_DATA_DIR) / "checkpoints";

// A .safetensors file that is read back.
class Written {
 public:
  explicit Written(const fs::path& path)
      : file_(path.string()), view_(parse_safetensors(file_.bytes(), path.string())) {}
  const SafetensorsView& view() const { return view_; }
  const SafetensorsEntry& at(const std::string& name) const { return view_.entries.at(name); }
  bool has(const std::string& name) const { return view_.entries.contains(name); }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    std::vector<T> values(at(name).data.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), at(name).data.data(), at(name).data.size());
    return values;
  }

 private:
  MappedFile file_;
  SafetensorsView view_;
};

class QuantizeProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("quantize_test_" + std::to_string(::getpid()));
    logs_ = folder_.string() + "_logs";
    fs::create_directories(folder_);
    fs::create_directories(logs_);
    out_ = folder_ / "out.safetensors";
  }
  void TearDown() override {
    fs::remove_all(folder_);
    fs::remove_all(logs_);
  }

  // The exit code; what it printed is in printed_.
  int run(const fs::path& in, const fs::path& out, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {kProgram, in.string(), out.string()});
    return run_command(flags);
  }
  int run_command(const std::vector<std::string>& arguments) {
    Command command(arguments, logs_, "run");
    const int code = command.wait();
    printed_ = command.output();
    return code;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  // A safetensors file of these header entries and bytes.
  fs::path write(const std::string& name, const std::string& header, const std::string& data) {
    std::ofstream file(folder_ / name, std::ios::binary);
    const std::uint64_t size = header.size();
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file << header << data;
    return folder_ / name;
  }
  fs::path write_floats(const std::string& name, const StateDict& tensors,
                        const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors((folder_ / name).string(), tensors, metadata);
    return folder_ / name;
  }
  // One weight [rows, 4096] of zeros that takes no room on the disk.
  fs::path write_sparse(const std::string& name, std::int64_t rows) {
    const std::int64_t size = rows * 4096 * 4;
    std::string header = R"({"a.weight":{"dtype":"F32","shape":[)" + std::to_string(rows) +
                         R"(,4096],"data_offsets":[0,)" + std::to_string(size) + "]}}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const fs::path path = write(name, header, "");
    fs::resize_file(path, 8 + header.size() + static_cast<std::uintmax_t>(size));
    return path;
  }

  fs::path folder_, logs_, out_;
  std::string printed_;
};

TEST_F(QuantizeProgramTest, CodesAreTheReferences) {
  std::map<std::string, std::vector<quant::Config>> by_setting;
  for (const quant::Config& config : quant::configs()) {
    const auto& options = config.options;
    by_setting[std::to_string(options.bits) + " " + quant::mode_name(options.mode) + " " +
               quant::rounding_name(options.rounding)]
        .push_back(config);
  }
  ASSERT_EQ(by_setting.size(), 36u);
  quant::GoldenCount count;
  for (const auto& [setting, configs] : by_setting) {
    SCOPED_TRACE(setting);
    const quant::SquantOptions& options = configs[0].options;
    ASSERT_EQ(run(quant::kGoldenPath, out_,
                  {"--bits", std::to_string(options.bits), "--mode", quant::mode_name(options.mode),
                   "--rounding", quant::rounding_name(options.rounding), "--threads", "1"}),
              0)
        << printed_;
    const Written written(out_);
    for (const quant::Config& config : configs) {
      EXPECT_EQ(written.at(config.weight + ".codes").shape,
                quant::Golden::get().entries().at(config.weight).shape);
      EXPECT_FALSE(written.has(config.weight));
      compare_with_golden(config, written.values<std::int8_t>(config.weight + ".codes"),
                          written.values<float>(config.weight + ".scale"),
                          written.values<float>(config.weight + ".zero_point"), count);
    }
  }
  EXPECT_EQ(count.num_equal, 16176);
  EXPECT_EQ(count.num_undecided, 600);
}

TEST_F(QuantizeProgramTest, DequantizedWeightsAreTheCodesRestoredAndAllElseIsCopied) {
  for (const char* name :
       {"module_old.pth", "module_zip.pth", "module_old_deflated.pth.zip", "half_zip.pth",
        "bfloat16_old.pth", "double_zip.pth", "views_old.pth", "data_parallel_zip.pth"}) {
    SCOPED_TRACE(name);
    const bool is_network = std::string_view(name).starts_with("module");
    const fs::path in = kCheckpoints / name;
    const fs::path codes_path = folder_ / "codes.safetensors";
    std::vector<std::string> include = {"--include", is_network ? "weight$" : "."};
    ASSERT_EQ(run(in, codes_path, include), 0) << printed_;
    include.emplace_back("--dequantize");
    ASSERT_EQ(run(in, out_, include), 0) << printed_;
    const Written codes(codes_path);
    const Written restored(out_);
    const Checkpoint whole = load_checkpoint(in);
    std::size_t num_quantized = 0;
    for (const auto& [tensor, entry] : restored.view().entries) {
      if (codes.has(tensor)) {
        EXPECT_EQ(std::memcmp(codes.at(tensor).data.data(), entry.data.data(), entry.data.size()),
                  0);
        const std::string known = tensor.starts_with("module.") ? tensor.substr(7) : tensor;
        if (entry.dtype == "F32") {
          EXPECT_EQ(restored.values<float>(tensor), whole.tensors.at(known).values) << tensor;
        }
        continue;
      }
      ++num_quantized;
      EXPECT_EQ(entry.dtype, "F32");
      const auto code = codes.values<std::int8_t>(tensor + ".codes");
      const auto scale = codes.values<float>(tensor + ".scale");
      const auto zero_point = codes.values<float>(tensor + ".zero_point");
      const auto values = restored.values<float>(tensor);
      const std::size_t row = values.size() / scale.size();
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(values[i], (static_cast<float>(code[i]) + zero_point[i / row]) / scale[i / row]);
      }
    }
    EXPECT_GT(num_quantized, 0u);
  }
}

TEST_F(QuantizeProgramTest, ATensorsTypeDecidesWhatBecomesOfIt) {
  // f16 and bf16 weights are quantized as float32; others keep their type and bytes.
  const std::string header =
      R"({"__metadata__":{"author":"me","squant.bits":"99"},)"
      R"("b.bias":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
      R"("b.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},)"
      R"("empty.weight":{"dtype":"F32","shape":[0,3],"data_offsets":[12,12]},)"
      R"("f8.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[12,16]},)"
      R"("i.weight":{"dtype":"I8","shape":[1,4],"data_offsets":[16,20]},)"
      R"("norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}})";
  std::string data(24, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i + 1);
  const std::uint16_t bf16[] = {0x0000, 0x3f80, 0xbf80, 0x4000};  // 0, 1; -1, 2
  std::memcpy(data.data() + 4, bf16, sizeof bf16);
  ASSERT_EQ(run(write("in.safetensors", header, data), out_, {"--bits", "2"}), 0) << printed_;
  const Written written(out_);
  EXPECT_EQ(written.view().entries.size(), 8u);
  for (const auto& [name, dtype, bytes] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"b.bias", "BF16", data.substr(0, 4)},
           {"f8.weight", "F8_E4M3", data.substr(12, 4)},
           {"i.weight", "I8", data.substr(16, 4)},
           {"norm.weight", "F32", data.substr(20, 4)},
           {"empty.weight", "F32", ""}}) {
    EXPECT_EQ(written.at(name).dtype, dtype);
    const auto copied = written.values<char>(name);
    EXPECT_EQ(std::string(copied.begin(), copied.end()), bytes) << name;
  }
  // By hand: scale 3 / 1 and 3 / 3, zero point 0 + 2 and -1 + 2.
  EXPECT_EQ(written.values<float>("b.weight.scale"), (std::vector<float>{3, 1}));
  EXPECT_EQ(written.values<float>("b.weight.zero_point"), (std::vector<float>{2, 1}));
  EXPECT_EQ(written.values<std::int8_t>("b.weight.codes"),
            (std::vector<std::int8_t>{-2, 1, -2, 1}));
  EXPECT_THAT(printed_, AllOf(HasSubstr("1 matching tensors stay as they are: they are empty"),
                              HasSubstr("they are of dtype F8_E4M3"), HasSubstr("of dtype I8")));
  const auto& metadata = written.view().metadata;
  EXPECT_EQ(metadata.at("author"), "me");
  EXPECT_EQ(metadata.at("format"), "pt");
  EXPECT_EQ(metadata.at("squant.bits"), "2");
  EXPECT_EQ(metadata.at("squant.mode"), "squant");
  EXPECT_EQ(metadata.at("squant.rounding"), "current");
  EXPECT_EQ(metadata.at("squant.content"), "codes");
  EXPECT_EQ(metadata.at("squant.source"), "in.safetensors");
  EXPECT_EQ(metadata.at("squant.source_sha256"), sha256_file(folder_ / "in.safetensors"));
  EXPECT_EQ(metadata.at("squant.tensors"), R"(["b.weight"])");
}

TEST_F(QuantizeProgramTest, ThreadsAndChunksChangeNoByte) {
  // 3 channels of 2^22 + 1 weights: each is a chunk of its own; and one tensor of several chunks.
  constexpr std::int64_t kLong = (std::int64_t{1} << 22) + 1;
  HostTensor tall{{3, kLong}, std::vector<float>(3 * kLong)};
  for (std::size_t i = 0; i < tall.values.size(); ++i)
    tall.values[i] = static_cast<float>((i * 2654435761u) % 10007u) / 5000.0f - 1.0f;
  const fs::path in = write_floats("in.safetensors", {{"tall.weight", tall}});
  ASSERT_EQ(run(in, out_, {"--threads", "1"}), 0) << printed_;
  const std::string digest = sha256_file(out_);
  ASSERT_EQ(run(in, out_, {"--threads", "3"}), 0) << printed_;
  EXPECT_EQ(sha256_file(out_), digest);
  EXPECT_THAT(printed_, HasSubstr("(replaced)"));

  std::vector<std::int8_t> codes(tall.values.size());
  std::vector<float> scale(3), zero_point(3);
  const quant::SquantTensor tensor{"tall.weight", {3, kLong, 1}, tall.values.data(),
                                   codes.data(),  scale.data(),  zero_point.data()};
  quant::squant_cpu({&tensor, 1}, {});
  const Written written(out_);
  EXPECT_TRUE(written.values<std::int8_t>("tall.weight.codes") == codes);
  EXPECT_EQ(written.values<float>("tall.weight.scale"), scale);
}

TEST_F(QuantizeProgramTest, IncludeAndExcludeChooseByName) {
  const HostTensor square{{2, 2}, {0, 1, 2, 3}};
  const fs::path in = write_floats(
      "in.safetensors",
      {{"a.weight", square}, {"b.weight", square}, {"b.kernel", square}, {"b.weight_v", square}});
  const auto quantized = [&](const std::vector<std::string>& flags) {
    EXPECT_EQ(run(in, out_, flags), 0) << printed_;
    return nlohmann::json::parse(Written(out_).view().metadata.at("squant.tensors"))
        .get<std::vector<std::string>>();
  };
  using testing::ElementsAre;
  EXPECT_THAT(quantized({}), ElementsAre("a.weight", "b.weight"));
  EXPECT_THAT(quantized({"--exclude", "^a"}), ElementsAre("b.weight"));
  EXPECT_THAT(quantized({"--include", "^b", "--exclude", "_v$"}),
              ElementsAre("b.kernel", "b.weight"));

  fs::remove(out_);
  const auto refused = [&](const std::vector<std::string>& flags) {
    EXPECT_EQ(run(in, out_, flags), 2);
    EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});
    return printed_;
  };
  EXPECT_THAT(refused({"--include", "conv"}),
              HasSubstr("--include \"conv\" matches no tensor's name; one is \"a.weight\""));
  EXPECT_THAT(refused({"--exclude", "^c"}), HasSubstr("--exclude \"^c\" matches no tensor's name"));
  EXPECT_THAT(refused({"--include", "(a"}), HasSubstr("is no regular expression"));
  EXPECT_THAT(refused({"--exclude", "."}), HasSubstr("there is nothing to quantize"));
}

TEST_F(QuantizeProgramTest, TensorsThatCannotBeQuantizedAreNamedAndNothingIsLeft) {
  const HostTensor square{{2, 2}, {0, 1, 2, 3}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Row 1 of a tensor that is met last, in the second chunk: most of the file is written by then.
  HostTensor late{{3, 4 << 20}, std::vector<float>(std::size_t{3} * (4 << 20), 0.5f)};
  late.values[(4 << 20) + 7] = nan;
  const struct {
    StateDict tensors;
    std::string why;
  } cases[] = {
      {{{"a.weight", square}, {"z.weight", late}},
       "tensor \"z.weight\", output channel 1 cannot be quantized: a weight is nan"},
      {{{"a.weight", {{2, 2}, {0, 1, -3e38f, 3e38f}}}},
       "tensor \"a.weight\", output channel 1 cannot be quantized: the weights' range overflows"},
      {{{"a.weight", square}, {"a.weight.scale", {{2}, {1, 1}}}},
       "the output would have two tensors \"a.weight.scale\""},
      {{{"a.bias", {{2}, {1, 2}}}}, "there is nothing to quantize"},
  };
  for (const auto& bad : cases) {
    const fs::path in = write_floats("in.safetensors", bad.tensors);
    EXPECT_EQ(run(in, out_), 2) << bad.why;
    EXPECT_THAT(printed_, AllOf(StartsWith("squant-quantize: "), HasSubstr(bad.why)));
    EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});
  }
  // --exclude gets one past each.
  ASSERT_EQ(run(write_floats("in.safetensors", cases[0].tensors), out_, {"--exclude", "^z"}), 0);
  ASSERT_EQ(run(write_sparse("in.safetensors", 1), out_), 0);

  std::string header =
      R"({"a.weight":{"dtype":"F32","shape":[1,16777217],"data_offsets":[0,67108868]}})";
  const fs::path wide = write("in.safetensors", header, "");
  fs::resize_file(wide, 8 + header.size() + 67108868);
  EXPECT_EQ(run(wide, out_), 2);
  EXPECT_THAT(printed_, HasSubstr("have 16777217 weights, at most 16777216"));
}

TEST_F(QuantizeProgramTest, TheInputIsNeverOverwritten) {
  const fs::path in = write_floats("in.safetensors", {{"a.weight", {{2, 2}, {0, 1, 2, 3}}}});
  const std::string digest = sha256_file(in);
  fs::create_symlink("in.safetensors", folder_ / "link.safetensors");
  fs::create_hard_link(in, folder_ / "hard.safetensors");
  for (const char* out : {"in.safetensors", "link.safetensors", "hard.safetensors"}) {
    EXPECT_EQ(run(in, folder_ / out), 2) << out;
    EXPECT_THAT(printed_, HasSubstr("which is never overwritten")) << out;
    EXPECT_EQ(run(folder_ / "link.safetensors", folder_ / out), 2) << out;
  }
  std::ofstream(folder_ / "model.safetensors.index.json")
      << R"({"weight_map":{"a.weight":"in.safetensors"}})";
  EXPECT_EQ(run(folder_, in), 2) << "a shard";
  EXPECT_EQ(sha256_file(in), digest);
  EXPECT_EQ(files().size(), 4u);
}

TEST_F(QuantizeProgramTest, PathsThatCannotBeWrittenAreErrorsThatSayWhy) {
  const fs::path in = write_floats("in.safetensors", {{"a.weight", {{2, 2}, {0, 1, 2, 3}}}});
  EXPECT_EQ(run(in, folder_ / "no" / "out.safetensors"), 2);
  EXPECT_THAT(printed_, HasSubstr("there is no folder"));
  EXPECT_EQ(run(in, folder_), 2);
  EXPECT_THAT(printed_, HasSubstr("no regular file"));
  EXPECT_EQ(run(in, "/dev/null"), 2);
  EXPECT_EQ(run(in, "/proc/out.safetensors"), 4) << "a folder in which nobody can make a file";
  EXPECT_THAT(printed_, HasSubstr("/proc/out.safetensors: cannot be written"));
  EXPECT_EQ(run(folder_ / "none.pth", out_), 2);
  EXPECT_THAT(printed_, HasSubstr("none.pth: cannot be opened"));
  EXPECT_EQ(run(in, out_, {"--bits", "9"}), 2);
  EXPECT_EQ(run(in, out_, {"--bits", "1"}), 2);
  EXPECT_EQ(run(in, out_, {"--mode", "best"}), 2);
  EXPECT_EQ(run_command({kProgram, in.string()}), 2);
  EXPECT_EQ(run_command({kProgram, "--version"}), 0);
  EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});

  // A symbolic link is followed.
  std::ofstream(folder_ / "old") << "old";
  fs::create_symlink("old", out_);
  EXPECT_EQ(run(in, out_), 0) << printed_;
  EXPECT_TRUE(fs::is_symlink(out_));
  EXPECT_TRUE(Written(folder_ / "old").has("a.weight.codes"));
}

TEST_F(QuantizeProgramTest, CudaThatIsNotThereIsSaidPlainly) {
  const fs::path in = write_floats("in.safetensors", {{"a.weight", {{2, 2}, {0, 1, 2, 3}}}});
  const int code = run(in, out_, {"--device", "cuda"});
  if (code == 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(code, 2);
  EXPECT_THAT(printed_, AllOf(StartsWith("squant-quantize: --device cuda: this "),
                              HasSubstr("--device cpu")));
  EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});
}

TEST_F(QuantizeProgramTest, AFullDiskIsAnErrorAndTheOldFileStays) {
  const fs::path in = write_sparse("in.safetensors", 1024);  // 4 MiB of codes
  std::ofstream(out_) << "old";
  // A limit on file sizes is what a test can have of a full disk without being root.
  EXPECT_EQ(run_command({"bash", "-c", "ulimit -f 1024; exec \"$0\" \"$@\"", kProgram, in.string(),
                         out_.string()}),
            4);
  EXPECT_THAT(printed_,
              AllOf(HasSubstr("out.safetensors: cannot be written"), HasSubstr("File too large")));
  EXPECT_EQ(files(), (std::vector<std::string>{"in.safetensors", "out.safetensors"}));
  EXPECT_EQ(fs::file_size(out_), 3u);
}

TEST_F(QuantizeProgramTest, SignalsLeaveNothingBehind) {
  const fs::path in = write_sparse("in.safetensors", 32768);  // 512 MiB
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Command command({kProgram, in.string(), out_.string()}, logs_, "run");
    ASSERT_TRUE(runner::eventually([&] { return files().size() > 1; }));
    command.send(signal);
    EXPECT_EQ(command.wait(), 128 + signal) << command.output();
    EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});
  }
}

TEST_F(QuantizeProgramTest, ASignalThatIsIgnoredStaysIgnored) {
  const fs::path in = write_sparse("in.safetensors", 8192);
  Command command({"nohup", kProgram, in.string(), out_.string()}, logs_, "run");
  ASSERT_TRUE(runner::eventually([&] { return files().size() > 1; }));
  command.send(SIGHUP);
  EXPECT_EQ(command.wait(), 0) << command.output();
  EXPECT_EQ(files(), (std::vector<std::string>{"in.safetensors", "out.safetensors"}));
}

TEST_F(QuantizeProgramTest, AnInputThatIsCutShortMeanwhileIsAnErrorAndLeavesNothing) {
  const fs::path in = write_sparse("in.safetensors", 32768);
  Command command({kProgram, in.string(), out_.string()}, logs_, "run");
  ASSERT_TRUE(runner::eventually([&] { return files().size() > 1; }));
  fs::resize_file(in, 4096);
  EXPECT_EQ(command.wait(), 2);
  EXPECT_THAT(command.output(), AllOf(StartsWith("squant-quantize: "), HasSubstr("while it was")));
  EXPECT_EQ(files(), std::vector<std::string>{"in.safetensors"});
}

#if !defined(__SANITIZE_ADDRESS__)
// Runs the program and gives its peak resident memory.
std::int64_t peak_bytes(const fs::path& in, const fs::path& out) {
  const pid_t pid = fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, 1);
    dup2(null, 2);
    execl(kProgram.c_str(), kProgram.c_str(), in.c_str(), out.c_str(), "--threads", "2", nullptr);
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  EXPECT_EQ(wait4(pid, &status, 0, &usage), pid);
  EXPECT_EQ(status, 0);
  return usage.ru_maxrss * std::int64_t{1024};
}

TEST_F(QuantizeProgramTest, MemoryDoesNotGrowWithTheFile) {
  // One tensor of 256 MiB, which is more than may be in memory.
  const fs::path small = write_sparse("small.safetensors", 1);
  const fs::path large = write_sparse("large.safetensors", 16384);
  const std::int64_t program = peak_bytes(small, out_);
  EXPECT_LT(peak_bytes(large, out_) - program, std::int64_t{100} << 20);
}
#endif

TEST_F(QuantizeProgramTest, ShardsBecomeOneFileWithADigestOfEach) {
  const HostTensor square{{2, 2}, {0, 1, 2, 3}};
  write_floats("a.safetensors", {{"a.weight", square}});
  write_floats("b.safetensors", {{"b.weight", square}, {"b.bias", {{1}, {4}}}});
  std::ofstream(folder_ / "model.safetensors.index.json")
      << R"({"weight_map":{"a.weight":"a.safetensors","b.weight":"b.safetensors","b.bias":"b.safetensors"}})";
  ASSERT_EQ(run(folder_, out_), 0) << printed_;
  const Written written(out_);
  EXPECT_EQ(written.view().entries.size(), 7u);
  EXPECT_EQ(written.values<float>("b.bias"), std::vector<float>{4});
  const auto& metadata = written.view().metadata;
  EXPECT_EQ(metadata.at("squant.source"), "model.safetensors.index.json");
  EXPECT_EQ(metadata.at("squant.source_sha256"),
            sha256_file(folder_ / "model.safetensors.index.json"));
  EXPECT_EQ(metadata.at("squant.shards_sha256"),
            sha256_file(folder_ / "a.safetensors") + "  a.safetensors\n" +
                sha256_file(folder_ / "b.safetensors") + "  b.safetensors\n");
}

TEST_F(QuantizeProgramTest, TheTableIsReadByOtherPrograms) {
  const fs::path in = kCheckpoints / "module_zip.pth";
  Command command({"bash", "-c", "\"$0\" \"$@\" 2>/dev/null", kProgram, in.string(), out_.string(),
                   "--format", "json"},
                  logs_, "json");
  ASSERT_EQ(command.wait(), 0);
  const auto rows = nlohmann::json::parse(command.output());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["tensor"], "conv.weight");
  EXPECT_EQ(rows[0]["shape"], "3x2x3x3");
  EXPECT_LE(rows[0]["max_channel"].get<double>(), 0.5 + 1e-6);
  EXPECT_GT(rows[0]["sqnr_db"].get<double>(), 10);
}

// With Python's standard library alone; tests/eval/quantize_python.py says what.
TEST_F(QuantizeProgramTest, AReaderOfTheFormatInPythonAgrees) {
  const std::string script = SQUANT_SOURCE_DIR "/tests/eval/quantize_python.py";
  EXPECT_EQ(run_command({"python3", script, "format", kProgram, kCheckpoints / "module_zip.pth",
                         folder_.string()}),
            0)
      << printed_;
}

TEST_F(QuantizeProgramTest, PyTorchLoadsADequantizedCheckpointStrictly) {
  const std::string script = SQUANT_SOURCE_DIR "/tests/eval/quantize_python.py";
  for (const std::string python : {"python3", "/usr/bin/python3"}) {
    const int code = run_command({python, script, "torch", kProgram, "-", folder_.string()});
    if (code == 77 || code == 127) continue;  // no torch, no such Python
    EXPECT_EQ(code, 0) << printed_;
    return;
  }
  GTEST_SKIP() << "no Python with torch: install python3-torch, or put one on PATH";
}

}  // namespace
}  // namespace squant::eval
