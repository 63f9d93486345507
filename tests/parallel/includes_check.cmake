# Who may include whom: fails on an include that goes upwards between the floors, or that reaches a third-party library
# other than through its door.   cmake -DSOURCE_DIR=... -P includes_check.cmake
cmake_minimum_required(VERSION 3.24)

# From the ground up: a folder may include itself and those of lower floors.
set(floor_of_base 0)
set(floor_of_parallel 1)
set(floor_of_data 2)
set(floor_of_model 2)
set(floor_of_checkpoints 3)
set(floor_of_training 4)
set(floor_of_pretrain 5)
set(floor_of_finetune 6)
set(floor_of_jobs 7)
set(folders base parallel data model checkpoints training pretrain finetune jobs)

# header, where it may be included
set(doors
  "mpi\\.h" "^parallel/"
  "cblas\\.h" "^model/kernels/gemm\\.cpp$"
  "oneapi/.*" "^model/kernels/gemm_bf16\\.cpp$"
  "hdf5\\.h" "^base/files/hdf5_library\\.hpp$"
  "base/files/hdf5_library\\.hpp" "^base/files/hdf5_"
  "sha2\\.h" "^base/files/sha256\\.cpp$"
  "boost/.*" "^base/options/")

set(wrong "")
set(files_seen 0)
foreach(own IN LISTS folders)
  file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/${own}/*.hpp ${SOURCE_DIR}/${own}/*.cpp)
  foreach(file IN LISTS files)
    math(EXPR files_seen "${files_seen} + 1")
    file(STRINGS ${SOURCE_DIR}/${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(include IN LISTS includes)
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]*)[>\"].*" "\\1" header "${include}")
      string(REGEX MATCH "^[^/]*" folder "${header}")
      if(folder IN_LIST folders AND NOT folder STREQUAL own AND NOT floor_of_${folder} LESS floor_of_${own})
        string(APPEND wrong "  ${file} includes ${header}: ${own}/ may not include ${folder}/\n")
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
