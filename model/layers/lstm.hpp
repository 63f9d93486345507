#pragma once
// A layer of long short-term memory over windows of streams, whose recurrent weights may be dropped (DropConnect, Wan
// et al. 2013; Merity et al. 2018, section 2).

#include "model/carried_states.hpp"
#include "model/config.hpp"
#include "model/kernels/lstm.hpp"
#include "model/layers/linear.hpp"
#include "model/layers/module.hpp"

namespace ulmpi {

/// One layer of a stack.
struct LstmOptions {
    std::string name;  ///< "block.0.lstm"
    std::size_t in = 0, width = 0;
    double weight_dropout = 0;
    std::uint32_t dropout_place = 0;
    int group = 0;
};

/// Parameters ".input.weight" [4 width, in], ".hidden.weight" [4 width, width] and their ".bias", rows i | f | g | o;
/// states ".h" and ".c". A slice computes some units of every gate, and workers some of a slice's: all of them meet
/// twice a position.
class Lstm : public Module {
public:
    Lstm(ParameterStore& store, std::vector<StateShape>& states, const LstmOptions& options, int slice, int slices);
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    /// gates (rows, 4 units) as the kernel leaves them, c (rows, units), h (rows, width), and the states that the
    /// window began with (sequences, …).
    struct LstmKept {
        View<Real> gates, c, h, first_c, first_h;
    };
    LstmKept keep(Rooms& rooms) const;
    /// For x as a factor, this worker's rows.
    View<BFloat16> inwards(Rooms& rooms) const { return rooms.rounding(rooms.own, {rooms.rows.size(), in_}); }
    /// Shared: weights with some dropped, and those rounded; the h of one position, to be summed over slices.
    struct Work {
        View<Real> weights;
        View<BFloat16> rounded_weights;
        View<Real> h;
    };
    Work work(Rooms& rooms) const;
    /// Shared: what goes back to the position before; the h that each position began with; gradients of the dropped
    /// weights; gates, x and those h as factors.
    struct Back {
        Work work;
        View<Real> dh, dc, before, dweights;
        View<BFloat16> rounded_gates, rounded_before;
        FactorRoom x;
    };
    Back back(Rooms& rooms) const;
    View<Real> input_gradient(Rooms& rooms) const { return rooms.kept.allocate({rooms.all_rows(), in_}); }

    /// h before position t of every sequence.
    Matrix<const Real> h_before(const LstmKept& kept, std::size_t t, std::size_t length) const;
    const Real* c_before(const LstmKept& kept, std::size_t sequence, std::size_t t, std::size_t length) const;
    LstmGates gates_at(const LstmKept& kept, std::size_t row, std::size_t unit) const;
    bool drops(const Context& context) const { return context.site(place_, weight_dropout_).probability > 0; }
    /// Of one worker: h, or the gates' gradients, of one position of all sequences as a factor.
    View<BFloat16> of_position(Rooms& rooms, std::size_t columns) const {
        return rooms.rounding(rooms.own, {rooms.sequences, columns});
    }
    /// Of a row of this slice's weights, its row in the whole matrix.
    std::uint32_t whole_row(std::size_t row) const;
    Factor weights(const Work& room, const Context& context) const;
    void begin_window(const LstmKept& kept, const Context& context) const;
    void end_window(const LstmKept& kept, const Context& context) const;
    void collect(View<Real> h, std::size_t t, const Work& room, const Context& context) const;
    void backward_in_time(View<const Real> dy, const LstmKept& kept, const Back& room, Context& context) const;
    void backward_weights(const LstmKept& kept, const Back& room, const Factor& dgates, const Factor& before,
                          const Context& context) const;

    ParameterStore& store_;
    std::size_t in_, width_;
    Range units_;  ///< this slice's
    double weight_dropout_;
    std::uint32_t place_;
    Linear input_;
    ParameterId weight_, bias_;
    StateId h_, c_;
};

}  // namespace ulmpi
