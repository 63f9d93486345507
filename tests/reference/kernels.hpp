#pragma once
// The kernels' definitions once more, as plain loops in long double: slow, and right by reading.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "model/real.hpp"

namespace ulmpi::reference {

using Wide = long double;
using Reals = std::vector<Real>;

struct LayerNorm {
    Reals y, mean, rstd;
};

inline LayerNorm layer_norm(const Reals& x, const Reals& weight, const Reals& bias, std::size_t rows, std::size_t width,
                            Real eps) {
    LayerNorm result{Reals(x.size()), Reals(rows), Reals(rows)};
    for (std::size_t r = 0; r < rows; ++r) {
        Wide mean = 0, variance = 0;
        for (std::size_t j = 0; j < width; ++j) mean += Wide{x[r * width + j]} / static_cast<Wide>(width);
        for (std::size_t j = 0; j < width; ++j) {
            const Wide c = x[r * width + j] - mean;
            variance += c * c / static_cast<Wide>(width);
        }
        const Wide rstd = 1 / std::sqrt(variance + eps);
        result.mean[r] = static_cast<Real>(mean);
        result.rstd[r] = static_cast<Real>(rstd);
        for (std::size_t j = 0; j < width; ++j)
            result.y[r * width + j] = static_cast<Real>((x[r * width + j] - mean) * rstd * weight[j] +
                                                        (bias.empty() ? Wide{0} : Wide{bias[j]}));
    }
    return result;
}

inline Reals rms_norm(const Reals& x, const Reals& weight, std::size_t rows, std::size_t width, Real eps) {
    Reals y(x.size());
    for (std::size_t r = 0; r < rows; ++r) {
        Wide squares = 0;
        for (std::size_t j = 0; j < width; ++j) squares += Wide{x[r * width + j]} * x[r * width + j];
        const Wide rstd = 1 / std::sqrt(squares / static_cast<Wide>(width) + eps);
        for (std::size_t j = 0; j < width; ++j)
            y[r * width + j] = static_cast<Real>(x[r * width + j] * rstd * weight[j]);
    }
    return y;
}

inline Wide gelu(Wide x) {
    const Wide pi = std::acos(Wide{-1});
    return x / 2 * (1 + std::tanh(std::sqrt(2 / pi) * (x + Wide{0.044715L} * x * x * x)));
}

inline Wide silu(Wide x) { return x / (1 + std::exp(-x)); }

/// Whether query i may see key j; the factor of the pair's dropout.
using Sees = std::function<bool(std::size_t i, std::size_t j)>;
using Factor = std::function<Real(std::size_t i, std::size_t j)>;

struct Attention {
    Reals out, log_sum, dq, dk, dv;
};

/// The full square of one head: q, dout (queries, d), k, v (keys, d) dense.
inline Attention attention(const Reals& q, const Reals& k, const Reals& v, const Reals& dout, std::size_t d, Real scale,
                           const Sees& sees, const Factor& factor) {
    const std::size_t queries = q.size() / d, keys = k.size() / d;
    Attention result{Reals(q.size()), Reals(queries), Reals(q.size()), Reals(k.size()), Reals(k.size())};
    std::vector<Wide> dk(k.size()), dv(k.size());
    for (std::size_t i = 0; i < queries; ++i) {
        std::vector<Wide> s(keys), p(keys), dp(keys), out(d), dq(d);
        Wide top = -std::numeric_limits<Wide>::infinity(), sum = 0, product = 0;
        for (std::size_t j = 0; j < keys; ++j) {
            if (!sees(i, j)) continue;
            for (std::size_t c = 0; c < d; ++c) s[j] += Wide{q[i * d + c]} * k[j * d + c];
            s[j] *= scale;
            top = std::max(top, s[j]);
        }
        for (std::size_t j = 0; j < keys; ++j)
            if (sees(i, j)) sum += std::exp(s[j] - top);
        result.log_sum[i] = static_cast<Real>(top + std::log(sum));
        for (std::size_t j = 0; j < keys; ++j) {
            if (!sees(i, j)) continue;
            p[j] = std::exp(s[j] - top) / sum;
            for (std::size_t c = 0; c < d; ++c) {
                out[c] += p[j] * factor(i, j) * v[j * d + c];
                dp[j] += Wide{dout[i * d + c]} * v[j * d + c] * factor(i, j);
                dv[j * d + c] += p[j] * factor(i, j) * dout[i * d + c];
            }
            product += p[j] * dp[j];
        }
        for (std::size_t j = 0; j < keys; ++j) {
            if (!sees(i, j)) continue;
            const Wide ds = p[j] * (dp[j] - product) * scale;
            for (std::size_t c = 0; c < d; ++c) {
                dq[c] += ds * k[j * d + c];
                dk[j * d + c] += ds * q[i * d + c];
            }
        }
        for (std::size_t c = 0; c < d; ++c) {
            result.out[i * d + c] = static_cast<Real>(out[c]);
            result.dq[i * d + c] = static_cast<Real>(dq[c]);
        }
    }
    for (std::size_t i = 0; i < k.size(); ++i) {
        result.dk[i] = static_cast<Real>(dk[i]);
        result.dv[i] = static_cast<Real>(dv[i]);
    }
    return result;
}

}  // namespace ulmpi::reference
