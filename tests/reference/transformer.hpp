#pragma once
// The whole model once more, forward only, as plain loops in double over one sequence at a time: no batches, no
// threads, no slices, nothing kept. It shares with the program the names of the weights and the numbering of dropout.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/chunks.hpp"
#include "model/config.hpp"
#include "model/context.hpp"
#include "model/kernels/dropout.hpp"
#include "model/layers/classifier_head.hpp"
#include "model/parameters.hpp"

namespace ulmpi::reference {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

class Transformer {
public:
    /// The weights of a store that holds the whole model.
    Transformer(const ModelConfig& config, const ParameterStore& store) : c_(config) {
        for (const Parameter& p : store.parameters()) {
            const auto values = store.value_of(p);
            weights_[p.name] = Row(values.begin(), values.end());
        }
    }

    /// Sum over the targets of -log softmax(h E^T)[target].
    double loss(const MicroBatch& batch, const PassOptions& options) const {
        double total = 0;
        for (std::size_t s = 0; s < batch.sequences; ++s) {
            const Rows h = hidden(batch, s, options);
            for (std::size_t t = 0; t < batch.length; ++t) {
                const Token target = batch.targets[s * batch.length + t];
                if (target >= 0) total -= log_softmax(logits(h[t]))[static_cast<std::size_t>(target)];
            }
        }
        return total;
    }

    /// Sum of class weight × cross-entropy against (1 - e) onehot(label) + e / classes, e the smoothing.
    double loss(const MicroBatch& batch, const PassOptions& options, const ClassifierConfig& head) const {
        double total = 0;
        for (std::size_t s = 0; s < batch.sequences; ++s) {
            const auto label = static_cast<std::size_t>(batch.labels[s]);
            const double weight = options.class_weights.empty() ? 1 : static_cast<double>(options.class_weights[label]);
            const Row log_p = log_softmax(with_offsets(classes(batch, s, options, head), batch.offsets, s));
            const double each = options.label_smoothing / static_cast<double>(log_p.size());
            for (std::size_t c = 0; c < log_p.size(); ++c) {
                const double share = batch.soft_labels.empty() ? each + (c == label ? 1 - options.label_smoothing : 0)
                                                               : double(batch.soft_labels[s * log_p.size() + c]);
                total -= weight * share * log_p[c];
            }
        }
        return total;
    }

    /// Class probabilities of one sequence.
    Row predict(const MicroBatch& batch, std::size_t s, const PassOptions& options,
                const ClassifierConfig& head) const {
        Row p = log_softmax(with_offsets(classes(batch, s, options, head), batch.offsets, s));
        for (double& x : p) x = std::exp(x);
        return p;
    }

    /// Scores of document s of a wide head; those of any other as they are.
    Row with_offsets(Row scores, std::span<const float> offsets, std::size_t s) const {
        if (!offsets.empty())
            for (std::size_t c = 0; c < scores.size(); ++c)
                scores[c] += weight("classifier.wide.scale")[0] * static_cast<double>(offsets[s * scores.size() + c]);
        return scores;
    }

    /// Scores of the classes for a document of any length, whose first chunk has this place in the global batch. The
    /// chunks go through the model one by one, and each gives the states of the tokens that it answers for.
    Row classes(const std::vector<Token>& document, std::uint32_t place, const PassOptions& options,
                const ClassifierConfig& head) const {
        Rows states;
        std::uint32_t number = 0;
        for (const ChunkBounds& chunk : chunks_of(document.size(), c_.context)) {
            MicroBatch b;
            b.sequences = 1;
            b.length = chunk.length;
            b.first_sequence = place + number++;
            b.inputs.assign(document.begin() + static_cast<std::ptrdiff_t>(chunk.first),
                            document.begin() + static_cast<std::ptrdiff_t>(chunk.first + chunk.length));
            const Rows h = hidden(b, 0, options);
            states.insert(states.end(), h.begin() + static_cast<std::ptrdiff_t>(chunk.first_pooled), h.end());
        }
        return classes(states, place, options, head);
    }

    /// Logits after one position of one sequence.
    Row next_token(const MicroBatch& batch, std::size_t s, std::size_t t, const PassOptions& options) const {
        return logits(hidden(batch, s, options)[t]);
    }

private:
    const Row& weight(const std::string& name) const { return weights_.at(name); }

