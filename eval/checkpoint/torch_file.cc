#include "eval/checkpoint/torch_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <stdexcept>
#include <string_view>

#include "eval/checkpoint/pickle.h"
#include "eval/checkpoint/quote.h"

namespace squant::eval {
namespace {

// PROTO 2, LONG1 of 10 bytes: 0x1950a86a20f9469cfc6c, STOP.
constexpr std::string_view kOldMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
                                     15);
constexpr std::string_view kArchivePickle = "data.pkl";

// The bytes of a storage, count * size of them.
using StorageBytes = std::function<std::span<const std::byte>(const PickleStorage&)>;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

bool holds_tensors(const PickleValue& value) {
  const auto* dict = std::get_if<PickleDict*>(&value);
  return dict != nullptr &&
         std::any_of((*dict)->items.begin(), (*dict)->items.end(), [](const auto& item) {
           return std::holds_alternative<const PickleTensor*>(item.second);
         });
}

// Training scripts save a dict of several things, of which the state dict is one.
const PickleDict& find_state_dict(const PickleValue& root, const std::string& where,
                                  std::vector<std::string>& notes) {
  const auto* dict = std::get_if<PickleDict*>(&root);
  if (dict == nullptr) fail(where, "the file holds " + describe(root) + ", not a state dict");
  for (const std::string_view wrapper : {"state_dict", "model_state_dict", "model"}) {
    for (const auto& [key, value] : (*dict)->items) {
      const auto* name = std::get_if<std::string_view>(&key);
      if (name == nullptr || *name != wrapper || !holds_tensors(value)) continue;
      notes.push_back("the state dict is the file's entry " + quote(wrapper));
      return *std::get<PickleDict*>(value);
    }
  }
  return **dict;
}

// Tensors may share storages or, with strides of zero, repeat elements, so that few bytes could ask
// for much memory.
class ValueBudget {
 public:
  ValueBudget(std::uint64_t file_bytes, const std::string& where)
      : left_((std::uint64_t{1} << 24) + file_bytes), where_(where) {}
  void spend(std::int64_t count) {
    if (static_cast<std::uint64_t>(count) > left_) {
      fail(where_, "its tensors have many more elements than the file has bytes: refused");
    }
    left_ -= static_cast<std::uint64_t>(count);
  }

 private:
  std::uint64_t left_;
  const std::string& where_;
};

bool is_contiguous(const PickleTensor& tensor) {
  std::int64_t expected = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

// Copies in row-major order. `first` is the tensor's first element; the machine has checked that
// all lie in the storage.
void gather(const PickleTensor& tensor, const std::byte* first, ElementType type, float* out) {
  if (tensor.count == 0) return;
  if (is_contiguous(tensor)) {
    to_float32(type.kind, first, tensor.count, out);
    return;
  }
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < tensor.count; ++i) {
    to_float32(type.kind, first + static_cast<std::size_t>(offset) * type.size_bytes, 1, out + i);
    for (std::size_t d = index.size(); d-- > 0;) {  // the next index, counted like an odometer
      if (++index[d] < tensor.shape[d]) {
        offset += tensor.strides[d];
        break;
      }
      offset -= (index[d] - 1) * tensor.strides[d];
      index[d] = 0;
    }
  }
}

StateDict build_state_dict(const PickleDict& dict, std::uint64_t file_bytes,
                           const StorageBytes& storage_bytes, const std::string& where,
                           std::vector<std::string>& notes) {
  ValueBudget budget(file_bytes, where);
  StateDict result;
  std::size_t num_integers = 0;
  for (const auto& [key, value] : dict.items) {
    const auto* name = std::get_if<std::string_view>(&key);
    if (name == nullptr)
      fail(where, "the state dict has the key " + describe(key) + ", not a name");
    const auto* held = std::get_if<const PickleTensor*>(&value);
    if (held == nullptr)
      fail(where, "the entry " + quote(*name) + " is " + describe(value) + ", not a tensor");
    if (!std::all_of(name->begin(), name->end(), [](char c) { return c >= ' ' && c <= '~'; })) {
      fail(where, "the tensor name " + quote(*name) + " has characters that no name has");
    }
    const PickleTensor& tensor = **held;
    const ElementType type = tensor.view.storage->type;
    if (type.kind == ElementKind::kInteger) {
      ++num_integers;
      continue;
    }
    budget.spend(tensor.count);
    const auto bytes = storage_bytes(*tensor.view.storage);
    HostTensor read{tensor.shape, std::vector<float>(static_cast<std::size_t>(tensor.count))};
    if (tensor.count > 0) {
      const auto first =
          static_cast<std::size_t>(tensor.view.begin + tensor.offset) * type.size_bytes;
      gather(tensor, bytes.data() + first, type, read.values.data());
    }
    if (!result.emplace(std::string(*name), std::move(read)).second) {
      fail(where, "the tensor " + quote(*name) + " stands there twice");
    }
  }
  if (num_integers > 0)
    notes.push_back("left out " + std::to_string(num_integers) + " integer tensors");
  return result;
}

// The old format's third pickle says how the writer's machine stores numbers.
void check_system(const PickleValue& info, const std::string& where) {
  const auto* dict = std::get_if<PickleDict*>(&info);
  if (dict == nullptr) fail(where, "the writer's system is described by " + describe(info));
  for (const auto& [key, value] : (*dict)->items) {
    const auto* name = std::get_if<std::string_view>(&key);
    const auto* little = std::get_if<bool>(&value);
    if (name != nullptr && *name == "little_endian" && (little == nullptr || !*little)) {
      fail(where, "it was written on a big-endian machine, which is not read");
    }
  }
}

// The storages at the end of the old format: for each key an int64 count and that many elements.
std::map<std::string_view, std::span<const std::byte>> read_old_storages(
    std::span<const std::byte> bytes, std::size_t begin, const PickleValue& keys,
    const std::deque<PickleStorage>& storages, const std::string& where) {
  const auto* list = std::get_if<PickleList*>(&keys);
  if (list == nullptr) fail(where, "the list of storages is " + describe(keys));
  std::map<std::string_view, const PickleStorage*> by_key;
  for (const PickleStorage& storage : storages) by_key.emplace(storage.key, &storage);
  std::map<std::string_view, std::span<const std::byte>> result;
  for (const PickleValue& value : (*list)->items) {
    const auto* key = std::get_if<std::string_view>(&value);
    const auto found = key == nullptr ? by_key.end() : by_key.find(*key);
    if (found == by_key.end())
      fail(where, "the list of storages holds " + describe(value) + ", which no tensor uses");
    const PickleStorage& storage = *found->second;
    std::int64_t count = 0;
    if (bytes.size() - begin < sizeof(count))
      fail(where, "the file ends before storage " + quote(*key) + " (truncated?)");
    std::memcpy(&count, bytes.data() + begin, sizeof(count));
    begin += sizeof(count);
    if (count != storage.count) {
      fail(where, "storage " + quote(*key) + " has " + std::to_string(count) +
                      " elements, its tensors say " + std::to_string(storage.count));
    }
    const std::uint64_t size = static_cast<std::uint64_t>(count) * storage.type.size_bytes;
    if (size > bytes.size() - begin)
      fail(where, "the file ends within storage " + quote(*key) + " (truncated?)");
    if (!result.emplace(*key, bytes.subspan(begin, size)).second)
      fail(where, "storage " + quote(*key) + " stands there twice");
    begin += size;
  }
  if (result.size() != by_key.size())
    fail(where, "a tensor uses a storage that the file does not hold");
  if (begin != bytes.size()) {
    fail(where,
         "there are " + std::to_string(bytes.size() - begin) + " bytes behind the last storage");
  }
  return result;
}

// FOLDER/ of the one entry FOLDER/data.pkl; empty when there is none, or more than one.
std::string archive_folder(const ZipArchive& archive) {
  std::string folder;
  for (const std::string& name : archive.names()) {
    const std::size_t slash = name.find('/');
    if (slash == std::string::npos || std::string_view(name).substr(slash + 1) != kArchivePickle)
      continue;
    if (!folder.empty()) return "";
    folder = name.substr(0, slash + 1);
  }
  return folder;
}

}  // namespace

