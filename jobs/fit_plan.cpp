#include "jobs/fit_plan.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "base/progress.hpp"
#include "finetune/classifier_task.hpp"

namespace ulmpi {
namespace {

/// The questions that planning asks of facts, speed and recipe.
class Planner {
public:
    /// `given`: seconds that the fit has in all.
    Planner(const FitFacts& facts, const FitSpeed& speed, double given, const FitRecipe& recipe)
        : facts_(facts),
          speed_(speed),
          recipe_(recipe),
          given_(given),
          folds_(static_cast<std::uint32_t>(facts.folds(recipe))),
          networks_(networks_in_order(folds_, facts.has_test, recipe)) {}

    double usable(double seconds_left) const { return (1 - recipe_.reserve) * seconds_left; }
    double given_for(double usable_seconds) const { return usable_seconds / (1 - recipe_.reserve); }

    // ---- stage 2

    bool has_text() const { return facts_.has_text(recipe_); }
    double most_read() const {
        return facts_.has_text(recipe_) ? recipe_.most_text_epochs * static_cast<double>(facts_.text_tokens) : 0;
    }
    double least_read() const {
        return std::min(most_read(),
                        static_cast<double>(recipe_.least_text_updates * recipe_.least_text_batch * facts_.context));
    }
    // A text is made into tokens once, a sample if it is not read to its end.
    double text_seconds(double read) const {
        if (read <= 0) return 0;
        return speed_.run + std::min(read, static_cast<double>(facts_.text_tokens)) / speed_.encoding +
               read / speed_.text;
    }
    TextPlan text_within(double seconds) const {
        const auto all = static_cast<double>(facts_.text_tokens);
        double read = (seconds - speed_.run) / (1 / speed_.encoding + 1 / speed_.text);
        if (read > all) read = (seconds - speed_.run - all / speed_.encoding) * speed_.text;
        read = std::clamp(read, least_read(), most_read());
        TextPlan plan;
        if (read <= 0) return plan;
        plan.batch = text_batch(read);
        const auto update = static_cast<double>(plan.batch * facts_.context);
        plan.read = static_cast<std::uint64_t>(std::max(1.0, std::floor(read / update)) * update);
        plan.tokens = std::min(facts_.text_tokens, plan.read);
        plan.seconds = text_seconds(static_cast<double>(plan.read));
        return plan;
    }

    // ---- stage 3

    std::size_t batch(std::uint64_t rows) const { return std::max(facts_.replicas, recipe_.best.batch_of(rows)); }
    std::uint64_t updates_of_epoch(std::uint64_t rows) const { return steps_of_epoch(rows, batch(rows)); }
    int epochs(std::uint64_t rows) const { return recipe_.best.epochs_of(rows); }
    int least_epochs(std::uint64_t rows) const {
        const std::uint64_t wanted = (recipe_.least_updates + updates_of_epoch(rows) - 1) / updates_of_epoch(rows);
        return std::min(
            {epochs(rows), std::max(static_cast<int>(wanted), recipe_.least_epochs), recipe_.best.most_epochs_of_few});
    }
    std::uint64_t least_rows() const {
        return std::min(facts_.rows(), std::max(recipe_.least_rows, 2 * std::uint64_t{facts_.rows_of_class.size()}));
    }

    double tokens_of(std::uint64_t rows) const {
        return static_cast<double>(facts_.tokens) / static_cast<double>(facts_.rows()) * static_cast<double>(rows);
    }
    // That a linear model learns from in so many seconds.
    std::uint64_t words_rows_within(double seconds) const {
        const double all = speed_.linear * tokens_of(facts_.rows());
        if (all <= seconds) return facts_.rows();
        return static_cast<std::uint64_t>(seconds / all * static_cast<double>(facts_.rows()));
    }
    double judging_seconds() const { return static_cast<double>(facts_.judged_tokens) / speed_.prediction; }
    double least_judged() const {
        if (facts_.judged_rows <= recipe_.least_judged) return 1;
        return static_cast<double>(recipe_.least_judged) / static_cast<double>(facts_.judged_rows);
    }
    double judged() const {
        return facts_.judged_tokens == 0
                   ? 1
                   : std::clamp(recipe_.judging_share * given_ / judging_seconds(), least_judged(), 1.0);
    }
    ClassifierPlan classifier(std::uint64_t rows, int epochs, std::size_t networks, std::uint64_t words_rows,
                              double judged) const {
        const double tokens = tokens_of(rows), training = tokens * epochs / speed_.classifier;
        ClassifierPlan plan{.rows = rows,
                            .words_rows = std::max(rows, words_rows),
                            .epochs = epochs,
                            .batch = batch(rows),
                            .folds = folds_,
                            .judged = judged};
        take_networks(plan, networks_, networks);
        plan.comparing = speed_.linear * tokens_of(plan.words_rows);
        plan.member_seconds = speed_.run + training;
        if (folds_ > 0)
            plan.fold_seconds = speed_.run + training * (folds_ - 1) / folds_ + tokens / folds_ / speed_.prediction;
        if (facts_.judged_tokens > 0) plan.judging = speed_.run + plan.averaged() * plan.judged * judging_seconds();
        return plan;
    }
    // What stage 3 takes if the first network is to have all that it wants.
    double first_seconds() const {
        const double first = classifier(facts_.rows(), epochs(facts_.rows()), 1, facts_.rows(), judged()).total();
        return first / (1 - pseudo_share());
    }
    ClassifierPlan least() const { return classifier(least_rows(), least_epochs(least_rows()), 1, 0, least_judged()); }

