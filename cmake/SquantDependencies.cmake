# Every library this project links. All but LibTorch come from the distribution (scripts/setup.sh installs them).
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
# By the compiler's flag and not by the library's path: CMake warns for every program that LibTorch's folder has a
# libgomp too. (It is the one that is loaded, by all.)
set_target_properties(OpenMP::OpenMP_CXX PROPERTIES
  INTERFACE_LINK_LIBRARIES "" INTERFACE_LINK_OPTIONS "$<HOST_LINK:${OpenMP_CXX_FLAGS}>")
find_package(MPI REQUIRED COMPONENTS C)      # the C interface only: Open MPI's C++ one is gone in 5.0
find_package(SQLite3 REQUIRED)
find_package(SQLiteCpp REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_path(SQUANT_XXHASH_INCLUDE xxhash.h REQUIRED)
# Debian's CMake files of libzip want its command-line tools installed: found by hand instead.
find_path(SQUANT_LIBZIP_INCLUDE zip.h REQUIRED)
find_library(SQUANT_LIBZIP zip REQUIRED)
add_library(squant_libzip INTERFACE)
target_include_directories(squant_libzip SYSTEM INTERFACE "${SQUANT_LIBZIP_INCLUDE}")
target_link_libraries(squant_libzip INTERFACE "${SQUANT_LIBZIP}")
if(SQUANT_TESTS)
  find_package(GTest REQUIRED)
endif()
if(SQUANT_BENCH)
  find_package(benchmark REQUIRED)
endif()

# Debian's package of header-only xxHash has no CMake files.
add_library(squant_xxhash INTERFACE)
target_include_directories(squant_xxhash SYSTEM INTERFACE "${SQUANT_XXHASH_INCLUDE}")
target_compile_definitions(squant_xxhash INTERFACE XXH_INLINE_ALL)

# oneDNN: exact int8 convolution on CPUs with VNNI; without it the integer engine uses float units (docs/numerics.md).
# Found by hand: Debian's CMake files of it want OpenCL's, which its package does not bring.
find_path(SQUANT_ONEDNN_INCLUDE dnnl.h)
find_library(SQUANT_ONEDNN dnnl)
if(SQUANT_ONEDNN_INCLUDE AND SQUANT_ONEDNN)
  set(SQUANT_HAVE_ONEDNN ON)
  message(STATUS "oneDNN ${SQUANT_ONEDNN}: int8 convolutions on")
else()
  set(SQUANT_HAVE_ONEDNN OFF)
  message(STATUS "oneDNN not found: the integer engine uses float units")
endif()

include(SquantTorch)