    Row linear(const std::string& name, const Row& x) const {
        const Row& w = weight(name + ".weight");
        Row y(w.size() / x.size());
        const auto bias = weights_.find(name + ".bias");
        for (std::size_t o = 0; o < y.size(); ++o) {
            for (std::size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
            if (bias != weights_.end()) y[o] += bias->second[o];
        }
        return y;
    }

    Row norm(const std::string& name, const Row& x, Normalization kind) const {
        const double n = static_cast<double>(x.size());
        double mean = 0, squares = 0;
        if (kind == Normalization::layernorm)
            for (double v : x) mean += v / n;
        for (double v : x) squares += (v - mean) * (v - mean) / n;
        const Row& w = weight(name + ".weight");
        Row y(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
            y[i] = (x[i] - mean) / std::sqrt(squares + c_.norm_eps) * w[i];
            if (kind == Normalization::layernorm) y[i] += weight(name + ".bias")[i];
        }
        return y;
    }

    /// The factor of one element: group and lane as dropout.hpp numbers them.
    static double factor(const PassOptions& options, std::uint32_t place, double probability, std::uint32_t sequence,
                         std::size_t position, std::size_t column) {
        if (!options.training || probability == 0) return 1;
        Real factors[8];
        dropout_factors(factors, {options.random_key, place, static_cast<Real>(probability)}, sequence,
                        static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(column / 8), 8);
        return static_cast<double>(factors[column % 8]);
    }
    static void drop(Rows& x, const PassOptions& options, std::uint32_t place, double probability,
                     std::uint32_t sequence) {
        for (std::size_t t = 0; t < x.size(); ++t)
            for (std::size_t i = 0; i < x[t].size(); ++i)
                x[t][i] *= factor(options, place, probability, sequence, t, i);
    }

    void rotate(Row& q, std::size_t first, std::size_t t) const {
        const std::size_t half = c_.head_size() / 2;
        for (std::size_t i = 0; i < half; ++i) {
            const double angle =
                static_cast<double>(t) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
            const double a = q[first + i], b = q[first + half + i];
            q[first + i] = a * std::cos(angle) - b * std::sin(angle);
            q[first + half + i] = b * std::cos(angle) + a * std::sin(angle);
        }
    }

    Rows attention(const std::string& name, const Rows& x, const Token* tokens, const PassOptions& options,
                   std::uint32_t place, std::uint32_t sequence) const {
        const std::size_t d = c_.hidden, size = c_.head_size(), keys = c_.key_heads() * size;
        Rows qkv, y;
        for (std::size_t t = 0; t < x.size(); ++t) {
            qkv.push_back(linear(name + ".qkv", x[t]));
            if (c_.position == PositionEmbedding::rotary)
                for (std::size_t h = 0; h < c_.heads + c_.key_heads(); ++h) rotate(qkv[t], h * size, t);
        }
        for (std::size_t t = 0; t < x.size(); ++t) {
            std::size_t from = 0;
            if (c_.mask_documents)
                for (std::size_t j = 0; j < t; ++j)
                    if (tokens[j] == c_.end_of_text) from = j + 1;
            Row out(d);
            for (std::size_t h = 0; h < c_.heads; ++h) {
                const std::size_t key = d + h / (c_.heads / c_.key_heads()) * size;
                Row scores;
                for (std::size_t j = from; j <= t; ++j) {
                    double s = 0;
                    for (std::size_t i = 0; i < size; ++i) s += qkv[t][h * size + i] * qkv[j][key + i];
                    scores.push_back(s / std::sqrt(static_cast<double>(size)));
                }
                const Row log_p = log_softmax(scores);
                for (std::size_t j = from; j <= t; ++j) {
                    const double p = std::exp(log_p[j - from]) *
                                     factor(options, place, c_.attention_dropout, sequence, t, (h << 23) + j);
                    for (std::size_t i = 0; i < size; ++i) out[h * size + i] += p * qkv[j][key + keys + i];
                }
            }
            y.push_back(linear(name + ".out", out));
        }
        return y;
    }

    Rows feed_forward(const std::string& name, const Rows& x) const {
        Rows y;
        for (const Row& row : x) {
            Row a = linear(name + ".up", row);
            const Row gate = c_.activation == Activation::swiglu ? linear(name + ".gate", row) : Row{};
            for (std::size_t i = 0; i < a.size(); ++i) {
                const double u = a[i];
                if (c_.activation == Activation::relu) a[i] = std::max(u, 0.0);
                if (c_.activation == Activation::swiglu) a[i] = u * gate[i] / (1 + std::exp(-gate[i]));
                if (c_.activation == Activation::gelu)
                    a[i] = u / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (u + 0.044715 * u * u * u)));
            }
            y.push_back(linear(name + ".down", a));
        }
        return y;
    }

    template <typename Inner>
    Rows sublayer(const Rows& x, const std::string& norm_name, std::uint32_t place, std::uint32_t sequence,
                  const PassOptions& options, Inner inner) const {
        Rows h = x;
        if (c_.preprocess == "n")
            for (Row& row : h) row = norm(norm_name, row, c_.normalization);
        Rows y = inner(h);
        if (c_.postprocess == "none") return y;
        for (char operation : c_.postprocess) {
            if (operation == 'd') drop(y, options, place, c_.residual_dropout, sequence);
            for (std::size_t t = 0; t < y.size(); ++t) {
                if (operation == 'n') y[t] = norm(norm_name, y[t], c_.normalization);
                if (operation == 'a')
                    for (std::size_t i = 0; i < y[t].size(); ++i) y[t][i] += x[t][i];
            }
        }
        return y;
    }

