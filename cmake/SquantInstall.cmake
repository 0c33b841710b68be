# make install, and the exported CMake package: find_package(squant) gives squant::quant, the algorithm alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS squant-sweep squant-results squant-quantize RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
set_target_properties(squant_quant PROPERTIES EXPORT_NAME quant)
target_include_directories(squant_quant INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/squant>")
install(TARGETS squant_quant EXPORT squant-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES quant/squant.h quant/mode.h quant/activation.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/squant/quant")
install(DIRECTORY experiments DESTINATION "${CMAKE_INSTALL_DATADIR}/squant-sweep")
install(FILES LICENSE README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")

install(EXPORT squant-targets NAMESPACE squant:: DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/squant")
configure_package_config_file(cmake/squant-config.cmake.in "${CMAKE_BINARY_DIR}/squant-config.cmake"
  INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/squant")
write_basic_package_version_file("${CMAKE_BINARY_DIR}/squant-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/squant-config.cmake" "${CMAKE_BINARY_DIR}/squant-config-version.cmake"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/squant")
