#include "eval/checkpoint/torch_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
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

// Copies elements in row-major order. `first` is the tensor's first element; the machine has
// checked that all lie in the storage.
template <std::size_t kSize>
void gather(const PickleTensor& tensor, const std::byte* first, std::byte* out) {
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < tensor.count; ++i, out += kSize) {
    std::memcpy(out, first + static_cast<std::size_t>(offset) * kSize, kSize);
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

void gather(const PickleTensor& tensor, const std::byte* first, std::size_t size, std::byte* out) {
  switch (size) {
    case 1:
      return gather<1>(tensor, first, out);
    case 2:
      return gather<2>(tensor, first, out);
    case 4:
      return gather<4>(tensor, first, out);
    default:  // no storage class has others
      return gather<8>(tensor, first, out);
  }
}

PickleTensor rows_of(const PickleTensor& tensor, std::int64_t first_row, std::int64_t num_rows) {
  PickleTensor rows = tensor;
  if (rows.shape.empty() || rows.count == 0) return rows;
  rows.count = rows.count / rows.shape[0] * num_rows;
  rows.offset += first_row * rows.strides[0];
  rows.shape[0] = num_rows;
  return rows;
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

class OldTorchFile final : public TorchFile {
 public:
  OldTorchFile(std::span<const std::byte> bytes, const std::string& where) : TorchFile(where) {
    PickleMachine version(bytes, kOldMagic.size(), where);
    const PickleValue number = version.run();
    const auto* known = std::get_if<std::int64_t>(&number);
    if (known == nullptr || *known != 1001) {
      fail(where, "its format version is " + describe(number) +
                      "; only 1001, torch's old format, is known");
    }
    PickleMachine system(bytes, version.position(), where);
    check_system(system.run(), where);
    content_.emplace(bytes, system.position(), where);
    take_tensors(content_->run(), bytes.size());
    PickleMachine key_list(bytes, content_->position(), where);
    const PickleValue keys = key_list.run();
    storages_ = read_old_storages(bytes, key_list.position(), keys, content_->storages(), where);
    std::stable_sort(tensors_.begin(), tensors_.end(),
                     [&](const auto& a, const auto& b) { return position(a) < position(b); });
  }

 private:
  const std::byte* position(const TorchTensor& tensor) const {
    return storages_.at(tensor.stored->view.storage->key).data();
  }
  std::span<const std::byte> storage_bytes(const PickleStorage& storage) override {
    return storages_.at(storage.key);
  }

  std::optional<PickleMachine> content_;  // owns what the tensors point to
  std::map<std::string_view, std::span<const std::byte>> storages_;
};

class TorchArchive final : public TorchFile {
 public:
  TorchArchive(const ZipArchive& archive, const std::string& where)
      : TorchFile(where), archive_(archive), folder_(archive_folder(archive)) {
    check_byte_order();
    pickle_ = archive.read(folder_ + std::string(kArchivePickle));
    content_.emplace(pickle_, 0, where);
    take_tensors(content_->run(), archive.total_bytes());
    if (content_->position() != pickle_.size())
      fail(where, "there are bytes behind the pickle in " + quote(kArchivePickle));
    // The archive has them in the order in which the pickle names them first.
    std::map<std::string_view, std::size_t> order;
    for (const PickleStorage& storage : content_->storages())
      order.emplace(storage.key, order.size());
    std::stable_sort(tensors_.begin(), tensors_.end(), [&](const auto& a, const auto& b) {
      return order.at(a.stored->view.storage->key) < order.at(b.stored->view.storage->key);
    });
  }

 private:
  void check_byte_order() const {
    if (!archive_.contains(folder_ + "byteorder")) return;
    const auto order = archive_.read(folder_ + "byteorder");
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    if (text != "little")
      fail(where_, "its byte order is " + quote(text) + "; only little-endian files are read");
  }

  std::span<const std::byte> storage_bytes(const PickleStorage& storage) override {
    if (loaded_ == &storage) return loaded_bytes_;
    const std::string entry = folder_ + "data/" + std::string(storage.key);
    const std::uint64_t expected =
        static_cast<std::uint64_t>(storage.count) * storage.type.size_bytes;
    if (!archive_.contains(entry)) fail(where_, "the storage " + quote(entry) + " is missing");
    if (archive_.size_bytes(entry) != expected) {
      fail(where_, "the storage " + quote(entry) + " has " +
                       std::to_string(archive_.size_bytes(entry)) + " bytes, its tensors say " +
                       std::to_string(expected));
    }
    loaded_ = nullptr;
    loaded_bytes_ = {};  // never two at a time
    loaded_bytes_ = archive_.read(entry);
    loaded_ = &storage;
    return loaded_bytes_;
  }

  const ZipArchive& archive_;
  std::string folder_;
  std::vector<std::byte> pickle_;
  std::optional<PickleMachine> content_;  // owns what the tensors point to
  const PickleStorage* loaded_ = nullptr;
  std::vector<std::byte> loaded_bytes_;
};

}  // namespace

bool is_old_torch_file(std::span<const std::byte> bytes) {
  return bytes.size() >= kOldMagic.size() &&
         std::memcmp(bytes.data(), kOldMagic.data(), kOldMagic.size()) == 0;
}

bool is_torch_archive(const ZipArchive& archive) { return !archive_folder(archive).empty(); }

void TorchFile::take_tensors(const PickleValue& root, std::uint64_t file_bytes) {
  ValueBudget budget(file_bytes, where_);
  std::set<std::string_view> names;
  for (const auto& [key, value] : find_state_dict(root, where_, notes_).items) {
    const auto* name = std::get_if<std::string_view>(&key);
    if (name == nullptr)
      fail(where_, "the state dict has the key " + describe(key) + ", not a name");
    const auto* held = std::get_if<const PickleTensor*>(&value);
    if (held == nullptr)
      fail(where_, "the entry " + quote(*name) + " is " + describe(value) + ", not a tensor");
    if (!std::all_of(name->begin(), name->end(), [](char c) { return c >= ' ' && c <= '~'; })) {
      fail(where_, "the tensor name " + quote(*name) + " has characters that no name has");
    }
    budget.spend((*held)->count);
    if (!names.insert(*name).second)
      fail(where_, "the tensor " + quote(*name) + " stands there twice");
    tensors_.push_back({std::string(*name), *held});
  }
}

std::span<const std::byte> TorchFile::rows(const TorchTensor& tensor, std::int64_t first_row,
                                           std::int64_t num_rows, std::vector<std::byte>& buffer) {
  const PickleTensor rows = rows_of(*tensor.stored, first_row, num_rows);
  if (rows.count == 0) return {};
  const std::size_t element = tensor.type().size_bytes;
  const std::size_t size = static_cast<std::size_t>(rows.count) * element;
  const auto bytes =
      storage_bytes(*rows.view.storage)
          .subspan(static_cast<std::size_t>(rows.view.begin + rows.offset) * element);
  if (is_contiguous(rows)) return bytes.first(size);
  buffer.resize(size);
  gather(rows, bytes.data(), element, buffer.data());
  return buffer;
}

std::unique_ptr<TorchFile> open_old_torch_file(std::span<const std::byte> bytes,
                                               const std::string& where) {
  return std::make_unique<OldTorchFile>(bytes, where);
}

std::unique_ptr<TorchFile> open_torch_archive(const ZipArchive& archive, const std::string& where) {
  return std::make_unique<TorchArchive>(archive, where);
}

StateDict torch_state_dict(TorchFile& file, std::vector<std::string>& notes) {
  notes.insert(notes.end(), file.notes().begin(), file.notes().end());
  StateDict result;
  std::vector<std::byte> buffer;
  std::size_t num_integers = 0;
  for (const TorchTensor& tensor : file.tensors()) {
    if (tensor.type().kind == ElementKind::kInteger) {
      ++num_integers;
      continue;
    }
    const PickleTensor& stored = *tensor.stored;
    const std::int64_t num_rows = stored.shape.empty() ? 1 : stored.shape[0];
    const auto bytes = file.rows(tensor, 0, num_rows, buffer);
    HostTensor read{stored.shape, std::vector<float>(static_cast<std::size_t>(stored.count))};
    to_float32(tensor.type().kind, bytes.data(), stored.count, read.values.data());
    result.emplace(tensor.name, std::move(read));
  }
  if (num_integers > 0)
    notes.push_back("left out " + std::to_string(num_integers) + " integer tensors");
  return result;
}

}  // namespace squant::eval
