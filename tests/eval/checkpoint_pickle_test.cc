// The pickle machine and the layout of torch's old files, on files put together byte by byte.
#include "eval/checkpoint/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Pieces of pickles.
template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}
std::string text(const std::string& value) {
  return "X" + raw(static_cast<std::uint32_t>(value.size())) + value;
}
std::string number(std::int64_t value) { return "\x8a\x08" + raw(value); }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string tuple(const std::string& items) { return "(" + items + "t"; }
std::string dict(const std::string& items) { return "}(" + items + "u"; }
std::string sizes(std::initializer_list<std::int64_t> values) {
  std::string items;
  for (const auto value : values) items += number(value);
  return tuple(items);
}
std::string pickled(const std::string& body) { return "\x80\x02" + body + "."; }

std::string storage(const std::string& key, std::int64_t count, const std::string& view = "N",
                    const std::string& storage_class = global("torch", "FloatStorage")) {
  return tuple(text("storage") + storage_class + text(key) + text("cpu") + number(count) + view) +
         "Q";
}
std::string tensor(const std::string& stored, std::int64_t offset,
                   std::initializer_list<std::int64_t> shape,
                   std::initializer_list<std::int64_t> strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple(stored + number(offset) + sizes(shape) + sizes(strides) + "\x89" +
               global("collections", "OrderedDict") + ")R") +
         "R";
}

const std::string kHead = pickled("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"s) +
                          pickled("M\xe9\x03"s) + pickled(dict(text("little_endian") + "\x88"));

// An old file with one storage "k" of the floats 0, 1, 2, ...
std::string old_file(const std::string& content, std::int64_t count = 6) {
  std::string file = kHead + pickled(content) + pickled("](" + text("k") + "e") + raw(count);
  for (std::int64_t i = 0; i < count; ++i) file += raw(static_cast<float>(i));
  return file;
}

Checkpoint parse(const std::string& file) {
  return parse_checkpoint(std::as_bytes(std::span(file)), "FILE");
}

