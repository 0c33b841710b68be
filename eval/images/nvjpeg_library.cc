#include "eval/images/nvjpeg_library.h"

#include <vector>

#include "eval/shared_library.h"

namespace squant::eval {
namespace {

using nvjpeg_abi::Property;

std::vector<std::string> candidates(const std::string& library) {
  return {library + ".so.13", library + ".so.12", SQUANT_NVIDIA_LIBRARIES "/" + library + ".so.13"};
}

int property(const NvjpegLibrary& library, Property which) {
  int value = 0;
  if (library.get_property(which, &value) != nvjpeg_abi::kSuccess)
    throw std::runtime_error("nvJPEG does not say its version");
  return value;
}

// Colours were not interpolated before 12.1: far from what a CPU's decoder gives.
std::string version_of(const NvjpegLibrary& library) {
  const int major = property(library, nvjpeg_abi::kMajorVersion);
  const int minor = property(library, nvjpeg_abi::kMinorVersion);
  const std::string text = std::to_string(major) + "." + std::to_string(minor) + "." +
                           std::to_string(property(library, nvjpeg_abi::kPatchLevel));
  if (major < 12 || (major == 12 && minor < 1))
    throw std::runtime_error("nvJPEG " + text + " is too old here: 12.1 is the first that will do");
  return text;
}

NvjpegLibrary load() {
  NvjpegLibrary found{};
  const SharedLibrary jpeg("nvJPEG", candidates("libnvjpeg"));
  jpeg.find("nvjpegGetProperty", found.get_property);
  jpeg.find("nvjpegCreateEx", found.create_ex);
  jpeg.find("nvjpegDestroy", found.destroy);
  jpeg.find("nvjpegJpegStateCreate", found.state_create);
  jpeg.find("nvjpegJpegStateDestroy", found.state_destroy);
  jpeg.find("nvjpegGetImageInfo", found.get_image_info);
  jpeg.find("nvjpegDecode", found.decode);
  const SharedLibrary cuda("the CUDA runtime", candidates("libcudart"));
  cuda.find("cudaMalloc", found.cuda_malloc);
  cuda.find("cudaFree", found.cuda_free);
  cuda.find("cudaMallocHost", found.cuda_malloc_host);
  cuda.find("cudaFreeHost", found.cuda_free_host);
  cuda.find("cudaMemcpyAsync", found.cuda_memcpy_async);
  cuda.find("cudaStreamCreateWithFlags", found.cuda_stream_create);
  cuda.find("cudaStreamSynchronize", found.cuda_stream_synchronize);
  cuda.find("cudaStreamDestroy", found.cuda_stream_destroy);
  cuda.find("cudaGetErrorString", found.cuda_get_error_string);
  found.version = version_of(found);
  return found;
}

}  // namespace

const NvjpegLibrary& nvjpeg() {
  try {
    static const NvjpegLibrary library = load();
    return library;
  } catch (const std::runtime_error& error) {
    throw NvjpegUnavailable(std::string("decoder nvjpeg: ") + error.what() +
                            " (docs/datasets.md says where it comes from; decoder libjpeg needs "
                            "neither it nor a GPU)");
  }
}

}  // namespace squant::eval
