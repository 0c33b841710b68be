# Compiler flags and the few functions that every room's CMakeLists.txt uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(SQUANT_CCACHE ccache)
if(SQUANT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache's manual asks for with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime "${SQUANT_CCACHE}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${SQUANT_CCACHE}")
endif()

# No contraction anywhere: a * b + c is two roundings on every machine (docs/numerics.md).
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
if(SQUANT_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
if(SQUANT_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${SQUANT_SANITIZE}>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer> $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>)
  add_link_options(-fsanitize=${SQUANT_SANITIZE})
endif()

if(SQUANT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SQUANT_FUZZ needs clang: -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link) # the coverage that steers libFuzzer
  add_link_options(-fsanitize=fuzzer-no-link)
endif()

add_library(squant_warnings INTERFACE)
target_compile_options(squant_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion>
  $<$<AND:$<BOOL:${SQUANT_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps in "literal" + std::string that cannot be: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105651
  target_compile_options(squant_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()

# squant_library(NAME SOURCES...): one static library of a room, include root = repository root.
function(squant_library name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:squant_warnings>)
endfunction()

# squant_program(NAME SOURCES...): an executable in build/bin.
function(squant_program name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE squant_warnings)
endfunction()

# squant_manual(PROGRAM): its man page and shell completion, printed by the program itself (tools/cli/manual.h) into
# build/share and installed from there.
include(GNUInstallDirs)
function(squant_manual program)
  set(share "${CMAKE_BINARY_DIR}/share")
  set(man "${share}/man/man1/${program}.1")
  set(bash "${share}/bash-completion/completions/${program}")
  set(zsh "${share}/zsh/site-functions/_${program}")
  file(MAKE_DIRECTORY "${share}/man/man1" "${share}/bash-completion/completions" "${share}/zsh/site-functions")
  add_custom_command(OUTPUT "${man}" "${bash}" "${zsh}"
    COMMAND ${program} --print-man > "${man}"
    COMMAND ${program} --print-bash-completion > "${bash}"
    COMMAND ${program} --print-zsh-completion > "${zsh}"
    DEPENDS ${program} COMMENT "Man page and shell completion of ${program}")
  add_custom_target(${program}-manual ALL DEPENDS "${man}" "${bash}" "${zsh}")
  install(FILES "${man}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
  install(FILES "${bash}" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES "${zsh}" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
endfunction()

# squant_test(NAME SOURCE LIBS... [LABELS label...]): a GoogleTest program, one ctest entry.
# Tests find their data through SQUANT_TESTS_DATA_DIR (tests/data) and SQUANT_SOURCE_DIR.
function(squant_test name source)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS" ${ARGN})
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${name} PRIVATE
    SQUANT_TESTS_DATA_DIR="${PROJECT_SOURCE_DIR}/tests/data"
    SQUANT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SQUANT_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  target_link_libraries(${name} PRIVATE ${ARG_UNPARSED_ARGUMENTS} GTest::gtest_main GTest::gmock squant_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
