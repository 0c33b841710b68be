#include "eval/checkpoint/pickle.h"

#include <bit>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

// Named as in Python's pickle.py.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
};

// A state dict takes some 30 opcodes a tensor. The limits bound what a hostile file can make of few
// bytes: a reference of two bytes can stand for a long list.
constexpr std::uint64_t kMaxSteps = std::uint64_t{1} << 22;
constexpr std::size_t kMaxRank = 16;

// The names of opcodes that are refused.
constexpr std::pair<std::uint8_t, const char*> kRefused[] = {
    {'0', "POP"},          {'1', "POP_MARK"},    {'2', "DUP"},           {'F', "FLOAT"},
    {'I', "INT"},          {'L', "LONG"},        {'P', "PERSID"},        {'S', "STRING"},
    {'T', "BINSTRING"},    {'V', "UNICODE"},     {'B', "BINBYTES"},      {'C', "SHORT_BINBYTES"},
    {'d', "DICT"},         {'g', "GET"},         {'i', "INST"},          {'l', "LIST"},
    {'o', "OBJ"},          {'p', "PUT"},         {0x81, "NEWOBJ"},       {0x82, "EXT1"},
    {0x83, "EXT2"},        {0x84, "EXT4"},       {0x8b, "LONG4"},        {0x8c, "SHORT_BINUNICODE"},
    {0x8d, "BINUNICODE8"}, {0x8e, "BINBYTES8"},  {0x8f, "EMPTY_SET"},    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},   {0x92, "NEWOBJ_EX"},  {0x93, "STACK_GLOBAL"}, {0x94, "MEMOIZE"},
    {0x95, "FRAME"},       {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"},  {0x98, "READONLY_BUFFER"},
};

const char* refused_name(std::uint8_t opcode) {
  for (const auto& [refused, name] : kRefused) {
    if (refused == opcode) return name;
  }
  return "unknown to Python";
}

// True when every element of the tensor lies in its view.
bool lies_within_view(const PickleTensor& tensor) {
  std::int64_t last = tensor.offset;
  if (last < 0) return false;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (tensor.strides[i] < 0) return false;
    if (tensor.count == 0) continue;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach)) return false;
    if (__builtin_add_overflow(last, reach, &last)) return false;
  }
  return tensor.count == 0 || last < tensor.view.count;
}

}  // namespace

std::string describe(const PickleValue& value) {
  struct Describe {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool) const { return "a truth value"; }
    std::string operator()(std::int64_t number) const {
      return "the number " + std::to_string(number);
    }
    std::string operator()(double) const { return "a floating-point number"; }
    std::string operator()(std::string_view text) const { return "the text " + quote(text); }
    std::string operator()(const PickleGlobal&) const { return "a class or function"; }
    std::string operator()(const PickleStorageView&) const { return "a storage"; }
    std::string operator()(const PickleList*) const { return "a list"; }
    std::string operator()(const PickleTuple*) const { return "a tuple"; }
    std::string operator()(const PickleDict*) const { return "a dict"; }
    std::string operator()(const PickleTensor*) const { return "a tensor"; }
  };
  return std::visit(Describe{}, value);
}

PickleMachine::PickleMachine(std::span<const std::byte> bytes, std::size_t begin, std::string where)
    : bytes_(bytes), where_(std::move(where)), position_(begin), opcode_position_(begin) {}

PickleValue PickleMachine::run() {
  while (!stopped_) {
    opcode_position_ = position_;
    spend(1);
    step(read_byte());
  }
  const PickleValue result = pop();
  if (!stack_.empty() || !marks_.empty()) fail("the pickle ends with more than one value");
  return result;
}