    // The networks have what the pseudo-labels leave, and those what the networks leave.
    ClassifierPlan classifier_within(double seconds) const {
        ClassifierPlan plan = networks_within((1 - pseudo_share()) * seconds);
        add_pseudo_labels(plan, seconds - plan.total());
        return plan.pseudo > 0 ? plan : networks_within(seconds);
    }

private:
    // What is given up first costs the classifier the least: networks, then epochs, then rows.
    ClassifierPlan networks_within(double seconds) const {
        const std::uint64_t all = facts_.rows(), words = words_rows_within(recipe_.words_share * seconds);
        for (std::size_t networks = networks_.size(); networks > 1; --networks)
            if (const ClassifierPlan plan = classifier(all, epochs(all), networks, all, judged());
                plan.total() <= seconds)
                return plan;
        for (int e = epochs(all); e >= least_epochs(all); --e)
            if (const ClassifierPlan plan = classifier(all, e, 1, all, judged()); plan.total() <= seconds) return plan;
        ClassifierPlan best = least();
        for (std::uint64_t fits = best.rows, too_many = all; too_many - fits > 1;) {
            const std::uint64_t rows = fits + (too_many - fits) / 2;
            const ClassifierPlan plan = classifier(rows, least_epochs(rows), 1, words, judged());
            (plan.total() <= seconds ? fits : too_many) = rows;
            if (plan.total() <= seconds) best = plan;
        }
        return best;
    }

    // Where nothing is held out it cannot be told what they are worth.
    double pseudo_share() const {
        const bool some = facts_.unlabelled > 0 && speed_.linear_once > 0 && folds_ > 0;
        return some ? recipe_.pseudo_share : 0;
    }
    void add_pseudo_labels(ClassifierPlan& plan, double seconds) const {
        if (pseudo_share() == 0 || plan.folds_held == 0) return;
        const double tokens = static_cast<double>(facts_.unlabelled_tokens) / static_cast<double>(facts_.unlabelled);
        const double each = tokens * (1 / speed_.prediction + speed_.linear_once),
                     before = speed_.run + tokens_of(plan.rows) * speed_.linear_once;
        const double within = std::clamp((seconds / plan.labelling() - before) / each, 0.0,
                                         static_cast<double>(std::min(facts_.unlabelled, recipe_.most_pseudo)));
        if (within < static_cast<double>(recipe_.least_pseudo_labels(plan.rows))) return;
        plan.pseudo = static_cast<std::uint64_t>(within);
        plan.pseudo_seconds = before + static_cast<double>(plan.pseudo) * each;
    }

    // A power of two, so large that there are neither very few updates nor more than learning needs.
    std::size_t text_batch(double read) const {
        const auto power_for = [&](double updates) {
            const auto sequences = static_cast<std::size_t>(read / (static_cast<double>(facts_.context) * updates));
            return std::bit_floor(std::max<std::size_t>(1, sequences));
        };
        const std::size_t batch = std::max(power_for(recipe_.most_text_updates),
                                           std::min(power_for(recipe_.text_updates), recipe_.text_batch));
        return std::max(facts_.replicas, std::clamp(batch, recipe_.least_text_batch, recipe_.most_text_batch));
    }

