# Every third-party library, from the system's packages (scripts/packages.txt). Nothing is downloaded.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(GTest REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(DEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(MD REQUIRED IMPORTED_TARGET libmd)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)

# The OpenMP build of OpenBLAS, by its own folder: the plain name may be another BLAS, or the pthread build,
# whose threads fight with ours. CMake puts the folder into the run path.
set(openblas_folder "openblas-openmp")
find_library(OPENBLAS_LIBRARY openblas REQUIRED NO_DEFAULT_PATH
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/${openblas_folder} /usr/lib64/${openblas_folder} /usr/lib/${openblas_folder}
        ${OPENBLAS_ROOT}/lib)
find_path(OPENBLAS_INCLUDE cblas.h REQUIRED NO_DEFAULT_PATH
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/${openblas_folder} /usr/include/${openblas_folder}
        ${OPENBLAS_ROOT}/include)
add_library(openblas INTERFACE)
target_link_libraries(openblas INTERFACE ${OPENBLAS_LIBRARY})
target_include_directories(openblas SYSTEM INTERFACE ${OPENBLAS_INCLUDE})
get_filename_component(openblas_run_path ${OPENBLAS_LIBRARY} DIRECTORY)
set(CMAKE_BUILD_RPATH ${openblas_run_path})
set(CMAKE_INSTALL_RPATH ${openblas_run_path})

# oneDNN, for products of bf16: without it --precision bf16 is refused. Found by hand: the package's own CMake file asks
# for OpenCL.
find_library(ONEDNN_LIBRARY dnnl)
find_path(ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp)
add_library(onednn INTERFACE)
if(ONEDNN_LIBRARY AND ONEDNN_INCLUDE)
  target_link_libraries(onednn INTERFACE ${ONEDNN_LIBRARY})
  target_include_directories(onednn SYSTEM INTERFACE ${ONEDNN_INCLUDE})
  target_compile_definitions(onednn INTERFACE ULMPI_ONEDNN)
else()
  message(STATUS "oneDNN (libdnnl-dev) not found: built without --precision bf16")
endif()
