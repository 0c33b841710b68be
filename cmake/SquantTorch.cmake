# LibTorch, CPU part, as the imported target squant_torch.
#
# Looked for in CMAKE_PREFIX_PATH (a libtorch folder, or site-packages/torch), then in the cache folder that
# scripts/setup.sh fills. find_package(Torch) is avoided: for a CUDA build of LibTorch it wants nvcc, and what is
# linked here is libtorch_cpu and libc10 alone.
set(SQUANT_TORCH_VERSION 2.11.0)
if(DEFINED ENV{XDG_CACHE_HOME})
  set(squant_cache "$ENV{XDG_CACHE_HOME}/squant-sweep")
else()
  set(squant_cache "$ENV{HOME}/.cache/squant-sweep")
endif()
find_path(SQUANT_TORCH_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
  PATH_SUFFIXES include torch/include
  HINTS "${squant_cache}/libtorch-${SQUANT_TORCH_VERSION}/torch")
if(NOT SQUANT_TORCH_INCLUDE_DIR)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/setup.sh (make does), which installs the wheel "
    "torch==${SQUANT_TORCH_VERSION} into ${squant_cache}, or name your own with -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
endif()
cmake_path(GET SQUANT_TORCH_INCLUDE_DIR PARENT_PATH SQUANT_TORCH_DIR)
find_library(SQUANT_TORCH_CPU torch_cpu PATHS "${SQUANT_TORCH_DIR}/lib" NO_DEFAULT_PATH REQUIRED)
find_library(SQUANT_TORCH_C10 c10 PATHS "${SQUANT_TORCH_DIR}/lib" NO_DEFAULT_PATH REQUIRED)
file(STRINGS "${SQUANT_TORCH_INCLUDE_DIR}/torch/headeronly/version.h" squant_torch_version_lines
  REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX MATCHALL "[0-9]+" SQUANT_TORCH_FOUND_VERSION "${squant_torch_version_lines}")
list(JOIN SQUANT_TORCH_FOUND_VERSION "." SQUANT_TORCH_FOUND_VERSION)
message(STATUS "LibTorch ${SQUANT_TORCH_FOUND_VERSION}: ${SQUANT_TORCH_DIR}")

add_library(squant_torch INTERFACE)
target_include_directories(squant_torch SYSTEM INTERFACE
  "${SQUANT_TORCH_INCLUDE_DIR}" "${SQUANT_TORCH_INCLUDE_DIR}/torch/csrc/api/include")
target_link_libraries(squant_torch INTERFACE "${SQUANT_TORCH_CPU}" "${SQUANT_TORCH_C10}")
# The wheel keeps libcudart and libcupti, which libtorch_cpu names, in a sibling package.
target_link_options(squant_torch INTERFACE "LINKER:-rpath,${SQUANT_TORCH_DIR}/lib"
  "LINKER:-rpath-link,${SQUANT_TORCH_DIR}/lib:${SQUANT_TORCH_DIR}/../nvidia/cu13/lib")
