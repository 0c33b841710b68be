# make install, and the exported CMake package (find_package(squant) gives squant::quant).
