#include "eval/engine/int_conv_onednn.h"

#ifdef SQUANT_HAVE_ONEDNN

#include <dlfcn.h>
#include <dnnl.h>
#include <omp.h>
#include <spdlog/spdlog.h>

#include <array>
#include <stdexcept>
#include <string>

namespace squant::eval::onednn {
namespace {

#define SQ_TEXT_OF(x) #x
#define SQ_TEXT(x) SQ_TEXT_OF(x)

// Every function used, by the library's own declarations.
struct Library {
#define SQ_FUNCTIONS(F)                 \
  F(engine_create)                      \
  F(stream_create)                      \
  F(stream_destroy)                     \
  F(get_effective_cpu_isa)              \
  F(memory_create)                      \
  F(memory_destroy)                     \
  F(memory_desc_get_size)               \
  F(memory_desc_equal)                  \
  F(primitive_attr_create)              \
  F(primitive_attr_destroy)             \
  F(primitive_attr_set_scratchpad_mode) \
  F(primitive_attr_set_fpmath_mode)     \
  F(primitive_desc_destroy)             \
  F(primitive_desc_query)               \
  F(primitive_desc_query_md)            \
  F(primitive_create)                   \
  F(primitive_destroy)                  \
  F(primitive_execute)                  \
  F(reorder_primitive_desc_create)
#if DNNL_VERSION_MAJOR >= 3
#define SQ_VERSION_FUNCTIONS(F)  \
  F(memory_desc_create_with_tag) \
  F(memory_desc_clone)           \
  F(memory_desc_destroy)         \
  F(convolution_forward_primitive_desc_create)
#else
#define SQ_VERSION_FUNCTIONS(F)    \
  F(memory_desc_init_by_tag)       \
  F(convolution_forward_desc_init) \
  F(primitive_desc_create)
#endif
#define SQ_DECLARE(name) decltype(&::dnnl_##name) name = nullptr;
  SQ_FUNCTIONS(SQ_DECLARE)
  SQ_VERSION_FUNCTIONS(SQ_DECLARE)
#undef SQ_DECLARE

  dnnl_engine_t engine = nullptr;
  bool loaded = false;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMayLoad = false;
constexpr int kDeepBind = 0;
#else
constexpr bool kMayLoad = true;
constexpr int kDeepBind = RTLD_DEEPBIND;
#endif

Library load_library() {
  Library library;
  if (!kMayLoad) {
    return library;
  }
  // By name, as the loader finds it, else where it was when this program was built. Kept until the
  // process ends.
  const int flags = RTLD_NOW | RTLD_LOCAL | kDeepBind;
  void* handle = dlopen("libdnnl.so." SQ_TEXT(DNNL_VERSION_MAJOR), flags);
  if (handle == nullptr) {
    handle = dlopen(SQUANT_ONEDNN_FILE, flags);
  }
  if (handle == nullptr) {
    spdlog::warn("oneDNN could not be loaded ({}): integer layers use float units", dlerror());
    return library;
  }
  bool complete = true;
#define SQ_LOAD(name)                                                                    \
  library.name = reinterpret_cast<decltype(library.name)>(dlsym(handle, "dnnl_" #name)); \
  complete = complete && library.name != nullptr;
  SQ_FUNCTIONS(SQ_LOAD)
  SQ_VERSION_FUNCTIONS(SQ_LOAD)
#undef SQ_LOAD
  if (!complete || library.engine_create(&library.engine, dnnl_cpu, 0) != dnnl_success) {
    spdlog::warn("oneDNN is not of version {}, as its headers: integer layers use float units",
                 DNNL_VERSION_MAJOR);
    return library;
  }
  library.loaded = true;
  return library;
}

const Library& library() {
  static const Library loaded = load_library();
  return loaded;
}

void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) {
    throw std::runtime_error(std::string("oneDNN: ") + what + " failed with status " +
                             std::to_string(status));
  }
}
#define SQ_DNNL_CHECK(call) check(library().call, #call)

// Primitives are compiled for as many threads as OpenMP would give the caller; ours run on one.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

dnnl_data_type_t data_type(Type type) {
  switch (type) {
    case Type::kUint8:
      return dnnl_u8;
    case Type::kInt8:
      return dnnl_s8;
    case Type::kInt32:
      return dnnl_s32;
    case Type::kFloat32:
      break;
  }
  return dnnl_f32;
}

// A memory descriptor, owned: a struct in version 2, a handle in version 3.
class MemoryDesc {
 public:
#if DNNL_VERSION_MAJOR >= 3
  using Reference = const_dnnl_memory_desc_t;
  MemoryDesc(const std::vector<dnnl_dim_t>& dims, Type type, dnnl_format_tag_t tag) {
    SQ_DNNL_CHECK(memory_desc_create_with_tag(&desc_, static_cast<int>(dims.size()), dims.data(),
                                              data_type(type), tag));
  }
  explicit MemoryDesc(Reference other) { SQ_DNNL_CHECK(memory_desc_clone(&desc_, other)); }
  ~MemoryDesc() { library().memory_desc_destroy(desc_); }
  Reference get() const { return desc_; }

