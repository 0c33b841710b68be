// What is used of nvJPEG's and the CUDA runtime's C interfaces, as their versions 12 and 13 have
// them: neither header is needed to build, neither library to start.
// Source: docs.nvidia.com/cuda/nvjpeg (API reference), docs.nvidia.com/cuda/cuda-runtime-api.
#pragma once

#include <cstddef>

namespace squant::eval::nvjpeg_abi {

extern "C" {

// nvjpegStatus_t, as far as a difference is made between them.
enum Status : int {
  kSuccess = 0,
  kBadJpeg = 3,
  kJpegNotSupported = 4,
  kAllocatorFailure = 5,
  kImplementationNotSupported = 9,
  kIncompleteBitstream = 10,
};

enum Property : int {
  kMajorVersion = 0,
  kMinorVersion = 1,
  kPatchLevel = 2
};  // libraryPropertyType

inline constexpr int kBackendHybrid =
    1;  // nvjpegBackend_t: Huffman on the CPU, the rest on the GPU
inline constexpr unsigned kUpsamplingWithInterpolation = 1U << 5;  // from 12.1 on
inline constexpr int kOutputRgbInterleaved = 5;                    // nvjpegOutputFormat_t

struct Handle;
struct State;

inline constexpr int kMaxComponents = 4;
struct Image {
  unsigned char* channel[kMaxComponents];
  std::size_t pitch[kMaxComponents];  // bytes from a row to the next
};

struct Stream;  // cudaStream_t points to one
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr int kMemcpyDeviceToHost = 2;

using GetProperty = Status (*)(Property property, int* value);
using CreateEx = Status (*)(int backend, void* device_allocator, void* pinned_allocator,
                            unsigned flags, Handle** handle);
using Destroy = Status (*)(Handle* handle);
using StateCreate = Status (*)(Handle* handle, State** state);
using StateDestroy = Status (*)(State* state);
using GetImageInfo = Status (*)(Handle* handle, const unsigned char* data, std::size_t size,
                                int* num_components, int* subsampling, int* widths, int* heights);
using Decode = Status (*)(Handle* handle, State* state, const unsigned char* data, std::size_t size,
                          int output_format, Image* destination, Stream* stream);

// Of the CUDA runtime: 0 is success.
using Malloc = int (*)(void** memory, std::size_t size);
using Free = int (*)(void* memory);
using MallocHost = int (*)(void** memory, std::size_t size);
using FreeHost = int (*)(void* memory);
using MemcpyAsync = int (*)(void* to, const void* from, std::size_t size, int kind, Stream* stream);
using StreamCreate = int (*)(Stream** stream, unsigned flags);
using StreamSynchronize = int (*)(Stream* stream);
using StreamDestroy = int (*)(Stream* stream);
using GetErrorString = const char* (*)(int error);

}  // extern "C"

}  // namespace squant::eval::nvjpeg_abi
