#pragma once
// Scaled dot-product attention (Vaswani et al. 2017) of one head of one sequence, in blocks of 64 queries against all
// the keys that they see: memory linear in the length, keys that a whole block does not see are not computed, and
// backward computes the probabilities again from the row sums kept (Dao et al. 2022).

#include <cstddef>
#include <cstdint>

#include "model/kernels/dropout.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// The keys [first, last) that a query may see; at least one.
struct KeyRange {
    std::int32_t first = 0, last = 0;
};

/// Sizes and masks of one call. Rows of q lie `stride` apart, those of k and v `key_stride` (they may share one qkv
/// buffer), those of their gradients `gradient_stride` and `key_gradient_stride`, of the output and of its gradient
/// `out_stride`; a row holds head_size values.
struct AttentionCall {
    std::size_t queries = 0, keys = 0, head_size = 0;
    std::size_t stride = 0, key_stride = 0, out_stride = 0, gradient_stride = 0, key_gradient_stride = 0;
    Real scale = 1;
    /// Of each query, both ends ascending; null: causal, query t sees the keys [0, t].
    const KeyRange* sees = nullptr;
    /// Dropout of the probabilities; null: none. The factor of (head, query, key) is that of column 2^23 head + key,
    /// position query in dropout.hpp: counter = {head 2^20 + key / 8, query, sequence, site}. No two coincide while
    /// keys <= 2^23 and head < 2^12 (checked by assertion). `head` and `sequence` are global.
    const DropoutSite* dropout = nullptr;
    std::uint32_t sequence = 0, head = 0;
    bool adds_keys = false;  ///< backward adds to dk and dv: other heads of queries share these keys and values
};

/// Reals of scratch that either call needs.
std::size_t attention_scratch(std::size_t keys);

/// With s_ij = scale q_i . k_j for the keys j that i sees, p = softmax of each row: out_i = sum_j p_ij mask_ij v_j,
/// log_sum[i] = log sum_j exp s_ij, kept for backward.
void attention_forward(Real* out, Real* log_sum, const Real* q, const Real* k, const Real* v, const AttentionCall& call,
                       Real* scratch);
/// With dp_ij = mask_ij dout_i . v_j and ds_ij = p_ij (dp_ij - dout_i . out_i):
///   dv_j = sum_i p_ij mask_ij dout_i,  dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i.
/// Overwrites dq, and dk and dv if the call does not add to them, which alias nothing else.
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* log_sum,
                        const Real* q, const Real* k, const Real* v, const AttentionCall& call, Real* scratch);

}  // namespace ulmpi
