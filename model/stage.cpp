#include "model/stage.hpp"

#include <algorithm>

#include "model/families/awd_lstm.hpp"
#include "model/families/decoder.hpp"
#include "model/families/encoder_decoder.hpp"

namespace ulmpi {
namespace {

// Position t attends back to the token after the last end-of-text before it.
std::vector<KeyRange> keys_of_documents(const MicroBatch& batch, Token end_of_text) {
    std::vector<KeyRange> keys;
    for (std::size_t s = 0; s < batch.sequences; ++s) {
        std::int32_t start = 0;
        for (std::size_t t = 0; t < batch.length; ++t) {
            const auto next = static_cast<std::int32_t>(t) + 1;
            keys.push_back({start, next});
            if (batch.inputs[s * batch.length + t] == end_of_text) start = next;
        }
    }
    return keys;
}

// Each of `rows` positions of a sequence attends to all real tokens of its source.
std::vector<KeyRange> keys_of_sources(const MicroBatch& batch, std::size_t rows) {
    std::vector<KeyRange> keys;
    for (const std::int32_t length : batch.source_lengths) keys.insert(keys.end(), rows, {0, length});
    return keys;
}

void check_sources(const MicroBatch& batch) {
    check(
        batch.sources.size() == batch.sequences * batch.source_length && batch.source_lengths.size() == batch.sequences,
        "an encoder-decoder reads a source with every sequence");
    check(std::ranges::all_of(
              batch.source_lengths,
              [&](std::int32_t n) { return n >= 1 && static_cast<std::size_t>(n) <= batch.source_length; }),
          "a source is longer than its micro-batch says, or empty");
}

/// Tokens or labels in [least, count); the least is -1 where "none" is allowed.
void check_tokens(const std::vector<Token>& tokens, Token least, std::size_t count) {
    check(
        std::all_of(tokens.begin(), tokens.end(), [&](Token t) { return t >= least && t < static_cast<Token>(count); }),
        "a token lies outside the vocabulary, or a label outside the classes");
}

// All lanes of a flow that was allocated as one.
std::span<std::byte> bytes_of(const Flow& flow) {
    std::span<Real> all;
    for (const Lane lane : lanes)
        if (const View<Real> its = flow[lane]; !its.empty())
            all = all.empty() ? its.flat() : std::span<Real>(all.data(), its.data + its.size());
    return std::as_writable_bytes(all);
}

Flow allocate(const FlowShape& shape, Rooms& rooms) {
    std::size_t elements = 0;
    for (const Lane lane : lanes) elements += rooms.rows_of(shape[lane].side) * shape[lane].width;
    Real* next = rooms.kept.allocate({elements}).data;
    Flow flow;
    for (const Lane lane : lanes) {
        const LaneShape& its = shape[lane];
        if (its.width == 0 || next == nullptr) continue;
        flow[lane] = {next, {rooms.rows_of(its.side), its.width}};
        next += flow[lane].size();
    }
    return flow;
}

StageModules modules_of(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                        const StagePlace& place) {
    switch (config.architecture) {
        case Architecture::decoder:
            return decoder(config, head, store, place);
        case Architecture::awd_lstm:
            return awd_lstm(config, head, store, place);
        case Architecture::encoder_decoder:
            break;
    }
    return encoder_decoder(config, head, store, place);
}

/// Of a matrix with a row for each document, or of none.
void append_row(std::vector<float>& to, std::span<const float> rows, std::size_t row, std::size_t columns) {
    if (rows.empty()) return;
    const auto its = rows.subspan(row * columns, columns);
    to.insert(to.end(), its.begin(), its.end());
}

}  // namespace

Stage::Stage(const ModelConfig& config, const HeadConfig& head, ParameterStore& store, const StagePlace& place,
             const Communicator& tensor)
    : config_(config),
      place_(place),
      tensor_(tensor),
      head_config_(head),
      made_(modules_of(config, head, store, place)) {}

Stage::Ends Stage::ends(Rooms& rooms, bool training) const {
    Ends room;
    if (training) room.gradient = allocate(made_.out, rooms);
    if (!place_.first()) room.input = allocate(made_.in, rooms);
    if (!place_.last() && made_.out.lanes() > 1) room.packed = allocate(made_.out, rooms);
    return room;
}

// Of the first worker, whose share of the rows is the largest; its arenas have no memory and only add up.
ActivationBytes Stage::activation_bytes(const BatchPlan& plan) const {
    const auto workers = static_cast<std::size_t>(plan.threads);
    Rooms rooms{.sequences = plan.sequences,
                .length = plan.length,
                .workers = workers,
                .rows = even_slice(plan.sequences * plan.length, workers, 0),
                .source_length = plan.source_length,
                .source_rows = even_slice(plan.sequences * plan.source_length, workers, 0),
                .precision = plan.precision,
                .weights_later = plan.weights_later};
    ends(rooms, plan.training);
    for (const auto& [group, module] : made_.modules) {
        module->plan_forward(rooms);
        if (plan.training) module->plan_backward(rooms);
    }
    if (made_.head) made_.head->plan(rooms, plan.training);
    Arena pools;
    if (made_.classifier) made_.classifier->allocate_pools(plan.documents, pools);
    return {rooms.kept.most_used(), rooms.shared.most_used(), rooms.own.most_used(), pools.most_used()};
}

void Stage::prepare(const BatchPlan& plan) {
    check(plan.length <= config_.context, "micro-batches are planned longer than the model's context");
    check(plan.source_length <= config_.source_context, "sources are planned longer than the model reads");
    plan_ = plan;
    const ActivationBytes bytes = activation_bytes(plan);
    const auto threads = static_cast<std::size_t>(plan.threads);
    slots_.clear();
    for (int slot = 0; slot < plan.slots; ++slot) {
        slots_.push_back({ArenaMemory(bytes.kept), {}});
        slots_.back().workers.resize(threads);
    }
    shared_ = ArenaMemory(bytes.shared);
    long_.memory = ArenaMemory(bytes.pools);
    own_.clear();
    for (std::size_t worker = 0; worker < threads; ++worker) own_.emplace_back(bytes.own);
    worker_loss_.assign(threads, 0);
}

void Stage::start(const std::vector<MicroBatch>& batches, const PassOptions& options, GradientWatch* watch) {
    batches_ = &batches;
    options_ = &options;
    watch_ = watch;
    gone_back_ = 0;
    std::fill(worker_loss_.begin(), worker_loss_.end(), 0.0);
    sees_.clear();
    for (const MicroBatch& batch : batches) {
        check(batch.sequences <= plan_.sequences && batch.length <= plan_.length,
              "a micro-batch is larger than planned");
        check_tokens(batch.inputs, 0, config_.vocabulary);
        check_tokens(batch.targets, -1, config_.vocabulary);
        if (head_config_) {
            check_tokens(batch.labels, 0, head_config_->classes);
            const std::size_t offsets = head_config_->wide ? batch.documents() * head_config_->classes : 0;
            check(batch.offsets.size() == offsets, "a wide head, and no other, adds an offset to every score");
            check(batch.soft_labels.empty() || batch.soft_labels.size() == batch.documents() * head_config_->classes,
                  "a soft label has a share for every class");
        }
        check(head_config_ || batch.chunks.empty(), "a language model does not read documents in chunks");
        check(options.states == nullptr || batch.first_sequence + batch.sequences <= options.states->streams(),
              "a micro-batch has sequences for which no state is carried");
        Sees& sees = sees_.emplace_back();
        if (config_.mask_documents) sees.keys = keys_of_documents(batch, config_.end_of_text);
        if (!config_.reads_sources()) continue;
        check_tokens(batch.sources, 0, config_.vocabulary);
        check_sources(batch);
        check(batch.source_length <= plan_.source_length, "sources are longer than planned");
        sees.source_keys = keys_of_sources(batch, batch.source_length);
        sees.memory_keys = keys_of_sources(batch, batch.length);
    }
    list_documents();
}

// Which row of the scores each document has, and of those in several micro-batches what the head will ask.
void Stage::list_documents() {
    std::size_t documents = 0;
    score_rows_.clear();
    long_.documents = {};
    long_.score_rows.clear();
    long_.judged = false;
    for (const MicroBatch& batch : *batches_) {
        score_rows_.push_back(documents);
        if (batch.partial)
            for (std::size_t s = 0; s < batch.sequences; ++s) {
                const Chunk& chunk = batch.chunks[s];
                check(batch.first_document + chunk.document + (chunk.begins() ? 0 : 1) == long_.documents.size(),
                      "the chunks of a document are not in order");
                if (!chunk.begins()) continue;
                long_.documents.labels.push_back(batch.labels[chunk.document]);
                append_row(long_.documents.offsets, batch.offsets, chunk.document, head_config_->classes);
                append_row(long_.documents.soft_labels, batch.soft_labels, chunk.document, head_config_->classes);
                long_.documents.places.push_back(batch.first_sequence + static_cast<std::uint32_t>(s));
                long_.score_rows.push_back(documents++);
            }
        else
            documents += batch.documents();
    }
    check(long_.documents.size() <= plan_.documents, "more documents in chunks than planned");
    scores_.assign(options_->predict && made_.head ? documents * made_.head->outputs() : 0, 0);
    Arena arena(long_.memory);
    if (made_.classifier) long_.pools = made_.classifier->allocate_pools(long_.documents.size(), arena);
}

std::vector<int> Stage::micro_batches(bool partial) const {
    std::vector<int> result;
    for (std::size_t m = 0; m < batches_->size(); ++m)
        if ((*batches_)[m].partial == partial) result.push_back(static_cast<int>(m));
    return result;
}

void Stage::judge_documents(const Team& team) {
    team.single([&] {
        long_.judged = true;
        if (!made_.classifier) return;
        Arena arena(shared_);
        if (!options_->predict) {
            worker_loss_[0] += made_.classifier->judge(long_.pools, long_.documents, *options_, plan_.sequences, arena);
            return;
        }
        const std::size_t classes = made_.classifier->outputs();
        std::vector<Real> probabilities(long_.documents.size() * classes);
        made_.classifier->predict({probabilities.data(), {long_.documents.size(), classes}}, long_.pools,
                                  long_.documents, *options_, plan_.sequences, arena);
        for (std::size_t i = 0; i < long_.documents.size(); ++i)
            std::copy_n(probabilities.data() + i * classes, classes, scores_.data() + long_.score_rows[i] * classes);
    });
}

bool Stage::trains_modules(int first_trained_group) const {
    return !made_.modules.empty() && made_.modules.back().group >= first_trained_group;
}

GradientEdges Stage::gradient_edges(int first_trained_group) const {
    return {.to_stage_before = !place_.first() && made_.group_before >= first_trained_group,
            .from_stage_after = !place_.last() && trains_modules(first_trained_group)};
}

std::span<std::byte> Stage::begin(int slot, int micro_batch, const Team& team) {
    const auto index = static_cast<std::size_t>(micro_batch);
    const MicroBatch& batch = (*batches_)[index];
    check(slot < plan_.slots, "more micro-batches are in flight than planned");
    Slot& here = slots_[static_cast<std::size_t>(slot)];
    Passage& mine = passage(slot, team);
    const auto workers = static_cast<std::size_t>(team.size());
    // Whole sequences to each worker where they can be dealt evenly: then attention needs nobody else's rows.
    const auto rows_of = [&](std::size_t length) {
        if (batch.sequences % workers != 0) return team.share(batch.sequences * length);
        const Range mine_of_all = team.share(batch.sequences);
        return Range{mine_of_all.first * length, mine_of_all.last * length};
    };
    const Rooms rooms{.sequences = batch.sequences,
                      .length = batch.length,
                      .workers = workers,
                      .rows = rows_of(batch.length),
                      .source_length = batch.source_length,
                      .source_rows = rows_of(batch.source_length),
                      .precision = plan_.precision,
                      .weights_later = plan_.weights_later,
                      .kept = Arena(here.kept),
                      .shared = Arena(shared_),
                      .own = Arena(own_[static_cast<std::size_t>(team.rank())])};
    Context& context =
        mine.context.emplace(Context{rooms, team, tensor_, place_.slices, batch, *options_, sees_[index].keys,
                                     sees_[index].source_keys, sees_[index].memory_keys});
    mine.later.clear();
    if (plan_.weights_later) context.later = &mine.later;
    mine.ends = ends(context, options_->training);
    mine.flow = mine.ends.input;
    mine.gradient = mine.ends.gradient;
    if (const View<Real> memory = mine.gradient[Lane::memory]; place_.last() && !memory.empty())
        std::fill_n(memory.row(context.source_rows.first), context.source_rows.size() * memory.columns(), Real(0));
    return place_.first() ? std::span<std::byte>{} : bytes_of(mine.flow);
}

std::span<std::byte> Stage::over_edge(const Flow& flow, const Flow& room, const FlowShape& shape,
                                      const Context& context) const {
    if (shape.lanes() == 1) return bytes_of(flow);
    for (const Lane lane : lanes) {
        if (shape[lane].width == 0) continue;
        const Range mine = shape[lane].side == Side::inputs ? context.rows : context.source_rows;
        std::copy_n(flow[lane].row(mine.first), mine.size() * shape[lane].width, room[lane].row(mine.first));
    }
    return bytes_of(room);
}

std::span<const std::byte> Stage::forward(int slot, int micro_batch, const Team& team) {
    Passage& mine = passage(slot, team);
    for (const auto& [group, module] : made_.modules) module->forward(mine.flow, *mine.context);
    if (made_.head) head_forward(micro_batch, mine, team);
    if (place_.last()) return {};
    return over_edge(mine.flow, mine.ends.packed, made_.out, *mine.context);
}

void Stage::head_forward(int micro_batch, Passage& mine, const Team& team) {
    Context& context = *mine.context;
    const MicroBatch& batch = context.batch;
    const View<Real> output = mine.flow[Lane::hidden], gradient = mine.gradient[Lane::hidden];
    team.barrier();
    if (batch.partial && !long_.judged) {
        made_.classifier->pool_chunks(pools_of(batch), output, context);
    } else if (batch.partial) {
        made_.classifier->spread_gradient(gradient, pools_of(batch), output, context);
    } else if (options_->predict) {
        const std::size_t outputs = made_.head->outputs(), row = score_rows_[static_cast<std::size_t>(micro_batch)];
        made_.head->predict({scores_.data() + row * outputs, {batch.documents(), outputs}}, output, context);
    } else {
        made_.head->forward(gradient, output, context);
        worker_loss_[static_cast<std::size_t>(team.rank())] += context.loss;
    }
}

std::span<std::byte> Stage::output_gradient(int slot, const Team& team) {
    return bytes_of(passage(slot, team).ends.gradient);
}

// The modules backwards down to the lowest that is trained: what is frozen below computes nothing.
std::span<const std::byte> Stage::backward(int slot, int, const Team& team) {
    Passage& mine = passage(slot, team);
    Context& context = *mine.context;
    team.barrier();
    bool watched = false;
    if (team.leader()) {
        ++gone_back_;
        watched = watch_ != nullptr && !plan_.weights_later && gone_back_ == batches_->size();
    }
    for (auto made = made_.modules.rbegin(); made != made_.modules.rend() && context.trains(made->group); ++made) {
        if (watched) watch_->whole_from(made->group + 1);
        made->module->backward(mine.gradient, context);
    }
    if (team.leader()) {
        most_used_.kept = std::max(most_used_.kept, context.kept.most_used());
        most_used_.shared = std::max(most_used_.shared, context.shared.most_used());
        most_used_.own = std::max(most_used_.own, context.own.most_used());
    }
    team.barrier();
    if (!gradient_edges(options_->first_trained_group).to_stage_before) return {};
    return over_edge(mine.gradient, mine.ends.input, made_.in, context);
}

// Every worker its outputs: nobody reads what another writes.
void Stage::backward_weights(int slot, const Team& team) {
    Passage& mine = passage(slot, team);
    for (const Context::WeightProduct& product : mine.later) product();
    mine.later.clear();
}

double Stage::loss() const {
    double total = 0;
    for (double loss : worker_loss_) total += loss;
    return total;
}

ActivationBytes Stage::most_used() const { return most_used_; }

}  // namespace ulmpi
