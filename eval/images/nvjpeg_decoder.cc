#include "eval/images/nvjpeg_decoder.h"

#include <stdexcept>
#include <string>

#include "eval/images/resample.h"

namespace squant::eval {
namespace {

using nvjpeg_abi::Status;

// Whether it says something of the file alone, the same on every machine.
bool is_of_the_picture(Status status) {
  return status == nvjpeg_abi::kBadJpeg || status == nvjpeg_abi::kJpegNotSupported ||
         status == nvjpeg_abi::kImplementationNotSupported ||
         status == nvjpeg_abi::kIncompleteBitstream;
}

std::string status_text(Status status) {
  return "nvJPEG status " + std::to_string(status) +
         (status == nvjpeg_abi::kAllocatorFailure ? ", out of memory" : "");
}

void check_status(Status status, const char* what) {
  if (status == nvjpeg_abi::kSuccess) return;
  throw std::runtime_error(std::string("CUDA error: ") + what + ": " + status_text(status));
}

}  // namespace

NvjpegDevice::~NvjpegDevice() {
  if (handle_ != nullptr) library_.destroy(handle_);
}

nvjpeg_abi::Handle* NvjpegDevice::handle() {
  const std::lock_guard lock(mutex_);
  if (handle_ != nullptr) return handle_;
  // One way of decoding, chosen here: by default it depends on what decoders a GPU has.
  const Status status = library_.create_ex(nvjpeg_abi::kBackendHybrid, nullptr, nullptr,
                                           nvjpeg_abi::kUpsamplingWithInterpolation, &handle_);
  if (status == nvjpeg_abi::kSuccess) return handle_;
  handle_ = nullptr;
  if (status == nvjpeg_abi::kAllocatorFailure) check_status(status, "opening nvJPEG");
  throw NvjpegUnavailable("decoder nvjpeg: nvJPEG " + library_.version +
                          " finds no GPU to work on (" + status_text(status) + ")");
}

NvjpegDecoder::NvjpegDecoder(NvjpegDevice& device) : device_(device), library_(device.library()) {
  nvjpeg_abi::Handle* handle = device.handle();
  check(library_.cuda_stream_create(&stream_, nvjpeg_abi::kStreamNonBlocking), "making a stream");
  const Status status = library_.state_create(handle, &state_);
  if (status == nvjpeg_abi::kSuccess) return;
  library_.cuda_stream_destroy(stream_);
  check_status(status, "making a decoder");
}

NvjpegDecoder::~NvjpegDecoder() {
  library_.cuda_stream_synchronize(stream_);
  library_.state_destroy(state_);
  library_.cuda_stream_destroy(stream_);
  if (on_gpu_.memory != nullptr) library_.cuda_free(on_gpu_.memory);
  if (on_host_.memory != nullptr) library_.cuda_free_host(on_host_.memory);
}

void NvjpegDecoder::check(int cuda_error, const char* what) const {
  if (cuda_error == 0) return;
  throw std::runtime_error(std::string("CUDA error: ") + what + ": " +
                           library_.cuda_get_error_string(cuda_error));
}

template <typename Allocate, typename Release>
void NvjpegDecoder::grow(Buffer& buffer, std::size_t size, Allocate allocate, Release release) {
  if (size <= buffer.size) return;
  if (buffer.memory != nullptr) check(release(buffer.memory), "memory of a picture");
  buffer = {};
  check(allocate(&buffer.memory, size), "memory for a picture");
  buffer.size = size;
}

bool NvjpegDecoder::has_size(std::span<const std::uint8_t> file, std::int64_t width,
                             std::int64_t height) const {
  int num_components = 0;
  int subsampling = 0;
  int widths[nvjpeg_abi::kMaxComponents] = {};
  int heights[nvjpeg_abi::kMaxComponents] = {};
  const Status status = library_.get_image_info(device_.handle(), file.data(), file.size(),
                                                &num_components, &subsampling, widths, heights);
  // Read on the host: whatever is wrong, the file is to blame.
  return status == nvjpeg_abi::kSuccess && widths[0] == width && heights[0] == height;
}

const std::uint8_t* NvjpegDecoder::decode(std::span<const std::uint8_t> file, std::int64_t width,
                                          std::int64_t height, std::int64_t first_row,
                                          std::int64_t end_row) {
  // Before anything is written: the memory below is made for this size.
  if (!has_size(file, width, height)) return nullptr;
  const auto row_bytes = static_cast<std::size_t>(width) * 3;
  const std::size_t skipped = static_cast<std::size_t>(first_row) * row_bytes;
  const std::size_t wanted = static_cast<std::size_t>(end_row - first_row) * row_bytes;
  grow(on_gpu_, static_cast<std::size_t>(height) * row_bytes, library_.cuda_malloc,
       library_.cuda_free);
  grow(on_host_, wanted + kRowSlack, library_.cuda_malloc_host, library_.cuda_free_host);

  auto* pixels = static_cast<unsigned char*>(on_gpu_.memory);
  nvjpeg_abi::Image destination{{pixels}, {row_bytes}};
  const Status status = library_.decode(device_.handle(), state_, file.data(), file.size(),
                                        nvjpeg_abi::kOutputRgbInterleaved, &destination, stream_);
  if (is_of_the_picture(status)) {
    check(library_.cuda_stream_synchronize(stream_), "decoding a picture");
    return nullptr;
  }
  check_status(status, "decoding a picture");
  check(library_.cuda_memcpy_async(on_host_.memory, pixels + skipped, wanted,
                                   nvjpeg_abi::kMemcpyDeviceToHost, stream_),
        "copying a picture");
  check(library_.cuda_stream_synchronize(stream_), "decoding a picture");
  return static_cast<const std::uint8_t*>(on_host_.memory);
}

}  // namespace squant::eval
