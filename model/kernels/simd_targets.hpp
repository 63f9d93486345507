#pragma once
// Which instruction sets the kernels are compiled for; the widest one that the CPU has is picked at run time. Include
// before any header of Highway.

// SSSE3 is left out: next to SSE4 it serves only CPUs from before 2008, and costs compile time.
#define HWY_DISABLED_TARGETS HWY_SSSE3
