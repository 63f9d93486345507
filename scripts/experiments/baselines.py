"""What a careful user would try first. Strengths are chosen among the candidates of each by validation."""

import re
import shutil
from functools import lru_cache
from itertools import product
from typing import Any

from cells import Bench, CommandFailed, Method, Options
from labelled import Row, commonest

TF_IDF = [{"ngrams": n, "c": c} for n, c in product([1, 2, 3], [1, 3, 10, 30, 100])]
NB_NGRAMS = [{"ngrams": n, "c": c} for n, c in product([2, 3], [0.03, 0.1, 0.3, 1, 3])]
FASTTEXT = [{"word_ngrams": n, "lr": lr, "epochs": e} for n, lr, e in product([1, 2], [0.1, 0.3, 1.0], [10, 30, 100])]
# Up to so many rows: at most so many epochs, so many hash buckets for word pairs.
FASTTEXT_SIZES = ((2000, 100, 50_000), (10_000, 30, 500_000), (10**9, 10, 500_000))

WORDS = r"(?u)\b\w+\b|[?!']"


def rare_below(rows: int) -> int:
    """n-grams that occur in fewer documents are left out."""
    return 2 if rows > 5000 else 1


class Majority(Method):
    """Always the commonest label."""
    deterministic = True

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        return [commonest(train)] * len(texts)


@lru_cache(maxsize=1)
def tf_idf(train: tuple[str, ...], texts: tuple[str, ...], ngrams: int):
    from sklearn.feature_extraction.text import TfidfVectorizer
    words = TfidfVectorizer(ngram_range=(1, ngrams), sublinear_tf=True, min_df=rare_below(len(train)), token_pattern=WORDS)
    return words.fit_transform(train), words.transform(texts)


@lru_cache(maxsize=1)
def binary_ngrams(train: tuple[str, ...], texts: tuple[str, ...], ngrams: int):
    from sklearn.feature_extraction.text import CountVectorizer
    words = CountVectorizer(ngram_range=(1, ngrams), binary=True, min_df=rare_below(len(train)), token_pattern=WORDS)
    return words.fit_transform(train), words.transform(texts)


class TfIdf(Method):
    """TF-IDF of word n-grams, logistic regression."""
    deterministic = True

    def definition(self) -> dict[str, Any]:
        return {"candidates": TF_IDF}

    def candidates(self, rows: int) -> list[Options]:
        return TF_IDF

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        from sklearn.linear_model import LogisticRegression
        labels = [label for label, _ in train]
        if len(set(labels)) == 1:
            return labels[:1] * len(texts)
        known, asked = tf_idf(tuple(text for _, text in train), tuple(texts), options["ngrams"])
        model = LogisticRegression(C=options["c"], max_iter=300).fit(known, labels)
        return list(model.predict(asked))


class NaiveBayesNgrams(Method):
    """Word n-grams weighted by naive Bayes log-count ratios, logistic regression, one class against the rest
    (Wang & Manning 2012, with a logistic loss)."""
    deterministic = True

    def definition(self) -> dict[str, Any]:
        return {"candidates": NB_NGRAMS}

    def candidates(self, rows: int) -> list[Options]:
        return NB_NGRAMS

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        import numpy
        from sklearn.linear_model import LogisticRegression
        known, asked = binary_ngrams(tuple(text for _, text in train), tuple(texts), options["ngrams"])
        labels = numpy.array([label for label, _ in train])
        classes = sorted(set(labels))
        if len(classes) == 1:
            return classes * len(texts)
        scores = []
        for label in classes if len(classes) > 2 else classes[1:]:
            inside = labels == label
            with_it, without = (1 + numpy.asarray(known[rows].sum(axis=0)).ravel() for rows in (inside, ~inside))
            ratio = numpy.log(with_it / with_it.sum()) - numpy.log(without / without.sum())
            model = LogisticRegression(C=options["c"], solver="liblinear", max_iter=300)
            model.fit(known.multiply(ratio).tocsr(), inside)
            scores.append(model.decision_function(asked.multiply(ratio).tocsr()))
        chosen = numpy.argmax(scores, axis=0) if len(classes) > 2 else (scores[0] > 0).astype(int)
        return [classes[place] for place in chosen]


class FastText(Method):
    """fastText (Joulin et al. 2016), Debian's program; one thread, since more make its results vary."""

    def definition(self) -> dict[str, Any]:
        if not shutil.which("fasttext"):
            raise CommandFailed("there is no program fasttext: install Debian's package of that name, or name other rows by "
                                "--only")
        return {"candidates": FASTTEXT, "sizes": FASTTEXT_SIZES}

    def candidates(self, rows: int) -> list[Options]:
        epochs, buckets = next((epochs, buckets) for most, epochs, buckets in FASTTEXT_SIZES if rows <= most)
        return [options | {"buckets": buckets} for options in FASTTEXT if options["epochs"] <= epochs]

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        def spaced(text: str) -> str:
            return re.sub(r"([.,!?()'\"])", r" \1 ", text.lower())
        classes = sorted({label for label, _ in train})
        number = {label: place for place, label in enumerate(classes)}
        bench.folder.mkdir(parents=True, exist_ok=True)
        rows, asked, model = bench.folder / "rows.txt", bench.folder / "texts.txt", bench.folder / "model"
        rows.write_text("".join(f"__label__{number[label]} {spaced(text)}\n" for label, text in train))
        asked.write_text("".join(f"{spaced(text)}\n" for text in texts))
        try:
            bench.run(["fasttext", "supervised", "-input", rows, "-output", model, "-lr", options["lr"], "-epoch",
                       options["epochs"], "-wordNgrams", options["word_ngrams"], "-dim", 50, "-bucket", options["buckets"],
                       "-thread", 1, "-seed", bench.seed, "-verbose", 0])
        except CommandFailed as problem:
            if "NaN" not in str(problem):
                raise
            return [commonest(train)] * len(texts)  # the rate was too large: no choice of validation's
        said = bench.run(["fasttext", "predict", f"{model}.bin", asked]).split("\n")[:-1]
        # It says nothing of a text without a known word.
        return [classes[int(line.removeprefix("__label__"))] if line else commonest(train) for line in said]


BASELINES: dict[str, Method] = {
    "majority": Majority(),
    "tf-idf": TfIdf(),
    "nb-ngrams": NaiveBayesNgrams(),
    "fasttext": FastText(),
}
