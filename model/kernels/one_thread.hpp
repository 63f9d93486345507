#pragma once
// Libraries that would share a product among threads of their own are kept to the calling one.

#include <omp.h>

namespace ulmpi {

/// While it lives, OpenMP gives the calling thread one thread: libraries follow that count.
class OneThread {
public:
    OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
    ~OneThread() { omp_set_num_threads(before_); }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

private:
    int before_;
};

}  // namespace ulmpi
