// The two file formats of torch.save: the old one (a sequence of pickles, then the storages) and
// the zip archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eval/checkpoint/pickle.h"
#include "eval/checkpoint/state_dict.h"
#include "eval/checkpoint/zip_archive.h"

namespace squant::eval {

// True when `bytes` begin with the magic number of the old format.
bool is_old_torch_file(std::span<const std::byte> bytes);
// True when the archive has the layout of torch.save: one FOLDER/data.pkl.
bool is_torch_archive(const ZipArchive& archive);

// A tensor that a file of torch.save names; several may share a storage.
struct TorchTensor {
  std::string name;
  const PickleTensor* stored = nullptr;  // the file's

  ElementType type() const { return stored->view.storage->type; }
};

// A state dict in a file of torch.save: a dict of tensors, or a dict that holds one under
// "state_dict", "model_state_dict" or "model". Its pickles are read when it is opened, the storages
// when they are asked for. Not thread-safe. All members throw std::invalid_argument.
class TorchFile {
 public:
  virtual ~TorchFile() = default;

  // Storage by storage, as they lie in the file; every name once.
  const std::vector<TorchTensor>& tensors() const { return tensors_; }
  // A line for what was taken for the state dict, where that is not the whole file.
  const std::vector<std::string>& notes() const { return notes_; }

  // Elements [first_row, first_row + num_rows) of the first dimension (a scalar is one row), in
  // row-major order, in the file's element type. They lie in the file's bytes, in `buffer`, or in
  // memory that the next call may replace.
  std::span<const std::byte> rows(const TorchTensor& tensor, std::int64_t first_row,
                                  std::int64_t num_rows, std::vector<std::byte>& buffer);

 protected:
  explicit TorchFile(std::string where) : where_(std::move(where)) {}
  // Takes the tensors out of what the pickle says. `file_bytes` bounds what they may add up to.
  void take_tensors(const PickleValue& root, std::uint64_t file_bytes);
  // The bytes of a storage, count * size of them, until the next call.
  virtual std::span<const std::byte> storage_bytes(const PickleStorage& storage) = 0;

  std::string where_;
  std::vector<TorchTensor> tensors_;
  std::vector<std::string> notes_;
};

// Both borrow the file; `where` names it in messages.
std::unique_ptr<TorchFile> open_old_torch_file(std::span<const std::byte> bytes,
                                               const std::string& where);
std::unique_ptr<TorchFile> open_torch_archive(const ZipArchive& archive, const std::string& where);

// The float tensors as float32; `notes` gets a line for everything that was left out or changed.
StateDict torch_state_dict(TorchFile& file, std::vector<std::string>& notes);

}  // namespace squant::eval