void PickleMachine::step(std::uint8_t opcode) {
  switch (opcode) {
    case kProto: {
      const int protocol = read_byte();
      if (protocol != 2)
        fail("pickle protocol " + std::to_string(protocol) + "; only 2, torch.save's own, is read");
      return;
    }
    case kStop:
      stopped_ = true;
      return;
    case kMark:
      marks_.push_back(stack_.size());
      return;

    case kNone:
      stack_.emplace_back(std::monostate{});
      return;
    case kNewTrue:
      stack_.emplace_back(true);
      return;
    case kNewFalse:
      stack_.emplace_back(false);
      return;
    case kBinInt:
      stack_.emplace_back(std::int64_t{static_cast<std::int32_t>(read_little_endian(4))});
      return;
    case kBinInt1:
      stack_.emplace_back(static_cast<std::int64_t>(read_little_endian(1)));
      return;
    case kBinInt2:
      stack_.emplace_back(static_cast<std::int64_t>(read_little_endian(2)));
      return;
    case kLong1: {
      const std::size_t size = read_byte();
      if (size > 8) fail("an integer of " + std::to_string(size) + " bytes");
      std::uint64_t value = read_little_endian(size);
      if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0)
        value |= ~std::uint64_t{0} << (8 * size);
      stack_.emplace_back(static_cast<std::int64_t>(value));
      return;
    }
    case kBinFloat: {  // the one big-endian number of the format
      std::uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) bits = bits << 8 | read_byte();
      stack_.emplace_back(std::bit_cast<double>(bits));
      return;
    }
    case kBinUnicode:
      stack_.emplace_back(read_bytes(read_little_endian(4)));
      return;
    case kShortBinString:
      stack_.emplace_back(read_bytes(read_little_endian(1)));
      return;

    case kEmptyList:
      stack_.emplace_back(&lists_.emplace_back());
      return;
    case kEmptyDict:
      stack_.emplace_back(&dicts_.emplace_back());
      return;
    case kEmptyTuple:
      push_tuple(0);
      return;
    case kTuple1:
      push_tuple(1);
      return;
    case kTuple2:
      push_tuple(2);
      return;
    case kTuple3:
      push_tuple(3);
      return;
    case kTuple:
      push_tuple(stack_.size() - pop_mark());
      return;
    case kAppend:
      if (stack_.size() < 2) fail("APPEND on an empty stack");
      append(stack_.size() - 1);
      return;
    case kAppends:
      append(pop_mark());
      return;
    case kSetItem:
      if (stack_.size() < 3) fail("SETITEM on an empty stack");
      set_items(stack_.size() - 2);
      return;
    case kSetItems:
      set_items(pop_mark());
      return;

    case kBinPut:
    case kLongBinPut: {
      const std::uint64_t index = read_little_endian(opcode == kBinPut ? 1 : 4);
      if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size()))
        fail("nothing to remember");
      memo_[index] = stack_.back();
      return;
    }
    case kBinGet:
    case kLongBinGet: {
      const auto found = memo_.find(read_little_endian(opcode == kBinGet ? 1 : 4));
      if (found == memo_.end()) fail("a reference to a value that was never stored");
      stack_.push_back(found->second);
      return;
    }

    case kGlobal:
      load_global();
      return;
    case kBinPersId:
      load_storage();
      return;
    case kReduce:
      reduce();
      return;
    case kBuild:
      build();
      return;
    default:
      fail("opcode 0x" + hex_byte(opcode) + " (" + refused_name(opcode) +
           ") is refused: a state dict does not need it. Save the state dict alone: "
           "torch.save(model.state_dict(), PATH)");
  }
}

void PickleMachine::load_global() {
  const std::string_view module = read_line();
  const std::string_view name = read_line();
  if (module == "collections" && name == "OrderedDict") {
    stack_.emplace_back(PickleGlobal{PickleGlobal::Kind::kOrderedDict});
  } else if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
    stack_.emplace_back(PickleGlobal{PickleGlobal::Kind::kRebuildTensor});
  } else if (module == "torch._utils" && name == "_rebuild_parameter") {
    stack_.emplace_back(PickleGlobal{PickleGlobal::Kind::kRebuildParameter});
  } else if (const auto element = torch_storage_element_type(name); module == "torch" && element) {
    stack_.emplace_back(PickleGlobal{PickleGlobal::Kind::kStorageClass, *element});
  } else {
    fail("the global " + quote(std::string(module) + "." + std::string(name)) +
         " is refused: a state dict of plain tensors does not need it. Save the state dict alone: "
         "torch.save(model.state_dict(), PATH)");
  }
}

