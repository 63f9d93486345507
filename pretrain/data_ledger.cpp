#include "pretrain/data_ledger.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <memory>

#include "base/options/table.hpp"
#include "base/progress.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/run_record.hpp"
#include "data/labelled_set.hpp"
#include "data/reading_order.hpp"
#include "data/sample_ledger.hpp"
#include "data/token_dataset.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/language_model.hpp"
#include "training/metrics.hpp"

namespace ulmpi {
namespace {

/// Which samples the steps of a run read, worked out anew from what its checkpoint says of seed, batch and data.
class SampleOrder {
public:
    virtual ~SampleOrder() = default;
    virtual std::uint64_t samples() const = 0;
    /// Those of step `step`, counted from 0, by row of the global batch. Steps are asked for in order.
    virtual const std::vector<std::uint64_t>& of_step(std::uint64_t step) = 0;
};

class WindowOrder : public SampleOrder {
public:
    WindowOrder(const std::string& data, std::uint64_t seed, std::uint64_t batch, const ModelConfig& model)
        : order_(reading_order(model)),
          seed_(seed),
          windows_(TokenDataset(data, SealCheck::length).windows(model.context)),
          rows_(batch) {}
    std::uint64_t samples() const override { return windows_; }
    const std::vector<std::uint64_t>& of_step(std::uint64_t step) override {
        for (std::uint64_t row = 0; row < rows_.size(); ++row)
            rows_[row] = training_window(order_, seed_, step, row, rows_.size(), windows_);
        return rows_;
    }

private:
    ReadingOrder order_;
    std::uint64_t seed_, windows_;
    std::vector<std::uint64_t> rows_;
};

class RecordOrder : public SampleOrder {
public:
    RecordOrder(const std::string& train, const std::string& tokenizer_json, const ClassifierRecord& head,
                std::uint64_t seed, std::uint64_t batch)
        : seed_(seed),
          batch_(batch),
          lengths_(load_labelled_set(train, Tokenizer::from_json(tokenizer_json, "the checkpoint"),
                                     {.max_length = head.max_length, .classes = head.classes})
                       .lengths()) {}
    std::uint64_t samples() const override { return lengths_.size(); }
    const std::vector<std::uint64_t>& of_step(std::uint64_t step) override {
        const std::uint64_t steps = (lengths_.size() + batch_ - 1) / batch_;
        if (batches_.empty() || step % steps == 0)
            batches_ = length_bucketed_batches(seed_, step / steps, lengths_, batch_);
        const std::vector<std::uint32_t>& records = batches_[step % steps];
        rows_.assign(records.begin(), records.end());
        return rows_;
    }

private:
    std::uint64_t seed_, batch_;
    std::vector<std::uint32_t> lengths_;
    std::vector<std::vector<std::uint32_t>> batches_;
    std::vector<std::uint64_t> rows_;
};

std::unique_ptr<SampleOrder> order_of(const RunRecord& record, const std::string& tokenizer_json,
                                      const std::string& data) {
    const std::uint64_t seed = record.saved.value().seed, batch = record.options.at("global-batch-size");
    const auto option = [&](const char* name) { return record.options.at(name).get<std::string>(); };
    if (record.classifier)
        return std::make_unique<RecordOrder>(data.empty() ? option("train") : data, tokenizer_json, *record.classifier,
                                             seed, batch);
    return std::make_unique<WindowOrder>(data.empty() ? option("data") : data, seed, batch, record.model.value());
}

std::uint64_t from_hexadecimal(const std::string& text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return value;
}

/// Step -> what the run wrote of its ledger, in metrics and checkpoints.
std::map<std::uint64_t, std::vector<std::uint64_t>> written_ledgers(const std::filesystem::path& run) {
    std::map<std::uint64_t, std::vector<std::uint64_t>> written;
    std::ifstream metrics(run / "metrics.jsonl", std::ios::binary);
    for (std::string line; std::getline(metrics, line);) {
        const auto record = nlohmann::json::parse(line, nullptr, false);
        if (record.is_object() && record.contains("ledger"))
            written[record.at("step")].push_back(from_hexadecimal(record.at("ledger")));
    }
    for (const std::filesystem::path& path : RunFolder(run).checkpoints()) try {
            const RunRecord record = record_of(path, read_checkpoint_info(path));
            if (record.saved && record.saved->progress.ledger)
                written[record.saved->progress.step].push_back(*record.saved->progress.ledger);
        } catch (const UsageError& damage) {
            fmt::print(stderr, "note: passed over: {}\n", damage.what());
        }
    return written;
}

int check_run(const std::string& run, const std::string& data) {
    const std::filesystem::path newest = resolve_checkpoint(run);
    const CheckpointInfo info = read_checkpoint_info(newest);
    const auto written = written_ledgers(run);
    check_usage(!written.empty(), "{} holds no ledger: it is no run of one model, or one of an older version", run);
    const RunRecord run_record = record_of(newest, info);
    check_usage(run_record.saved && run_record.model && run_record.options.contains("global-batch-size"),
                "{} does not say of which run it is: its order of reading is not known", newest.string());
    const std::unique_ptr<SampleOrder> order = order_of(run_record, info.tokenizer_json, data);
    const std::uint64_t steps = written.rbegin()->first;

    std::vector<std::uint32_t> reads(order->samples(), 0);
    std::uint64_t ledger = 0, compared = 0, read = 0, wrong = 0;
    ProgressLine bar("checking", "steps", steps, true);
    for (std::uint64_t step = 0; step < steps; ++step) {
        const std::vector<std::uint64_t>& samples = order->of_step(step);
        for (std::uint64_t row = 0; row < samples.size(); ++row) {
            ledger += ledger_entry(step, row, samples[row]);
            ++reads[samples[row]];
        }
        read += samples.size();
        bar.update(step + 1);
        const auto found = written.find(step + 1);
        if (found == written.end()) continue;
        for (std::uint64_t value : found->second) {
            ++compared;
            if (value != ledger && wrong == 0) wrong = step + 1;
        }
    }
    bar.clear();
    const auto [least, most] = std::ranges::minmax(reads);
    Record record;
    record["kind"] = "ledger";
    record["run"] = run;
    record["steps"] = steps;
    record["samples"] = order->samples();
    record["samples_read"] = read;
    record["epochs"] = number(static_cast<double>(read) / static_cast<double>(order->samples()));
    record["least_reads"] = least;
    record["most_reads"] = most;
    record["ledgers_compared"] = compared;
    record["ledger"] = fmt::format("{:016x}", ledger);
    record["matches"] = wrong == 0;
    print_json(record);
    if (wrong == 0) return 0;
    fmt::print(stderr,
               "{}: up to step {} other samples were read than the order says: the data, the seed or the global batch "
               "changed during the run\n",
               run, wrong);
    return 1;
}

}  // namespace

int data_ledger_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string run, data;
    OptionTable table(
        "data ledger",
        "Works out anew which samples every step of a run had to read, and compares that with the ledgers "
        "in its metrics and checkpoints: exit status 1 if a sample was skipped, repeated or moved.");
    table.group("Ledger");
    table.add("run", run, "run folder", "DIR");
    table.required("run");
    table.positional("run");
    table.add("data", data, "where its shards or its labelled set lie now; default: where the run read them", "PATH");
    table.example("runs/one");
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    const int status = together(world, [&] {
        if (world.rank() != 0) return 0;
        try {
            return check_run(run, data);
        } catch (const nlohmann::json::exception&) {
            throw UsageError(fmt::format("the checkpoint of {} does not say how it was trained", run));
        }
    });
    return broadcast_value(status, world, 0);
}

}  // namespace ulmpi