bool is_old_torch_file(std::span<const std::byte> bytes) {
  return bytes.size() >= kOldMagic.size() &&
         std::memcmp(bytes.data(), kOldMagic.data(), kOldMagic.size()) == 0;
}

bool is_torch_archive(const ZipArchive& archive) { return !archive_folder(archive).empty(); }

StateDict read_old_torch_file(std::span<const std::byte> bytes, const std::string& where,
                              std::vector<std::string>& notes) {
  PickleMachine version(bytes, kOldMagic.size(), where);
  const PickleValue number = version.run();
  const auto* known = std::get_if<std::int64_t>(&number);
  if (known == nullptr || *known != 1001) {
    fail(where,
         "its format version is " + describe(number) + "; only 1001, torch's old format, is known");
  }
  PickleMachine system(bytes, version.position(), where);
  check_system(system.run(), where);
  PickleMachine content(bytes, system.position(), where);
  const PickleDict& dict = find_state_dict(content.run(), where, notes);
  PickleMachine key_list(bytes, content.position(), where);
  const PickleValue keys = key_list.run();
  const auto storages =
      read_old_storages(bytes, key_list.position(), keys, content.storages(), where);
  return build_state_dict(
      dict, bytes.size(), [&](const PickleStorage& storage) { return storages.at(storage.key); },
      where, notes);
}

StateDict read_torch_archive(const ZipArchive& archive, const std::string& where,
                             std::vector<std::string>& notes) {
  const std::string folder = archive_folder(archive);
  if (archive.contains(folder + "byteorder")) {
    const auto order = archive.read(folder + "byteorder");
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    if (text != "little")
      fail(where, "its byte order is " + quote(text) + "; only little-endian files are read");
  }
  const std::vector<std::byte> pickle = archive.read(folder + std::string(kArchivePickle));
  PickleMachine content(pickle, 0, where);
  const PickleDict& dict = find_state_dict(content.run(), where, notes);
  if (content.position() != pickle.size())
    fail(where, "there are bytes behind the pickle in " + quote(kArchivePickle));
  std::map<std::string_view, std::vector<std::byte>> storages;
  const auto storage_bytes = [&](const PickleStorage& storage) -> std::span<const std::byte> {
    const auto known = storages.find(storage.key);
    if (known != storages.end()) return known->second;
    const std::string entry = folder + "data/" + std::string(storage.key);
    const std::uint64_t expected =
        static_cast<std::uint64_t>(storage.count) * storage.type.size_bytes;
    if (!archive.contains(entry)) fail(where, "the storage " + quote(entry) + " is missing");
    if (archive.size_bytes(entry) != expected) {
      fail(where, "the storage " + quote(entry) + " has " +
                      std::to_string(archive.size_bytes(entry)) + " bytes, its tensors say " +
                      std::to_string(expected));
    }
    return storages.emplace(storage.key, archive.read(entry)).first->second;
  };
  return build_state_dict(dict, archive.total_bytes(), storage_bytes, where, notes);
}

}  // namespace squant::eval
