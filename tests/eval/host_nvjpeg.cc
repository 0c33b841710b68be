#include "tests/eval/host_nvjpeg.h"

#include <cstdio>  // jpeglib.h needs it

#include <jpeglib.h>

#include <atomic>
#include <csetjmp>

#include "eval/images/nvjpeg_abi.h"

using namespace squant::eval::nvjpeg_abi;

namespace {

constexpr int kNoGpu = 6;  // NVJPEG_STATUS_EXECUTION_FAILED: what the real one says

std::atomic<int> g_major{13}, g_num_gpus{1}, g_status{0};
std::atomic<int> g_states_made{0}, g_objects{0};

struct Reader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf jump{};

  Reader() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = [](j_common_ptr common) {
      std::longjmp(static_cast<Reader*>(common->client_data)->jump, 1);
    };
    errors.output_message = [](j_common_ptr) {};
    jpeg_create_decompress(&info);
  }
  ~Reader() { jpeg_destroy_decompress(&info); }
};

}  // namespace

namespace squant::eval::nvjpeg_abi {
struct Handle {};
struct State {};
}  // namespace squant::eval::nvjpeg_abi

extern "C" {

void host_nvjpeg_behave(int major, int num_gpus, int status) {
  g_major = major;
  g_num_gpus = num_gpus;
  g_status = status;
}
int host_nvjpeg_states_made(void) { return g_states_made; }
int host_nvjpeg_objects(void) { return g_objects; }

Status nvjpegGetProperty(Property property, int* value) {
  *value = property == kMajorVersion ? g_major.load() : property == kMinorVersion ? 3 : 2;
  return kSuccess;
}

Status nvjpegCreateEx(int backend, void* device_allocator, void* pinned_allocator, unsigned flags,
                      Handle** handle) {
  if (g_num_gpus == 0) return static_cast<Status>(kNoGpu);
  if (backend != kBackendHybrid || device_allocator != nullptr || pinned_allocator != nullptr ||
      flags != kUpsamplingWithInterpolation)
    return static_cast<Status>(2);  // NVJPEG_STATUS_INVALID_PARAMETER
  *handle = new Handle;
  ++g_objects;
  return kSuccess;
}

Status nvjpegDestroy(Handle* handle) {
  delete handle;
  --g_objects;
  return kSuccess;
}

Status nvjpegJpegStateCreate(Handle*, State** state) {
  *state = new State;
  ++g_objects;
  ++g_states_made;
  return kSuccess;
}

Status nvjpegJpegStateDestroy(State* state) {
  delete state;
  --g_objects;
  return kSuccess;
}

Status nvjpegGetImageInfo(Handle*, const unsigned char* data, std::size_t size, int* num_components,
                          int* subsampling, int* widths, int* heights) {
  Reader reader;
  if (setjmp(reader.jump) != 0) return kBadJpeg;
  jpeg_mem_src(&reader.info, data, size);
  jpeg_read_header(&reader.info, TRUE);
  *num_components = reader.info.num_components;
  *subsampling = 0;
  widths[0] = static_cast<int>(reader.info.image_width);
  heights[0] = static_cast<int>(reader.info.image_height);
  return kSuccess;
}

Status nvjpegDecode(Handle*, State*, const unsigned char* data, std::size_t size, int output_format,
                    Image* destination, Stream*) {
  if (g_status != 0) return static_cast<Status>(g_status.load());
  Reader reader;
  if (setjmp(reader.jump) != 0) return kBadJpeg;
  jpeg_mem_src(&reader.info, data, size);
  jpeg_read_header(&reader.info, TRUE);
  if (reader.info.num_components == 4 || output_format != kOutputRgbInterleaved)
    return kJpegNotSupported;
  reader.info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&reader.info);
  while (reader.info.output_scanline < reader.info.output_height) {
    unsigned char* row =
        destination->channel[0] + reader.info.output_scanline * destination->pitch[0];
    jpeg_read_scanlines(&reader.info, &row, 1);
  }
  return kSuccess;
}

}  // extern "C"