// ("storage", class, key, location, number of elements[, None or (view key, first element, number
// of elements)])
void PickleMachine::load_storage() {
  const auto& id = pop_as<PickleTuple*>("a persistent id")->items;
  if (id.size() < 5 || id.size() > 6 ||
      as<std::string_view>(id[0], "the kind of a persistent id") != "storage") {
    fail("a persistent id that is not torch's for a storage");
  }
  const auto storage_class = as<PickleGlobal>(id[1], "a storage's class");
  if (storage_class.kind != PickleGlobal::Kind::kStorageClass)
    fail("a storage whose class is no storage class");
  const auto key = as<std::string_view>(id[2], "a storage's key");
  const auto count = as<std::int64_t>(id[4], "a storage's number of elements");
  if (count < 0 || count > (std::int64_t{1} << 62) /
                               static_cast<std::int64_t>(storage_class.element.size_bytes)) {
    fail("storage " + quote(key) + " has an impossible number of elements, " +
         std::to_string(count));
  }
  PickleStorage*& storage = storage_by_key_[key];
  if (storage == nullptr) {
    storage = &storages_.emplace_back(PickleStorage{key, storage_class.element, count});
  } else if (storage->count != count || storage->type != storage_class.element) {
    fail("storage " + quote(key) + " is named twice, with different types or sizes");
  }
  PickleStorageView view{storage, 0, count};
  if (id.size() == 6 && !std::holds_alternative<std::monostate>(id[5])) {
    const auto& part = as<PickleTuple*>(id[5], "a storage's view")->items;
    if (part.size() != 3) fail("a view of storage " + quote(key) + " that is not torch's");
    view.begin = as<std::int64_t>(part[1], "a view's first element");
    view.count = as<std::int64_t>(part[2], "a view's number of elements");
    if (view.begin < 0 || view.count < 0 || view.begin > count || view.count > count - view.begin) {
      fail("a view outside of storage " + quote(key));
    }
  }
  stack_.emplace_back(view);
}

void PickleMachine::reduce() {
  const auto& arguments = *pop_as<PickleTuple*>("the arguments of a call");
  const auto callee = pop_as<PickleGlobal>("what is called");
  switch (callee.kind) {
    case PickleGlobal::Kind::kOrderedDict:
      stack_.emplace_back(make_ordered_dict(arguments));
      return;
    case PickleGlobal::Kind::kRebuildTensor:
      stack_.emplace_back(make_tensor(arguments));
      return;
    case PickleGlobal::Kind::kRebuildParameter:  // (tensor, requires_grad, hooks)
      if (arguments.items.size() != 3) fail("_rebuild_parameter with a wrong number of arguments");
      stack_.emplace_back(as<const PickleTensor*>(arguments.items[0], "the tensor of a parameter"));
      return;
    case PickleGlobal::Kind::kStorageClass:
      fail("a storage class is called");
  }
}

// Python 3 writes OrderedDict() and then its items, Python 2 OrderedDict([[key, value], ...]).
PickleDict* PickleMachine::make_ordered_dict(const PickleTuple& arguments) {
  PickleDict& dict = dicts_.emplace_back();
  if (arguments.items.empty()) return &dict;
  if (arguments.items.size() != 1) fail("OrderedDict with more than one argument");
  const auto& pairs = as<PickleList*>(arguments.items[0], "the items of an OrderedDict")->items;
  spend(pairs.size());
  for (const PickleValue& pair : pairs) {
    const auto& items = as<PickleList*>(pair, "an item of an OrderedDict")->items;
    if (items.size() != 2) fail("an item of an OrderedDict that is no pair");
    dict.items.emplace_back(items[0], items[1]);
  }
  return &dict;
}

// (storage, offset, shape, strides, requires_grad, hooks[, metadata])
const PickleTensor* PickleMachine::make_tensor(const PickleTuple& arguments) {
  const auto& items = arguments.items;
  if (items.size() < 6 || items.size() > 7)
    fail("_rebuild_tensor_v2 with a wrong number of arguments");
  PickleTensor tensor;
  tensor.view = as<PickleStorageView>(items[0], "a tensor's storage");
  tensor.offset = as<std::int64_t>(items[1], "a tensor's offset");
  tensor.shape = as_sizes(items[2], "a tensor's shape");
  tensor.strides = as_sizes(items[3], "a tensor's strides");
  const auto count = element_count(tensor.shape);
  if (!count) fail("a tensor's shape is negative or overflows");
  tensor.count = *count;
  if (tensor.strides.size() != tensor.shape.size())
    fail("a tensor's shape and strides differ in length");
  if (!lies_within_view(tensor)) {
    fail("a tensor reaches outside of its storage " + quote(tensor.view.storage->key) + " of " +
         std::to_string(tensor.view.count) + " elements");
  }
  return &tensors_.emplace_back(std::move(tensor));
}

