# build_info.h: what a result row says of the program that made it. Written at every build, changed only when it differs.
set(SQUANT_BUILD_INFO_DIR "${CMAKE_BINARY_DIR}/generated")
add_custom_target(squant_build_info_header
  COMMAND "${CMAKE_COMMAND}" -DOUTPUT=${SQUANT_BUILD_INFO_DIR}/squant_build_info.h
    -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
    "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" -DBUILD_TYPE=${CMAKE_BUILD_TYPE}
    -DTORCH_VERSION=${SQUANT_TORCH_FOUND_VERSION} "-DCUDA_VERSION=${CMAKE_CUDA_COMPILER_VERSION}"
    -P "${PROJECT_SOURCE_DIR}/cmake/WriteBuildInfo.cmake"
  BYPRODUCTS "${SQUANT_BUILD_INFO_DIR}/squant_build_info.h"
  COMMENT "Recording version and commit" VERBATIM)
add_library(squant_build_info INTERFACE)
target_include_directories(squant_build_info INTERFACE "${SQUANT_BUILD_INFO_DIR}")
add_dependencies(squant_build_info squant_build_info_header)