 private:
  dnnl_memory_desc_t desc_ = nullptr;
#else
  using Reference = const dnnl_memory_desc_t*;
  MemoryDesc(const std::vector<dnnl_dim_t>& dims, Type type, dnnl_format_tag_t tag) {
    SQ_DNNL_CHECK(memory_desc_init_by_tag(&desc_, static_cast<int>(dims.size()), dims.data(),
                                          data_type(type), tag));
  }
  explicit MemoryDesc(Reference other) : desc_(*other) {}
  Reference get() const { return &desc_; }

 private:
  dnnl_memory_desc_t desc_;
#endif

 public:
  MemoryDesc(const MemoryDesc&) = delete;
  MemoryDesc& operator=(const MemoryDesc&) = delete;
  std::size_t size_bytes() const { return library().memory_desc_get_size(get()); }
};

// Binds a descriptor to memory for one execution.
class Memory {
 public:
  Memory(MemoryDesc::Reference desc, const void* data) {
    SQ_DNNL_CHECK(memory_create(&memory_, desc, library().engine, const_cast<void*>(data)));
  }
  ~Memory() { library().memory_destroy(memory_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  dnnl_memory_t get() const { return memory_; }

 private:
  dnnl_memory_t memory_ = nullptr;
};

// One stream a thread; a CPU stream runs its work at once.
class Stream {
 public:
  Stream() { SQ_DNNL_CHECK(stream_create(&stream_, library().engine, dnnl_stream_default_flags)); }
  ~Stream() { library().stream_destroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  dnnl_stream_t get() const { return stream_; }

 private:
  dnnl_stream_t stream_ = nullptr;
};

dnnl_stream_t this_threads_stream() {
  thread_local const Stream stream;
  return stream.get();
}

// The caller gives the working memory; float32 means float32, whatever the environment says.
class Attributes {
 public:
  Attributes() {
    SQ_DNNL_CHECK(primitive_attr_create(&attributes_));
    SQ_DNNL_CHECK(primitive_attr_set_scratchpad_mode(attributes_, dnnl_scratchpad_mode_user));
    SQ_DNNL_CHECK(primitive_attr_set_fpmath_mode(attributes_, dnnl_fpmath_mode_strict));
  }
  ~Attributes() { library().primitive_attr_destroy(attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const_dnnl_primitive_attr_t get() const { return attributes_; }

 private:
  dnnl_primitive_attr_t attributes_ = nullptr;
};

class PrimitiveDesc {
 public:
  PrimitiveDesc() = default;
  ~PrimitiveDesc() {
    if (desc_ != nullptr) {
      library().primitive_desc_destroy(desc_);
    }
  }
  PrimitiveDesc(const PrimitiveDesc&) = delete;
  PrimitiveDesc& operator=(const PrimitiveDesc&) = delete;
  dnnl_primitive_desc_t* out() { return &desc_; }
  dnnl_primitive_desc_t get() const { return desc_; }
  MemoryDesc::Reference memory(dnnl_query_t what) const {
    return library().primitive_desc_query_md(desc_, what, 0);
  }
  std::string implementation() const {
    const char* text = nullptr;
    const dnnl_status_t status =
        library().primitive_desc_query(desc_, dnnl_query_impl_info_str, 0, &text);
    return status == dnnl_success && text != nullptr ? text : "";
  }

 private:
  dnnl_primitive_desc_t desc_ = nullptr;
};

class Primitive {
 public:
  explicit Primitive(const PrimitiveDesc& desc) {
    SQ_DNNL_CHECK(primitive_create(&primitive_, desc.get()));
  }
  ~Primitive() { library().primitive_destroy(primitive_); }
  Primitive(const Primitive&) = delete;
  Primitive& operator=(const Primitive&) = delete;
  template <std::size_t kCount>
  void execute(const std::array<dnnl_exec_arg_t, kCount>& arguments) const {
    SQ_DNNL_CHECK(primitive_execute(primitive_, this_threads_stream(), kCount, arguments.data()));
  }

 private:
  dnnl_primitive_t primitive_ = nullptr;
};

std::vector<dnnl_dim_t> weight_dims(const ConvShape& s) {
  if (s.groups == 1) {
    return {s.out_channels, s.in_channels, s.kernel_h, s.kernel_w};
  }
  return {s.groups, s.out_channels / s.groups, s.in_channels / s.groups, s.kernel_h, s.kernel_w};
}

MemoryDesc plain_weights(const ConvShape& shape, Type type) {
  return MemoryDesc(weight_dims(shape), type, shape.groups == 1 ? dnnl_oihw : dnnl_goihw);
}

// False where the library has nothing for this shape.
bool describe(const ConvShape& s, Type source, Type destination, Type weight_type,
              PrimitiveDesc& desc) {
  const Attributes attributes;
  const MemoryDesc src({1, s.in_channels, s.in_height, s.in_width}, source, dnnl_nhwc);
  const MemoryDesc dst({1, s.out_channels, s.out_height, s.out_width}, destination, dnnl_nhwc);
  const MemoryDesc weights(weight_dims(s), weight_type, dnnl_format_tag_any);
  const dnnl_dims_t strides = {s.stride_h, s.stride_w};
  const dnnl_dims_t before = {s.pad_top, s.pad_left};
  const dnnl_dims_t after = {s.pad_bottom, s.pad_right};
#if DNNL_VERSION_MAJOR >= 3
  const dnnl_dims_t dilates = {0, 0};
  return library().convolution_forward_primitive_desc_create(
             desc.out(), library().engine, dnnl_forward_inference, dnnl_convolution_direct,
             src.get(), weights.get(), nullptr, dst.get(), strides, dilates, before, after,
             attributes.get()) == dnnl_success;
#else
  dnnl_convolution_desc_t conv;
  return library().convolution_forward_desc_init(
             &conv, dnnl_forward_inference, dnnl_convolution_direct, src.get(), weights.get(),
             nullptr, dst.get(), strides, before, after) == dnnl_success &&
         library().primitive_desc_create(desc.out(), &conv, attributes.get(), library().engine,
                                         nullptr) == dnnl_success;
#endif
}

}  // namespace

bool is_available() { return library().loaded; }

bool has_exact_int8() {
  if (!is_available()) {
    return false;
  }
  const dnnl_cpu_isa_t isa = library().get_effective_cpu_isa();
  return isa == dnnl_cpu_isa_avx2_vnni ||
         (isa & dnnl_cpu_isa_avx512_core_vnni) == dnnl_cpu_isa_avx512_core_vnni;
}

class PackedWeights {
 public:
  PackedWeights(MemoryDesc::Reference wanted, const MemoryDesc& plain, const void* weights)
      : desc_(wanted), data_(desc_.size_bytes()) {
    PrimitiveDesc reorder;
    const Attributes attributes;
    SQ_DNNL_CHECK(reorder_primitive_desc_create(reorder.out(), plain.get(), library().engine,
                                                desc_.get(), library().engine, attributes.get()));
    const Primitive primitive(reorder);
    const Memory from(plain.get(), weights);
    const Memory to(desc_.get(), data_.data());
    const MemoryDesc::Reference scratch_desc = reorder.memory(dnnl_query_scratchpad_md);
    const AlignedBuffer scratch_data(library().memory_desc_get_size(scratch_desc));
    const Memory scratch(scratch_desc, scratch_data.data());
    primitive.execute(std::array<dnnl_exec_arg_t, 3>{{{DNNL_ARG_FROM, from.get()},
                                                      {DNNL_ARG_TO, to.get()},
                                                      {DNNL_ARG_SCRATCHPAD, scratch.get()}}});
  }
  bool has_layout(MemoryDesc::Reference other) const {
    return library().memory_desc_equal(desc_.get(), other) != 0;
  }
  const MemoryDesc& desc() const { return desc_; }
  const void* data() const { return data_.data(); }
  std::int64_t size_bytes() const { return static_cast<std::int64_t>(data_.size()); }

 private:
  MemoryDesc desc_;
  AlignedBuffer data_;
};

std::int64_t size_bytes(const PackedWeights& weights) { return weights.size_bytes(); }

struct Convolution::Impl {
  explicit Impl(const PrimitiveDesc& desc)
      : primitive(desc),
        source(desc.memory(dnnl_query_src_md)),
        destination(desc.memory(dnnl_query_dst_md)),
        scratch(desc.memory(dnnl_query_scratchpad_md)),
        scratch_bytes(static_cast<std::int64_t>(scratch.size_bytes())) {}
  Primitive primitive;
  MemoryDesc source, destination, scratch;
  std::int64_t scratch_bytes;
};

Convolution::Convolution() = default;
Convolution::~Convolution() = default;

std::unique_ptr<Convolution> Convolution::create(const ConvShape& shape, Type source,
                                                 Type destination, const void* weights,
                                                 const Convolution* like) {
  if (!is_available()) {
    return nullptr;
  }
  const OneThread one_thread;
  const Type weight_type = source == Type::kFloat32 ? Type::kFloat32 : Type::kInt8;
  PrimitiveDesc desc;
  if (!describe(shape, source, destination, weight_type, desc) ||
      desc.implementation().starts_with("ref")) {
    return nullptr;
  }
  std::unique_ptr<Convolution> result(new Convolution);
  result->impl_ = std::make_unique<Impl>(desc);
  const MemoryDesc::Reference wanted = desc.memory(dnnl_query_weights_md);
  if (like != nullptr && like->weights_->has_layout(wanted)) {
    result->weights_ = like->weights_;
  } else {
    result->weights_ =
        std::make_shared<PackedWeights>(wanted, plain_weights(shape, weight_type), weights);
  }
  return result;
}

void Convolution::run(const void* source, void* destination, Scratch& scratch) const {
  const Memory from(impl_->source.get(), source);
  const Memory weights(weights_->desc().get(), weights_->data());
  const Memory to(impl_->destination.get(), destination);
  const Memory work(impl_->scratch.get(),
                    scratch.get<std::byte>(ScratchUse::kLibrary, impl_->scratch_bytes));
  impl_->primitive.execute(std::array<dnnl_exec_arg_t, 4>{{{DNNL_ARG_SRC, from.get()},
                                                           {DNNL_ARG_WEIGHTS, weights.get()},
                                                           {DNNL_ARG_DST, to.get()},
                                                           {DNNL_ARG_SCRATCHPAD, work.get()}}});
}

}  // namespace squant::eval::onednn

#else

namespace squant::eval::onednn {

bool is_available() { return false; }
bool has_exact_int8() { return false; }

class PackedWeights {};
std::int64_t size_bytes(const PackedWeights&) { return 0; }

struct Convolution::Impl {};
Convolution::Convolution() = default;
Convolution::~Convolution() = default;
std::unique_ptr<Convolution> Convolution::create(const ConvShape&, Type, Type, const void*,
                                                 const Convolution*) {
  return nullptr;
}
void Convolution::run(const void*, void*, Scratch&) const {}

}  // namespace squant::eval::onednn

#endif
