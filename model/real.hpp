#pragma once
// The number type of the model. Everything under model/ is compiled twice: with float for work, with double for the
// gradient tests (-DREAL=double). Never link both into one executable.

#ifndef REAL
#define REAL float
#endif

namespace ulmpi {
using Real = REAL;
}
