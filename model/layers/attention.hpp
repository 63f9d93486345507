#pragma once
// Multi-head self-attention: softmax(q k^T / sqrt(head size)) v, heads split over slices. Consecutive heads of queries
// may share one of keys and values: all of them (multi-query, Shazeer 2019), or groups (Ainslie et al. 2023). The
// Context says which keys a row sees; where it says nothing, attention is causal.

#include <memory>

#include "model/config.hpp"
#include "model/kernels/attention.hpp"
#include "model/kernels/rotary.hpp"
#include "model/layers/linear.hpp"
#include "model/layers/sublayer.hpp"

namespace ulmpi {

/// The rows of qkv.weight are q | k | v, each head a contiguous block; a slice holds some heads of keys and values, and
/// those of the queries that share them.
class Attention : public Layer {
public:
    /// `name` is "block.3.attention"; `place` numbers the dropout of its probabilities.
    Attention(ParameterStore& store, const ModelConfig& config, const std::string& name, int group, int slice,
              int slices, std::uint32_t place);
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(View<Real> y, View<const Real> x, const Flow&, Context& context) const override;
    void backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow&, Context& context) const override;

private:
    struct AttentionKept {
        Kept qkv;
        View<Real> out, log_sum;
    };
    AttentionKept keep(Rooms& rooms) const;
    // Of one worker, one after the other: where its rows of qkv are computed; for the heads, which are its own or,
    // where they were rounded, widened; for its rows of out, rounded.
    struct Inwards {
        View<Real> qkv;
        View<BFloat16> x;
    };
    struct HeadRoom {
        View<Real> scratch, wide;
    };
    Inwards inwards(Rooms& rooms, const Kept& qkv) const;
    HeadRoom head_room(Rooms& rooms) const;
    View<BFloat16> outwards(Rooms& rooms) const { return rooms.rounding(rooms.own, {rooms.rows.size(), width()}); }
    // Of all workers, in backward: gradients, and factors.
    struct Work {
        View<Real> dout, dqkv;
        View<BFloat16> rounded_dqkv, rounded_out;
        FactorRoom dy, x;
    };
    Work work(Rooms& rooms) const;

    /// One head of one sequence, the head of keys and values that it sees, and whether it is the first that shares
    /// them.
    struct Item {
        std::size_t sequence, head, key_head;
        bool first;
    };
    Item item(std::size_t index) const {
        const std::size_t head = index % heads_.size();
        return {index / heads_.size(), head, head / shared_by_, head % shared_by_ == 0};
    }
    /// This worker's, those that share keys and values together.
    Range items(const Context& context) const {
        const Range groups = context.team.share(context.sequences * key_heads_.size());
        return {groups.first * shared_by_, groups.last * shared_by_};
    }
    /// One head of one sequence: rows `stride` apart.
    struct Head {
        const Real *q, *k, *v;
        std::size_t stride;
    };
    Head head(const Kept& qkv, Item, View<Real> wide, const Context&) const;
    AttentionCall call(Item, const Head&, const DropoutSite&, const Context&) const;
    template <typename Rotate>
    void rotate_rows(View<Real> mine, const Context& context, Rotate rotate) const;

    std::size_t width() const { return heads_.size() * head_size_; }
    std::size_t key_width() const { return key_heads_.size() * head_size_; }
    std::size_t qkv_width() const { return width() + 2 * key_width(); }

    std::size_t hidden_, head_size_, shared_by_;
    Range key_heads_, heads_;  ///< of the whole model's, this slice's
    double dropout_;
    std::uint32_t place_;
    std::unique_ptr<RotaryTable> rotary_;  ///< none where positions are not rotary
    Linear qkv_, out_;
};

}  // namespace ulmpi