    const FitFacts& facts_;
    const FitSpeed& speed_;
    const FitRecipe& recipe_;
    const double given_;
    const std::uint32_t folds_;
    const std::vector<Network> networks_;
};

// To the next tenth of a minute.
double minutes_from(double seconds) { return std::ceil(seconds / 6 - 1e-9) / 10; }

}  // namespace

std::uint64_t FitFacts::rows() const {
    return std::accumulate(rows_of_class.begin(), rows_of_class.end(), std::uint64_t{0});
}

bool FitFacts::has_text(const FitRecipe& recipe) const {
    return text_tokens > recipe.least_text_windows * context && text_tokens > 0;
}

std::uint64_t FitFacts::folds(const FitRecipe& recipe) const {
    // Whatever is held out, two classes must remain.
    const auto remain = std::ranges::count_if(rows_of_class, [](std::uint64_t rows) { return rows >= 2; });
    if (remain < 2) return 0;
    return std::clamp<std::uint64_t>(rows() / recipe.rows_of_fold, recipe.least_folds, recipe.most_folds);
}

std::vector<Network> networks_in_order(std::uint32_t folds, bool has_test, const FitRecipe& recipe) {
    std::vector<Network> order;
    std::uint32_t fold = 0, member = 0;
    const auto add_fold = [&] {
        if (fold < folds) order.push_back({++fold, 0});
    };
    const auto add_member = [&] {
        if (member < recipe.most_members) order.push_back({0, ++member});
    };
    add_fold();
    add_member();
    if (!has_test) add_fold();
    add_member();
    while (!has_test && fold < folds) add_fold();
    while (member < recipe.most_members) add_member();
    if (fold < 2) add_fold();
    order.resize(std::min<std::uint64_t>(order.size(), recipe.most_networks));
    return order;
}

void take_networks(ClassifierPlan& plan, const std::vector<Network>& order, std::size_t count) {
    plan.folds_held = plan.members = 0;
    for (std::size_t i = 0; i < std::min(count, order.size()); ++i)
        ++(order[i].fold > 0 ? plan.folds_held : plan.members);
}

FitPlan plan_fit(const FitFacts& facts, const FitSpeed& speed, double seconds_left, double spent,
                 const FitRecipe& recipe) {
    const Planner planner(facts, speed, spent + seconds_left, recipe);
    const double text = planner.text_seconds(planner.least_read()), classifier = planner.least().total();
    check_usage(text + classifier <= planner.usable(seconds_left),
                "--minutes is too little for this task on this machine: {}stage 3 takes {} at least; give "
                "--minutes {:.1f} or more",
                text > 0 ? "stage 2 takes " + format_duration(text) + " at least and " : "",
                format_duration(classifier), minutes_from(spent + planner.given_for(text + classifier)));
    return plan_rest(facts, speed, seconds_left, spent, recipe);
}

FitPlan plan_rest(const FitFacts& facts, const FitSpeed& speed, double seconds_left, double spent,
                  const FitRecipe& recipe) {
    const Planner planner(facts, speed, spent + seconds_left, recipe);
    const double usable = planner.usable(seconds_left), least = planner.least().total();
    const double least_text = planner.text_seconds(planner.least_read()),
                 most_text = planner.text_seconds(planner.most_read());
    // What stage 2 does not want belongs to stage 3; where both want more they share.
    const double wished = std::max(
        {usable - most_text, recipe.share * usable, std::min(planner.first_seconds(), recipe.first_share * usable)});
    FitPlan plan;
    plan.classifier = planner.classifier_within(std::max(least, std::min(wished, usable - least_text)));
    plan.text = planner.text_within(usable - plan.classifier.total());
    if (plan.text.read > 0)
        plan.text.latest =
            spent + (1 - recipe.reserve / 2) * seconds_left - std::max(least, plan.classifier.total() / 2);
    return plan;
}

std::string description(const FitPlan& plan, const FitFacts& facts) {
    const auto count = [](auto n) { return format_count(static_cast<double>(n)); };
    const auto line = [](const std::string& what, const std::string& how, double seconds) {
        return fmt::format("  {:<18}  {:<66}  about {}\n", what, how, format_duration(seconds));
    };
    const TextPlan& text = plan.text;
    const ClassifierPlan& c = plan.classifier;
    std::string lines;
    if (text.read > 0)
        lines += line("language model",
                      fmt::format("{} tokens read, {:.1f} times {}{} tokens of text", count(text.read),
                                  static_cast<double>(text.read) / static_cast<double>(text.tokens),
                                  text.tokens < facts.text_tokens ? "a sample of " : "", count(text.tokens)),
                      text.seconds);
    else if (facts.text_tokens > 0)
        lines +=
            fmt::format("  {:<18}  left out: {} tokens of text are too few\n", "language model", facts.text_tokens);
    if (c.comparing > 0)
        lines +=
            line("linear model",
                 fmt::format("of words, of {}",
                             c.words_rows < facts.rows() ? fmt::format("{} of the rows", c.words_rows) : "all rows"),
                 c.comparing);
    const std::string rows = c.rows < facts.rows() ? fmt::format("a sample of {} of the {} rows", c.rows, facts.rows())
                                                   : fmt::format("all {} rows", c.rows);
    const std::string how = fmt::format("{}, {} times, {} at a time", rows, c.epochs, c.batch);
    if (c.members == 0)
        lines += line("classifier", fmt::format("a network of {} of {} parts of {}", c.folds - 1, c.folds, how),
                      c.fold_seconds);
    else if (c.folds_held > 0)
        lines += line("folds",
                      fmt::format("{} of {} held out in turn, to learn how much words and network count",
                                  c.folds_held == c.folds ? "all" : fmt::format("{}", c.folds_held), c.folds),
                      c.folds_held * c.fold_seconds);
    if (c.pseudo > 0)
        lines +=
            line("pseudo-labels",
                 fmt::format("{} texts without labels, for the linear model, {} times", count(c.pseudo), c.labelling()),
                 c.labelling() * c.pseudo_seconds);
    else if (facts.unlabelled > 0)
        lines += fmt::format("  {:<18}  left out: too few texts without labels, or too little time\n", "pseudo-labels");
    if (c.members > 0)
        lines += line("classifier", c.members == 1 ? how : fmt::format("{} networks of {}", c.members, how),
                      c.members * c.member_seconds);
    if (facts.judged_tokens > 0)
        lines += line("judging",
                      count(c.judged * static_cast<double>(facts.judged_tokens)) +
                          (c.judged < 1 ? " tokens, of a sample of the texts" : " tokens"),
                      c.judging);
    if (c.members == 0 && c.folds > 0)
        lines +=
            "  note: more minutes, or a smaller model (english-small takes a quarter to a half of english's time), "
            "would make it a network of all rows\n";
    return lines;
}

nlohmann::json to_json(const FitPlan& plan) {
    const TextPlan& t = plan.text;
    const ClassifierPlan& c = plan.classifier;
    return {
        {"text",
         {{"tokens", t.tokens}, {"read", t.read}, {"batch", t.batch}, {"seconds", t.seconds}, {"latest", t.latest}}},
        {"classifier",
         {{"rows", c.rows},
          {"words_rows", c.words_rows},
          {"epochs", c.epochs},
          {"batch", c.batch},
          {"folds", c.folds},
          {"folds_held", c.folds_held},
          {"members", c.members},
          {"fold_seconds", c.fold_seconds},
          {"member_seconds", c.member_seconds},
          {"comparing", c.comparing},
          {"pseudo", c.pseudo},
          {"pseudo_seconds", c.pseudo_seconds},
          {"judged", c.judged},
          {"judging", c.judging}}}};
}

FitPlan fit_plan_from(const nlohmann::json& plan) {
    const nlohmann::json &t = plan.at("text"), &c = plan.at("classifier");
    return {
        {t.at("tokens"), t.at("read"), t.at("batch"), t.at("seconds"), t.at("latest")},
        {c.at("rows"), c.at("words_rows"), c.at("epochs"), c.at("batch"), c.at("folds"), c.at("folds_held"),
         c.at("members"), c.at("fold_seconds"), c.at("member_seconds"), c.at("comparing"),
         c.value("pseudo", std::uint64_t{0}), c.value("pseudo_seconds", 0.0), c.value("judged", 1.0), c.at("judging")}};
}

nlohmann::json to_json(const FitSpeed& s) {
    return {{"text", s.text},
            {"classifier", s.classifier},
            {"prediction", s.prediction},
            {"encoding", s.encoding},
            {"linear", s.linear},
            {"linear_once", s.linear_once},
            {"run", s.run}};
}

FitSpeed fit_speed_from(const nlohmann::json& s) {
    return {s.at("text"),   s.at("classifier"),          s.at("prediction"), s.at("encoding"),
            s.at("linear"), s.value("linear_once", 0.0), s.at("run")};
}

}  // namespace ulmpi