    /// What the head sees of one sequence.
    Rows hidden(const MicroBatch& batch, std::size_t s, const PassOptions& options) const {
        const std::size_t d = c_.hidden;
        const Token* tokens = batch.inputs.data() + s * batch.length;
        const std::uint32_t sequence = batch.first_sequence + static_cast<std::uint32_t>(s);
        Rows x(batch.length, Row(d));
        for (std::size_t t = 0; t < batch.length; ++t)
            for (std::size_t i = 0; i < d; ++i) {
                x[t][i] = weight("token_embedding")[static_cast<std::size_t>(tokens[t]) * d + i];
                const double angle =
                    static_cast<double>(t) / std::pow(10000.0, static_cast<double>(i / 2 * 2) / static_cast<double>(d));
                if (c_.position == PositionEmbedding::learned) x[t][i] += weight("position_embedding")[t * d + i];
                if (c_.position == PositionEmbedding::sinusoidal)
                    x[t][i] += i % 2 == 0 ? std::sin(angle) : std::cos(angle);
            }
        drop(x, options, 0, c_.embedding_dropout, sequence);
        for (std::size_t block = 0; block < c_.layers; ++block) {
            const std::string name = "block." + std::to_string(block);
            const auto place = static_cast<std::uint32_t>(1 + 3 * block);
            x = sublayer(x, name + ".norm1", place + 1, sequence, options, [&](const Rows& h) {
                return attention(name + ".attention", h, tokens, options, place, sequence);
            });
            x = sublayer(x, name + ".norm2", place + 2, sequence, options,
                         [&](const Rows& h) { return feed_forward(name + ".ffn", h); });
        }
        if (c_.preprocess == "n")
            for (Row& row : x) row = norm("final_norm", row, c_.normalization);
        return x;
    }

    Row logits(const Row& h) const {
        const Row& output = weight(c_.tied ? "token_embedding" : "output.weight");
        Row y(c_.vocabulary);
        for (std::size_t v = 0; v < y.size(); ++v)
            for (std::size_t i = 0; i < h.size(); ++i) y[v] += output[v * h.size() + i] * h[i];
        return y;
    }

    Row classes(const MicroBatch& batch, std::size_t s, const PassOptions& options,
                const ClassifierConfig& head) const {
        Rows h = hidden(batch, s, options);
        h.resize(static_cast<std::size_t>(batch.lengths[s]));
        return classes(h, batch.first_sequence + static_cast<std::uint32_t>(s), options, head);
    }

    /// Scores of the classes from the states of all tokens of a document: pooling, then two blocks.
    Row classes(const Rows& h, std::uint32_t sequence, const PassOptions& options, const ClassifierConfig& head) const {
        const std::size_t length = h.size();
        Row last = h[length - 1], most = h[0], mean(c_.hidden), pooled;
        for (std::size_t t = 0; t < length; ++t)
            for (std::size_t i = 0; i < c_.hidden; ++i) {
                most[i] = std::max(most[i], h[t][i]);
                mean[i] += h[t][i] / static_cast<double>(length);
            }
        const auto append = [&](const Row& part) { pooled.insert(pooled.end(), part.begin(), part.end()); };
        const bool all = head.pooling == Pooling::concat;
        if (all || head.pooling == Pooling::last) append(last);
        if (all || head.pooling == Pooling::max) append(most);
        if (all || head.pooling == Pooling::mean) append(mean);
        if (head.pooling == Pooling::first) append(h[0]);

        const auto place = static_cast<std::uint32_t>(1 + 3 * c_.layers);
        Rows z{norm("classifier.norm1", pooled, Normalization::layernorm)};
        drop(z, options, place, head.dropout1, sequence);
        Row a = linear("classifier.hidden", z[0]);
        for (double& v : a) v = std::max(v, 0.0);
        z = {norm("classifier.norm2", a, Normalization::layernorm)};
        drop(z, options, place + 1, head.dropout2, sequence);
        return linear("classifier.output", z[0]);
    }

public:
    static Row log_softmax(Row x) {
        double top = -std::numeric_limits<double>::infinity(), sum = 0;
        for (double v : x) top = std::max(top, v);
        for (double v : x) sum += std::exp(v - top);
        for (double& v : x) v -= top + std::log(sum);
        return x;
    }

private:
    ModelConfig c_;
    std::map<std::string, Row> weights_;
};

}  // namespace ulmpi::reference
