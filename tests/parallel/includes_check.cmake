# Who may include whom: fails on an include that goes upwards between the floors, or that reaches a third-party library
# other than through its door.   cmake -DSOURCE_DIR=... -P includes_check.cmake
cmake_minimum_required(VERSION 3.24)
set(may_include_parallel parallel)
set(may_include_model model parallel)
set(may_include_data data parallel)
set(may_include_checkpoints checkpoints model data parallel)
set(may_include_pretrain pretrain checkpoints model data parallel)
set(may_include_finetune finetune pretrain checkpoints model data parallel)
set(floors parallel model data checkpoints pretrain finetune)

# header, where it may be included
set(doors
  "mpi\\.h" "^parallel/"
  "cblas\\.h" "^model/kernels/gemm\\.cpp$"
  "oneapi/.*" "^model/kernels/gemm_bf16\\.cpp$"
  "hdf5\\.h" "^data/hdf5_library\\.hpp$"
  "data/hdf5_library\\.hpp" "^data/hdf5_"
  "sha2\\.h" "^data/sha256\\.cpp$"
  "boost/.*" "^parallel/option")

set(wrong "")
set(files_seen 0)
foreach(floor IN LISTS floors)
  file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/${floor}/*.hpp ${SOURCE_DIR}/${floor}/*.cpp)
  foreach(file IN LISTS files)
    math(EXPR files_seen "${files_seen} + 1")
    file(STRINGS ${SOURCE_DIR}/${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(include IN LISTS includes)
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]*)[>\"].*" "\\1" header "${include}")
      string(REGEX MATCH "^[^/]*" folder "${header}")
      if(folder IN_LIST floors AND NOT folder IN_LIST may_include_${floor})
        string(APPEND wrong "  ${file} includes ${header}: ${floor}/ may not include ${folder}/\n")
      elseif(folder STREQUAL "tests")
        string(APPEND wrong "  ${file} includes ${header}: the program may not include its tests\n")
      endif()
      set(rest ${doors})
      while(rest)
        list(POP_FRONT rest library door)
        if(header MATCHES "^${library}$" AND NOT file MATCHES "${door}")
          string(APPEND wrong "  ${file} includes ${header}, which has one door: ${door}\n")
        endif()
      endwhile()
    endforeach()
  endforeach()
endforeach()
if(files_seen EQUAL 0)
  message(FATAL_ERROR "no source files under ${SOURCE_DIR}")
endif()
if(wrong)
  message(FATAL_ERROR "includes that break the floors:\n${wrong}")
endif()
message(STATUS "${files_seen} files keep to their floors")
