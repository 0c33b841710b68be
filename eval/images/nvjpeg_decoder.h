// JPEG files to pixels by nvJPEG, on the process's current GPU. Its pixels are near libjpeg's, not
// equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "eval/images/nvjpeg_library.h"

namespace squant::eval {

// nvJPEG on a GPU, shared by the decoders of all threads, which it must outlive.
class NvjpegDevice {
 public:
  // Touches no GPU yet.
  explicit NvjpegDevice(const NvjpegLibrary& library) : library_(library) {}
  ~NvjpegDevice();
  NvjpegDevice(const NvjpegDevice&) = delete;
  NvjpegDevice& operator=(const NvjpegDevice&) = delete;

  const NvjpegLibrary& library() const { return library_; }
  // Opened by the first call, from whatever thread. Throws NvjpegUnavailable where there is no GPU,
  // std::runtime_error "CUDA error ..." where its memory does not suffice.
  nvjpeg_abi::Handle* handle();

 private:
  const NvjpegLibrary& library_;
  std::mutex mutex_;
  nvjpeg_abi::Handle* handle_ = nullptr;
};

// Keeps its stream and its memory between pictures. Not thread-safe: one for each thread.
class NvjpegDecoder {
 public:
  // Throws as NvjpegDevice::handle() does.
  explicit NvjpegDecoder(NvjpegDevice& device);
  ~NvjpegDecoder();
  NvjpegDecoder(const NvjpegDecoder&) = delete;
  NvjpegDecoder& operator=(const NvjpegDecoder&) = delete;

  // Rows [first_row, end_row) of a picture of width x height pixels: [rows, width, 3] RGB with
  // kRowSlack readable bytes behind, valid until the next call. Null: nvJPEG does not decode this
  // file, or takes it for one of another size. Throws std::runtime_error "CUDA error ..." where the
  // GPU fails: then no pixels of whatever decoder stand for the picture.
  const std::uint8_t* decode(std::span<const std::uint8_t> file, std::int64_t width,
                             std::int64_t height, std::int64_t first_row, std::int64_t end_row);

 private:
  // Memory of the GPU, or of the host where the GPU can reach it; grows.
  struct Buffer {
    void* memory = nullptr;
    std::size_t size = 0;
  };
  template <typename Allocate, typename Release>
  void grow(Buffer& buffer, std::size_t size, Allocate allocate, Release release);
  bool has_size(std::span<const std::uint8_t> file, std::int64_t width, std::int64_t height) const;
  void check(int cuda_error, const char* what) const;

  NvjpegDevice& device_;
  const NvjpegLibrary& library_;
  nvjpeg_abi::State* state_ = nullptr;
  nvjpeg_abi::Stream* stream_ = nullptr;
  Buffer on_gpu_, on_host_;
};

}  // namespace squant::eval