// Attributes of an OrderedDict (a state dict's _metadata): not needed.
void PickleMachine::build() {
  pop_as<PickleDict*>("the attributes of an object");
  if (stack_.empty()) fail("BUILD on an empty stack");
  as<PickleDict*>(stack_.back(), "the object that BUILD completes");
}

void PickleMachine::append(std::size_t first_item) {
  if (first_item == 0) fail("APPEND without a list");
  auto& items = as<PickleList*>(stack_[first_item - 1], "what is appended to")->items;
  items.insert(items.end(), stack_.begin() + static_cast<std::ptrdiff_t>(first_item), stack_.end());
  stack_.resize(first_item);
}

void PickleMachine::set_items(std::size_t first_item) {
  if (first_item == 0 || (stack_.size() - first_item) % 2 != 0)
    fail("SETITEMS without a dict or without pairs");
  auto& items = as<PickleDict*>(stack_[first_item - 1], "what items are set in")->items;
  for (std::size_t i = first_item; i < stack_.size(); i += 2)
    items.emplace_back(stack_[i], stack_[i + 1]);
  stack_.resize(first_item);
}

void PickleMachine::spend(std::uint64_t num_steps) {
  num_steps_ += num_steps;
  if (num_steps_ > kMaxSteps)
    fail("the pickle takes more than " + std::to_string(kMaxSteps) + " steps");
}

std::uint8_t PickleMachine::read_byte() { return static_cast<std::uint8_t>(read_bytes(1)[0]); }

std::uint64_t PickleMachine::read_little_endian(std::size_t num_bytes) {
  const std::string_view raw = read_bytes(num_bytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < num_bytes; ++i) {
    value |= std::uint64_t{static_cast<std::uint8_t>(raw[i])} << (8 * i);
  }
  return value;
}

std::string_view PickleMachine::read_bytes(std::uint64_t size) {
  if (position_ > bytes_.size() || size > bytes_.size() - position_)
    fail("the file ends within the pickle (truncated?)");
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, size);
  position_ += size;
  return text;
}

std::string_view PickleMachine::read_line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                              bytes_.size() - position_);
  const std::size_t length = rest.find('\n');
  if (length == std::string_view::npos)
    fail("the file ends within the name of a global (truncated?)");
  position_ += length + 1;
  return rest.substr(0, length);
}

void PickleMachine::push_tuple(std::size_t num_items) {
  if (num_items > stack_.size()) fail("a tuple of more values than there are");
  PickleTuple& tuple = tuples_.emplace_back();
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(num_items);
  tuple.items.assign(first, stack_.end());
  stack_.erase(first, stack_.end());
  stack_.emplace_back(&tuple);
}

PickleValue PickleMachine::pop() {
  if (stack_.empty()) fail("a value is taken from an empty stack");
  const PickleValue value = stack_.back();
  stack_.pop_back();
  return value;
}

std::size_t PickleMachine::pop_mark() {
  if (marks_.empty() || marks_.back() > stack_.size()) fail("a mark is missing");
  const std::size_t height = marks_.back();
  marks_.pop_back();
  return height;
}

template <typename T>
T PickleMachine::pop_as(const char* expected) {
  return as<T>(pop(), expected);
}

template <typename T>
T PickleMachine::as(const PickleValue& value, const char* expected) const {
  const T* typed = std::get_if<T>(&value);
  if (typed == nullptr) fail(std::string(expected) + " is " + describe(value));
  return *typed;
}

std::vector<std::int64_t> PickleMachine::as_sizes(const PickleValue& value,
                                                  const char* expected) const {
  std::vector<std::int64_t> sizes;
  const auto& items = as<PickleTuple*>(value, expected)->items;
  if (items.size() > kMaxRank)
    fail(std::string(expected) + " has " + std::to_string(items.size()) + " dimensions");
  for (const PickleValue& item : items) {
    sizes.push_back(as<std::int64_t>(item, expected));
  }
  return sizes;
}

void PickleMachine::fail(const std::string& what) const {
  throw std::invalid_argument(where_ + ": pickle, byte " + std::to_string(opcode_position_) + ": " +
                              what);
}

}  // namespace squant::eval
