#pragma once
// Which instruction sets the kernels are compiled for; the widest one that the CPU has is picked at run time. Include
// before any header of Highway.

// NOLINTNEXTLINE: the name is Highway's. SSSE3 differs from SSE4 by little and would cost a sixth of the compile time.
#define HWY_DISABLED_TARGETS HWY_SSSE3
