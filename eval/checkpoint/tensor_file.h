// A checkpoint on disk of which only a part is in memory at a time: first the table of its tensors,
// then rows of one of them. For checkpoints that are larger than memory; what is small, or needed
// as a whole, comes from checkpoint.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/checkpoint/element_type.h"

namespace squant::eval {

struct StoredTensor {
  std::string name;
  ElementType type;
  std::vector<std::int64_t> shape;  // row-major; empty: a scalar
  std::int64_t count = 0;           // elements

  // The extent of the first dimension; a scalar is one row. Elements of a row.
  std::int64_t num_rows() const { return shape.empty() ? 1 : shape[0]; }
  std::int64_t row_size() const { return num_rows() == 0 ? 0 : count / num_rows(); }
};

class TensorFile {
 public:
  virtual ~TensorFile() = default;

  // Every tensor, integers too, under the names of the file; in the order in which they are read
  // fastest. No name twice.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  // Of .safetensors files; of shards, what any of them says, the first in order of names counts.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // What was not taken from the file as it stands there, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  // The files that are read: the one, or the index and then its shards by name.
  const std::vector<std::string>& paths() const { return paths_; }

  // Rows [first_row, first_row + num_rows) of tensors()[tensor], row-major, in the file's element
  // type; valid until the next call. Throws std::invalid_argument: a wrong checksum, a missing
  // storage.
  virtual std::span<const std::byte> rows(std::size_t tensor, std::int64_t first_row,
                                          std::int64_t num_rows) = 0;

 protected:
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> notes_;
  std::vector<std::string> paths_;
};

// Opens all that load_checkpoint reads, of any size, and an index of shards
// (model.safetensors.index.json, or the folder that holds one). Names are taken as they are: a
// "module." before them stays. In memory is at most what rows() gave, of torch's zip archives a
// storage; a .pth in a .zip is unpacked into a file without a name in `scratch_folder`. The files
// are mapped (mapped_file.h): cut short meanwhile, they raise SIGBUS.
// Throws std::invalid_argument naming the file and what is wrong with it, std::system_error when
// nothing can be unpacked into the folder.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path,
                                             const std::string& scratch_folder);

}  // namespace squant::eval
