#!/usr/bin/env python3
"""Makes linear_golden.json, what scikit-learn says of small made-up texts: the n-grams in them, and the probabilities that
logistic regression gives to rows it was not trained on.

  pip install scikit-learn; make_linear_golden.py > linear_golden.json

The program penalises the bias e by |e|^2 / 2 about the log share of each class. Where the classes are equally large that is
scikit-learn's regression without an intercept, with a column of 1 / sqrt(C). For two classes its C is twice the program's,
which has a weight vector for each.
"""
import json
import random

import numpy as np
import scipy.sparse as sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

PATTERN = r"(?u)\b\w+\b|[?!']"
WORDS = {
    "weather": "rain sun Cloud wind storm snow_flakes warm cold SKY fog Überschwemmung".split(),
    "kitchen": "soup Knife boil salt fry onion oven plate crêpes spoon über".split(),
    "music": "violin Drum chord tune Bach rhythm sing! loud? piano étude РИТМ ритм".split(),
}
COMMON = "the a and It's was not very 3 42 of to my .. , ! ? ' don't".split()


def texts_of(classes, rows, seed):
    draw = random.Random(seed)
    texts, labels = [], []
    for row in range(rows):
        label = row % len(classes)
        own, other = WORDS[classes[label]], WORDS[draw.choice(classes)]
        words = [draw.choice(draw.choice([own, own, other, COMMON, COMMON])) for _ in range(draw.randint(1, 14))]
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def ngrams():
    texts = texts_of(sorted(WORDS), 12, 5)[0] + ["", "  --  ", "one", "Same same SAME?!", "l'été_2 d’accord".replace("’", "'")]
    count = CountVectorizer(ngram_range=(1, 3), token_pattern=PATTERN)
    matrix = count.fit_transform(texts)
    names = count.get_feature_names_out()
    return [{"text": text, "counts": {names[j]: int(matrix[i, j]) for j in matrix[i].indices}}
            for i, text in enumerate(texts)]


def regression(classes, order, emphasis, strength, seed):
    rows, held_out = 12 * len(classes), 5 * len(classes)
    texts, labels = texts_of(classes, rows + held_out, seed)
    y = np.array(labels[:rows])
    count = CountVectorizer(ngram_range=(1, order), token_pattern=PATTERN)
    train = count.fit_transform(texts[:rows]).toarray().astype(float)
    test = count.transform(texts[rows:]).toarray().astype(float)
    present = (train > 0).astype(float)
    idf = np.log((1 + rows) / (1 + present.sum(0))) + 1
    # With two classes the ratios of the one are minus those of the other; with more, emphasis is not scikit-learn's.
    assert emphasis == 0 or len(classes) == 2
    p, q = 1 + present[y == 0].sum(0), 1 + present[y != 0].sum(0)
    ratio = np.log(p / p.sum()) - np.log(q / q.sum())
    scale = np.sqrt(1 + emphasis * ratio ** 2)
    scale /= np.sqrt((scale ** 2).mean())

    def features(counts):
        x = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
        norm = np.sqrt((x ** 2).sum(1, keepdims=True))
        x = x / np.where(norm > 0, norm, 1) * scale
        return np.hstack([x, np.full((len(x), 1), strength ** -0.5)])

    model = LogisticRegression(C=strength * (2 if len(classes) == 2 else 1), fit_intercept=False, tol=1e-12, max_iter=100000,
                               solver="newton-cg")
    model.fit(features(train), y)
    return {"texts": texts, "labels": labels, "rows": rows, "classes": len(classes), "order": order, "emphasis": emphasis,
            "strength": strength, "log_probabilities": model.predict_log_proba(features(test)).ravel().tolist()}


print(json.dumps({
    "ngrams": ngrams(),
    "regressions": [regression(["kitchen", "weather"], 1, 0, 1, 1), regression(["kitchen", "weather"], 2, 1, 30, 2),
                    regression(["kitchen", "music"], 3, 10, 300, 3), regression(sorted(WORDS), 2, 0, 10, 4)],
}, ensure_ascii=False, indent=1))
