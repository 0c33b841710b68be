// A reader of the pickles that torch.save writes for state dicts. It builds plain values and calls
// nothing.
//
// Format: the opcodes of Python's pickle protocol 2 (Python library reference, "pickletools"). Only
// those that a state dict needs are known, and of globals only collections.OrderedDict,
// torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter and torch's storage classes,
// each of which stands for data here, never for code. Everything else is an error that names the
// opcode or global and its offset in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "eval/checkpoint/element_type.h"

namespace squant::eval {

struct PickleList;
struct PickleTuple;
struct PickleDict;
struct PickleTensor;

// A storage that the pickle refers to by its key; its bytes stand elsewhere in the file.
struct PickleStorage {
  std::string_view key;
  ElementType type;
  std::int64_t count = 0;  // elements, >= 0; count * type.size_bytes <= 2^62
};

// A part of a storage: files of torch before 0.4 name such views, all others the whole.
struct PickleStorageView {
  const PickleStorage* storage = nullptr;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

struct PickleGlobal {
  enum class Kind : std::uint8_t { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorageClass };
  Kind kind;
  ElementType element{};  // of a storage class
};

// Text points into the file's bytes, the containers into the machine: both must outlive the value.
using PickleValue =
    std::variant<std::monostate, bool, std::int64_t, double, std::string_view, PickleGlobal,
                 PickleStorageView, PickleList*, PickleTuple*, PickleDict*, const PickleTensor*>;

struct PickleList {
  std::vector<PickleValue> items;
};
struct PickleTuple {
  std::vector<PickleValue> items;
};
struct PickleDict {
  std::vector<std::pair<PickleValue, PickleValue>>
      items;  // as written: a key may stand there twice
};

// Every element lies within the view: checked.
struct PickleTensor {
  PickleStorageView view;
  std::int64_t offset = 0;  // elements from the start of the view
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // elements; of the shape's rank, >= 0
  std::int64_t count = 0;             // product of the shape
};

// "a list", "the text ...": for messages.
std::string describe(const PickleValue& value);

// One pass over one pickle. Time and memory are bounded by the number of its opcodes, which is
// limited.
class PickleMachine {
 public:
  // Reads from bytes[begin]; `where` names the file in messages.
  PickleMachine(std::span<const std::byte> bytes, std::size_t begin, std::string where);
  PickleMachine(const PickleMachine&) = delete;
  PickleMachine& operator=(const PickleMachine&) = delete;

  // Runs up to the STOP opcode; called once. Throws std::invalid_argument.
  PickleValue run();

  // After run(): the offset behind the pickle, and the storages that it named, each key once.
  std::size_t position() const { return position_; }
  const std::deque<PickleStorage>& storages() const { return storages_; }

 private:
  void step(std::uint8_t opcode);
  void load_global();
  void load_storage();
  void reduce();
  void build();
  void append(std::size_t first_item);
  void set_items(std::size_t first_item);
  PickleDict* make_ordered_dict(const PickleTuple& arguments);
  const PickleTensor* make_tensor(const PickleTuple& arguments);

  void spend(std::uint64_t num_steps);
  std::uint8_t read_byte();
  std::uint64_t read_little_endian(std::size_t num_bytes);
  std::string_view read_bytes(std::uint64_t size);
  std::string_view read_line();
  void push_tuple(std::size_t num_items);
  PickleValue pop();
  std::size_t pop_mark();
  template <typename T>
  T pop_as(const char* expected);
  template <typename T>
  T as(const PickleValue& value, const char* expected) const;
  std::vector<std::int64_t> as_sizes(const PickleValue& value, const char* expected) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::span<const std::byte> bytes_;
  std::string where_;
  std::size_t position_;
  std::size_t opcode_position_;
  std::uint64_t num_steps_ = 0;
  bool stopped_ = false;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::unordered_map<std::uint64_t, PickleValue> memo_;
  std::unordered_map<std::string_view, PickleStorage*> storage_by_key_;
  // Deques keep addresses; ownership here lets a pickle refer to itself in circles without leaking.
  std::deque<PickleStorage> storages_;
  std::deque<PickleList> lists_;
  std::deque<PickleTuple> tuples_;
  std::deque<PickleDict> dicts_;
  std::deque<PickleTensor> tensors_;
};

}  // namespace squant::eval
