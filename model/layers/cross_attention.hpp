#pragma once
// Attention of a decoder to an encoder's output (Vaswani et al. 2017, section 3.2.3): queries from its own states, keys
// and values from Lane::memory, heads split over slices.

#include "model/config.hpp"
#include "model/kernels/attention.hpp"
#include "model/layers/linear.hpp"
#include "model/layers/sublayer.hpp"

namespace ulmpi {

/// "NAME.q.weight" [d, d], "NAME.kv.weight" [2d, d] with rows k | v, "NAME.out.weight" [d, d], and their biases.
class CrossAttention : public Layer {
public:
    /// `name` is "decoder.block.3.cross_attention"; `place` numbers the dropout of its probabilities.
    CrossAttention(ParameterStore& store, const ModelConfig& config, const std::string& name, int group, int slice,
                   int slices, std::uint32_t place);
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(View<Real> y, View<const Real> x, const Flow& flow, Context& context) const override;
    void backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow& gradient,
                  Context& context) const override;

private:
    /// q and out: (rows, width); kv: (rows of the sources, 2 width).
    struct CrossKept {
        Kept q, kv;
        View<Real> out, log_sum;
    };
    CrossKept keep(Rooms& rooms) const;
    // Of one worker, one after the other: where its rows of a projection are computed; for the heads, which are its own
    // or, where they were rounded, widened; for its rows of out, rounded.
    struct Inwards {
        View<Real> projected;
        View<BFloat16> rounded;
    };
    Inwards inwards(Rooms& rooms, const Kept& projection) const;
    struct HeadRoom {
        View<Real> scratch, q, kv;
    };
    HeadRoom head_room(Rooms& rooms) const;
    View<BFloat16> outwards(Rooms& rooms) const { return rooms.rounding(rooms.own, {rooms.rows.size(), width()}); }
    // Of all workers, in backward: gradients, and factors.
    struct Work {
        View<Real> dout, dq, dkv, dmemory;
        View<BFloat16> rounded_dq, rounded_dkv, rounded_out;
        FactorRoom dy, x, memory;
    };
    Work work(Rooms& rooms) const;

    struct Item {
        std::size_t sequence, head;
    };
    Item item(std::size_t index) const { return {index / heads_.size(), index % heads_.size()}; }
    /// One head of one sequence.
    struct Head {
        const Real *q, *k, *v;
        std::size_t stride, key_stride;
    };
    Head head(const CrossKept& kept, Item, const HeadRoom& room, const Context&) const;
    AttentionCall call(Item, const Head&, const DropoutSite&, const Context&) const;
    template <typename Each>
    void for_each_head(const CrossKept& kept, Context& context, Each each) const;
    void backward_of_heads(const CrossKept& kept, const Work& room, Context& context) const;

    std::size_t width() const { return heads_.size() * head_size_; }

    std::size_t hidden_, head_size_;
    Range heads_;  ///< of the whole model's, this slice's
    double dropout_;
    std::uint32_t place_;
    Linear q_, kv_, out_;
};

}  // namespace ulmpi
