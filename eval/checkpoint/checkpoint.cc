#include "eval/checkpoint/checkpoint.h"

#include <stdexcept>

#include "eval/checkpoint/digest.h"
#include "eval/checkpoint/safetensors.h"

namespace squant::eval {

Checkpoint load_checkpoint(const std::string& path) {
  const MappedFile file(path);
  Checkpoint checkpoint;
  checkpoint.sha256 = sha256_hex(file.bytes().data(), file.bytes().size());
  checkpoint.sha1 = sha1_hex(file.bytes());
  checkpoint.format = "safetensors";
  checkpoint.tensors = safetensors_state_dict(parse_safetensors(file.bytes(), path), path);
  return checkpoint;
}

}  // namespace squant::eval
