#pragma once
// System calls that fail on demand: a library that stands before the C library's open, pwrite, fsync, rename and the
// like, counts those that change something below a folder, and makes one of them fail. A test links it; a program under
// test gets it by LD_PRELOAD and these variables of its environment:
//
//   FAULTY_FOLDER   absolute; nothing is counted without it
//   FAULTY_RANK     of MPI: only the process of this rank counts; left out, every process
//   FAULTY_CALL     the call that fails, the first is 1; left out, none
//   FAULTY_KIND     how:
//     enospc, eio, einval   that one call fails with this error (close() closes all the same, as Linux does)
//     short         a write takes half of its bytes and says so; other calls succeed
//     full          a write takes half, and from then on all that needs room fails with ENOSPC, whatever it is
//     readonly      from that call on nothing can be changed or removed (EROFS)
//   FAULTY_LOG      a file; a line is appended for every call counted: its name and its path

extern "C" {
/// Begins to count from 0 in this process. `call` 0: nothing fails.
void faulty_calls_begin(const char* folder, long call, const char* kind);
/// No call is counted and none fails any more. Returns how many there were.
long faulty_calls_end();
/// Files closed since the beginning that had been written to and not flushed to disk after that: a failure to write
/// them later would be told to nobody.
long faulty_calls_unflushed();
}
