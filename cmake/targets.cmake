# How this project builds things: one set of options, one static library a folder.
add_library(ulmpi_options INTERFACE)
target_include_directories(ulmpi_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(ulmpi_options INTERFACE ULMPI_VERSION="${PROJECT_VERSION}" OMPI_SKIP_MPICXX)
target_compile_options(ulmpi_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  -Wno-restrict  # GCC 12 sees overlaps in std::string that are not there (bug 105651)
  $<$<BOOL:${ULMPI_WERROR}>:-Werror>)
target_link_libraries(ulmpi_options INTERFACE OpenMP::OpenMP_CXX fmt::fmt nlohmann_json::nlohmann_json)
if(ULMPI_SANITIZE)
  target_compile_options(ulmpi_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(ulmpi_options INTERFACE -fsanitize=address,undefined)
endif()
if(ULMPI_SANITIZE_THREADS)
  target_compile_options(ulmpi_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(ulmpi_options INTERFACE -fsanitize=thread)
endif()

# knows_source(FILES...): of a folder, the few that name the folder of the source. Others compile to the same bytes
# wherever it lies.
function(knows_source)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_DEFINITIONS ULMPI_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endfunction()

# add_floor(NAME SOURCES ... LIBRARIES ...): the static library of a folder.
function(add_floor name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES;DEFINITIONS")
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC ulmpi_options ${arg_LIBRARIES})
  target_compile_definitions(${name} PUBLIC ${arg_DEFINITIONS})
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${ULMPI_UNITY} UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# PROCESSORS of a test are half cores: one that keeps a core busy has 2, and scripts/test.sh lets ctest run twice
# as many and one more as there are cores.
#
# add_ulmpi_test(NAME [RANKS 1 2 4] SOURCES ... LIBRARIES ...): one executable; run once, or once per rank count.
function(add_ulmpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "RANKS;SOURCES;LIBRARIES")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 400)
  endif()
  add_executable(${name} ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${ULMPI_UNITY} UNITY_BUILD_BATCH_SIZE 12)
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} test_main)
  set(environment "OMP_NUM_THREADS=2;OMP_WAIT_POLICY=passive;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_mpi_yield_when_idle=1"
    "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_hwloc_base_binding_policy=none"
    "OMPI_MCA_btl_base_warn_component_unused=0;ASAN_OPTIONS=detect_leaks=0")
  if(NOT arg_RANKS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES PROCESSORS 2 TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${environment}")
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ${name}.${ranks} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}>)
    set(processors 4)
    if(ranks EQUAL 1)
      set(processors 2)
    endif()
    set_tests_properties(${name}.${ranks} PROPERTIES PROCESSORS ${processors} TIMEOUT ${arg_TIMEOUT} LABELS mpi ENVIRONMENT "${environment}")
  endforeach()
endfunction()

# add_real_floor(NAME ...): as add_floor, twice: NAME with float, which does the work, and NAME_double for the gradient
# and golden tests. A library that is itself compiled twice is named once. Never link both into one executable.
function(add_real_floor name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES;REAL_LIBRARIES")
  list(TRANSFORM arg_REAL_LIBRARIES APPEND _double OUTPUT_VARIABLE double_libraries)
  add_floor(${name} SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES} ${arg_REAL_LIBRARIES} DEFINITIONS REAL=float)
  add_floor(${name}_double SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES} ${double_libraries} DEFINITIONS REAL=double)
endfunction()