std::string error_of(const std::string& file) {
  try {
    parse(file);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

std::string error_of_tensor(std::int64_t offset, std::initializer_list<std::int64_t> shape,
                            std::initializer_list<std::int64_t> strides) {
  return error_of(old_file(dict(text("w") + tensor(storage("k", 6), offset, shape, strides))));
}

std::string error_of_pickle(const std::string& bytes) {
  try {
    PickleMachine(std::as_bytes(std::span(bytes)), 0, "FILE").run();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(accepted)";
}

TEST(PickleTest, AHandMadeFileLoads) {
  const Checkpoint read =
      parse(old_file(dict(text("w") + tensor(storage("k", 6), 1, {2, 2}, {1, 2}))));
  EXPECT_EQ(read.tensors.at("w").shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_THAT(read.tensors.at("w").values, testing::ElementsAre(1, 3, 2, 4));
}

TEST(PickleTest, StorageViewsOfTorchBefore04AreRead) {
  const std::string view = tuple(text("v") + number(2) + number(3));
  EXPECT_THAT(parse(old_file(dict(text("w") + tensor(storage("k", 6, view), 1, {2}, {1}))))
                  .tensors.at("w")
                  .values,
              testing::ElementsAre(3, 4));
  EXPECT_THAT(error_of(old_file(dict(text("w") + tensor(storage("k", 6, view), 2, {2}, {1})))),
              HasSubstr("reaches outside of its storage"));
  for (const auto& [begin, count] : {std::pair{-1, 2}, {5, 2}, {7, 0}, {0, -1}}) {
    const std::string bad = tuple(text("v") + number(begin) + number(count));
    EXPECT_THAT(error_of(old_file(dict(text("w") + tensor(storage("k", 6, bad), 0, {}, {})))),
                HasSubstr("a view outside of storage"));
  }
}

TEST(PickleTest, OrderedDictsAndStringsOfPython2AreRead) {
  const std::string name = "U\x01w";
  const std::string pair = "](" + name + tensor(storage("k", 6), 0, {1}, {1}) + "e";
  const std::string content = global("collections", "OrderedDict") + "](" + pair + "e\x85R}b";
  EXPECT_THAT(parse(old_file(content)).tensors.at("w").values, testing::ElementsAre(0));
  EXPECT_THAT(
      error_of(old_file(global("collections", "OrderedDict") + "](" + "](" + name + "ee\x85R")),
      HasSubstr("no pair"));
  EXPECT_THAT(error_of(old_file(global("collections", "OrderedDict") + "]]\x86R")),
              HasSubstr("more than one argument"));
}

TEST(PickleTest, TensorsOutsideOfTheirStorageAreRefused) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  EXPECT_EQ(error_of_tensor(0, {6}, {1}), "(accepted)");
  EXPECT_EQ(error_of_tensor(5, {3, 1}, {0, kHuge}), "(accepted)")
      << "a stride of a dimension of one is never taken";
  EXPECT_EQ(error_of_tensor(9, {0, 3}, {1, kHuge}), "(accepted)") << "no element lies outside";
  const std::string outside = "a tensor reaches outside of its storage \"k\" of 6 elements";
  EXPECT_THAT(error_of_tensor(1, {6}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(-1, {1}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(INT64_MAX, {1}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(INT64_MIN, {0}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(INT64_MAX, {2}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(5, {2}, {-1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(0, {2, 2}, {1, 5}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(0, {5}, {kHuge}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(0, {3, 3}, {kHuge - 1, kHuge - 1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(0, {kHuge}, {1}), HasSubstr(outside));
  EXPECT_THAT(error_of_tensor(0, {kHuge, 4}, {0, 0}), HasSubstr("overflows"));
  EXPECT_THAT(error_of_tensor(0, {-1}, {1}), HasSubstr("negative"));
  EXPECT_THAT(error_of_tensor(0, {1, 1}, {1}), HasSubstr("differ in length"));
  EXPECT_THAT(error_of_tensor(0, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {}),
              HasSubstr("17 dimensions"));
}

TEST(PickleTest, FewBytesCannotAskForMuchMemory) {
  EXPECT_THAT(error_of_tensor(0, {std::int64_t{1} << 40}, {0}),
              HasSubstr("many more elements than the file has bytes"));
  // A list of a thousand pairs, made into an OrderedDict again and again.
  std::string pairs = "](";
  for (int i = 0; i < 1000; ++i) pairs += "](NNe";
  std::string body = global("collections", "OrderedDict") + "q\x01" + pairs + "e\x85q\x02"s;
  for (int i = 0; i < 5000; ++i) body += "h\x01h\x02R";
  EXPECT_THAT(error_of_pickle(pickled(body)), HasSubstr("takes more than 4194304 steps"));
  EXPECT_THAT(error_of_pickle(std::string(5'000'000, 'N')),
              HasSubstr("takes more than 4194304 steps"));
}

TEST(PickleTest, APickleThatHoldsItselfIsReadAndFreed) {
  EXPECT_EQ(error_of_pickle(pickled("]q\x01h\x01"
                                    "a")),
            "(accepted)");
  EXPECT_THAT(error_of(old_file("}q\x01(" + text("state_dict") + "h\x01" + text("w") +
                                tensor(storage("k", 6), 0, {}, {}) + "u")),
              HasSubstr("the entry \"state_dict\" is a dict"));
}

TEST(PickleTest, DamagedOldFilesSayWhatIsWrong) {
  const std::string one = tensor(storage("k", 6), 0, {6}, {1});
  const std::string good = dict(text("w") + one);
  const std::string list = pickled("](" + text("k") + "e");
  const std::string floats(24, '\0');
  const struct {
    std::string file;
    std::string why;
  } cases[] = {
      {pickled("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"s) + pickled("M\xea\x03"s),
       "format version is the number 1002"},
      {pickled("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"s) + pickled("M\xe9\x03"s) +
           pickled("]"),
       "the writer's system is described by a list"},
      {kHead + pickled(good) + pickled("}"), "the list of storages is a dict"},
      {kHead + pickled(good) + pickled("](" + text("x") + "e"),
       "holds the text \"x\", which no tensor uses"},
      {kHead + pickled(good) +
           pickled("](K\x01"
                   "e"),
       "holds the number 1, which no tensor uses"},
      {kHead + pickled(good) + pickled("]"), "a storage that the file does not hold"},
      {kHead + pickled(good) + list + raw(std::int64_t{6}) + floats.substr(1),
       "ends within storage \"k\""},
      {kHead + pickled(good) + list + raw(std::int64_t{6}).substr(1), "ends before storage \"k\""},
      {kHead + pickled(good) + list + raw(std::int64_t{7}) + floats,
       "has 7 elements, its tensors say 6"},
      {kHead + pickled(good) + list + raw(std::int64_t{-1}) + floats, "has -1 elements"},
      {kHead + pickled(good) + list + raw(INT64_MAX) + floats, "has 9223372036854775807 elements"},
      {kHead + pickled(good) + pickled("](" + text("k") + text("k") + "e") + raw(std::int64_t{6}) +
           floats + raw(std::int64_t{6}) + floats,
       "storage \"k\" stands there twice"},
      {old_file(dict(text("w") + one + text("w") + one)), "the tensor \"w\" stands there twice"},
      {old_file(dict(text("a\nb") + one)), "the tensor name \"a\\x0ab\" has characters"},
      {old_file(dict(text("w") + one + text("v") + tensor(storage("k", 5), 0, {}, {}))),
       "named twice, with different types or sizes"},
      {old_file(dict(text("w") + one + text("v") +
                     tensor(storage("k", 6, "N", global("torch", "HalfStorage")), 0, {}, {}))),
       "named twice"},
      {old_file(dict(text("w") + tensor(storage("k", -1), 0, {}, {}))),
       "impossible number of elements, -1"},
      {old_file(dict(text("w") + tensor(storage("k", INT64_MAX), 0, {}, {}))),
       "impossible number of elements"},
      {old_file("}"), "which no tensor uses"},
  };
  for (const auto& bad : cases)
    EXPECT_THAT(error_of(bad.file), AllOf(testing::StartsWith("FILE: "), HasSubstr(bad.why)));
}

TEST(PickleTest, EveryMisuseOfTheStackIsAnError) {
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  const std::string parameter = global("torch._utils", "_rebuild_parameter");
  const std::pair<std::string, std::string> cases[] = {
      {"", "ends within the pickle"},
      {".", "empty stack"},
      {"NN.", "more than one value"},
      {"(N.", "more than one value"},
      {"N", "ends within the pickle"},
      {"\x80\x03", "pickle protocol 3"},
      {"\x80", "ends within"},
      {"t", "a mark is missing"},
      {"NN(\x86t", "a mark is missing"},  // TUPLE2 takes values from below the mark, which then is
                                          // above the stack
      {"\x85", "a tuple of more values than there are"},
      {"N\x86", "a tuple of more values than there are"},
      {"NN\x87", "a tuple of more values than there are"},
      {"a", "APPEND on an empty stack"},
      {"NNa", "what is appended to is None"},
      {"(e", "APPEND without a list"},
      {"s", "SETITEM on an empty stack"},
      {"]NNs", "what items are set in is a list"},
      {"(u", "SETITEMS without"},
      {"}(Nu", "without pairs"},
      {"q\x01", "nothing to remember"},
      {"N(q\x01", "nothing to remember"},
      {"r\x01\x02\x03", "ends within"},
      {"h\x01", "never stored"},
      {"j\x01\x00\x00\x00"s, "never stored"},
      {"J\x01\x02", "ends within"},
      {"G\x01", "ends within"},
      {"\x8a\x09", "an integer of 9 bytes"},
      {"X\xff\xff\xff\xffz", "ends within"},
      {"U\x05z", "ends within"},
      {"cos", "within the name of a global"},
      {"cos\nsystem\n", "the global \"os.system\" is refused"},
      {"c__builtin__\neval\n", "the global \"__builtin__.eval\" is refused"},
      {"ctorch\n_rebuild_tensor_v2\n", "is refused"},
      {"ccollections\nFloatStorage\n", "is refused"},
      {"ctorch\nQInt8Storage\n", "\"torch.QInt8Storage\" is refused"},
      {"c" + std::string(5000, 'x') + "\ny\n", "xxx...\" is refused"},
      {"Q", "empty stack"},
      {"NQ", "a persistent id is None"},
      {")Q", "not torch's"},
      {tuple(text("module") + "NNNN") + "Q", "not torch's"},
      {tuple(text("storage") + "NNNN") + "Q", "a storage's class is None"},
      {tuple(text("storage") + rebuild + "NNN") + "Q", "no storage class"},
      {tuple(text("storage") + global("torch", "FloatStorage") + "NNN") + "Q",
       "a storage's key is None"},
      {tuple(text("storage") + global("torch", "FloatStorage") + text("k") + "NN") + "Q",
       "number of elements is None"},
      {storage("k", 6, "K\x01"), "a storage's view is the number 1"},
      {storage("k", 6, ")"), "that is not torch's"},
      {"R", "empty stack"},
      {"NNR", "the arguments of a call is None"},
      {"N)R", "what is called is None"},
      {global("torch", "FloatStorage") + ")R", "a storage class is called"},
      {rebuild + ")R", "wrong number of arguments"},
      {rebuild + tuple("NNNNNN") + "R", "a tensor's storage is None"},
      {rebuild + tuple(storage("k", 6) + "NNNNN") + "R", "a tensor's offset is None"},
      {rebuild + tuple(storage("k", 6) + "K\x01NNNN") + "R", "a tensor's shape is None"},
      {rebuild + tuple(storage("k", 6) + "K\x01)NNN") + "R", "a tensor's strides is None"},
      {rebuild + tuple(storage("k", 6) + "K\x01N\x85)NN") + "R", "a tensor's shape is None"},
      {parameter + ")R", "wrong number of arguments"},
      {parameter + tuple("NNN") + "R", "the tensor of a parameter is None"},
      {"b", "empty stack"},
      {"Nb", "attributes of an object is None"},
      {"}b", "BUILD on an empty stack"},
      {"N}b", "the object that BUILD completes is None"},
  };
  for (const auto& [bytes, why] : cases) {
    EXPECT_THAT(error_of_pickle(bytes),
                AllOf(testing::StartsWith("FILE: pickle, byte "), HasSubstr(why)))
        << quote(bytes);
  }
}

TEST(PickleTest, EveryOtherOpcodeIsNamedWithItsOffset) {
  const std::string known = "(.GJKMNQRUXabcehjqrstu})]\x80\x85\x86\x87\x88\x89\x8a";
  int num_refused = 0;
  for (int opcode = 0; opcode < 256; ++opcode) {
    const char c = static_cast<char>(opcode);
    if (known.find(c) != std::string::npos) continue;
    ++num_refused;
    EXPECT_THAT(error_of_pickle("N"s + c + std::string(20, '\n')), HasSubstr("byte 1: opcode 0x"))
        << opcode;
  }
  EXPECT_EQ(num_refused, 256 - static_cast<int>(known.size()));
  EXPECT_THAT(error_of_pickle("\x93"), HasSubstr("opcode 0x93 (STACK_GLOBAL) is refused"));
  EXPECT_THAT(error_of_pickle("i"), HasSubstr("opcode 0x69 (INST) is refused"));
}

TEST(PickleTest, IntegersOfEverySizeAreRead) {
  const auto value_of = [](const std::string& body) {
    const std::string bytes = pickled(body);
    return std::get<std::int64_t>(PickleMachine(std::as_bytes(std::span(bytes)), 0, "FILE").run());
  };
  EXPECT_EQ(value_of("K\xff"), 255);
  EXPECT_EQ(value_of("M\xff\xff"), 65535);
  EXPECT_EQ(value_of("J\xff\xff\xff\xff"), -1);
  EXPECT_EQ(value_of("\x8a\x00"s), 0);
  EXPECT_EQ(value_of("\x8a\x01\xff"), -1);
  EXPECT_EQ(value_of("\x8a\x02\xff\x00"s), 255);
  EXPECT_EQ(value_of(number(INT64_MIN)), INT64_MIN);
}

}  // namespace
}  // namespace squant::eval
