// nvJPEG's functions and those of the CUDA runtime that go with them, from the libraries as this
// machine has them.
#pragma once

#include <stdexcept>
#include <string>

#include "eval/images/nvjpeg_abi.h"

namespace squant::eval {

// Why no picture can be decoded by nvJPEG on this machine: a library, or a GPU, is missing.
class NvjpegUnavailable : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

struct NvjpegLibrary {
  nvjpeg_abi::GetProperty get_property;
  nvjpeg_abi::CreateEx create_ex;
  nvjpeg_abi::Destroy destroy;
  nvjpeg_abi::StateCreate state_create;
  nvjpeg_abi::StateDestroy state_destroy;
  nvjpeg_abi::GetImageInfo get_image_info;
  nvjpeg_abi::Decode decode;

  nvjpeg_abi::Malloc cuda_malloc;
  nvjpeg_abi::Free cuda_free;
  nvjpeg_abi::MallocHost cuda_malloc_host;
  nvjpeg_abi::FreeHost cuda_free_host;
  nvjpeg_abi::MemcpyAsync cuda_memcpy_async;
  nvjpeg_abi::StreamCreate cuda_stream_create;
  nvjpeg_abi::StreamSynchronize cuda_stream_synchronize;
  nvjpeg_abi::StreamDestroy cuda_stream_destroy;
  nvjpeg_abi::GetErrorString cuda_get_error_string;

  std::string version;  // "13.3.2"
};

// Loads both once: from where the loader looks, or from beside LibTorch, where pip puts them. Needs
// no GPU, and touches none. Throws NvjpegUnavailable with the loader's reason, or for a version
// before 12.1.
const NvjpegLibrary& nvjpeg();

}  // namespace squant::eval
