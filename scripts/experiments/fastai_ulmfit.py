"""fastai's own ULMFiT in the minutes given: an AWD-LSTM trained from the same text as ours, no weights from elsewhere.

  fastai_ulmfit.py general  --model DIR --minutes M --text FILE...               stage 1, on plain text (.gz, .zst too)
  fastai_ulmfit.py domain   --model DIR --minutes M --text FILE... --from DIR    stage 2
  fastai_ulmfit.py classify --from DIR  --minutes M --train FILE.tsv --input FILE --output FILE [--seed N]    stage 3

Rates, dropout, gradual unfreezing and the factor of 2.6 are those of fastai's documentation. Each stage measures its speed
on a few batches first; how much text it reads, or how many epochs it makes, then follows from the minutes.
"""

import argparse
import json
import pickle
import sys
import time
from itertools import islice
from pathlib import Path

import pandas
import torch
from fastai.text.all import (AWD_LSTM, Callback, CancelFitException, L, TextDataLoaders, awd_lstm_clas_config,
                             awd_lstm_lm_config, language_model_learner, set_seed, text_classifier_learner)

from overlaps import lines_of

VOCABULARY = 20000  # most frequent words; fastai's own default is 60,000, for a corpus some times as large
BATCH, CONTEXT = 32, 72
WIDTH = {"emb_sz": 400, "n_hid": 1152, "n_layers": 3}  # fastai's AWD-LSTM
MEASURED = 12  # batches, of which the first third does not count
CLASSIFIER_BATCH = 16


class Stopwatch(Callback):
    """Seconds a batch, from a fit that ends after MEASURED of them."""

    def before_fit(self):
        self.seconds = []

    def before_batch(self):
        self.started = time.time()

    def after_batch(self):
        if self.training:
            self.seconds.append(time.time() - self.started)
        if len(self.seconds) == MEASURED:
            raise CancelFitException

    def a_batch(self):
        kept = self.seconds[len(self.seconds) // 3:]
        return sum(kept) / len(kept)


def seconds_a_batch(learner):
    """Measured without leaving a trace in the weights."""
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    stopwatch = Stopwatch()
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-6, cbs=stopwatch)
    learner.model.load_state_dict(before)
    learner.opt = None
    return stopwatch.a_batch()


def texts_of(paths, characters):
    """Documents, a line each, up to so many characters in all."""
    found = []
    for path in paths:
        for line in lines_of(path):
            if characters <= 0:
                return found
            if line.strip():
                found.append(line.strip())
                characters -= len(line)
    return found


def language_model(texts, vocabulary, known):
    """A learner over the texts; known: a folder whose model it starts from."""
    frame = pandas.DataFrame({"text": texts})
    loaders = TextDataLoaders.from_df(frame, text_col="text", is_lm=True, valid_pct=0.05, seed=0, bs=BATCH, seq_len=CONTEXT,
                                      max_vocab=VOCABULARY, text_vocab=vocabulary)
    names = [(known / "model").resolve(), (known / "vocabulary").resolve()] if known else None
    learner = language_model_learner(loaders, AWD_LSTM, config=awd_lstm_lm_config | WIDTH, drop_mult=0.3 if known else 0.1,
                                     pretrained=False)
    return learner if names is None else learner.load_pretrained(*[f"{name}.{kind}" for name, kind in
                                                                   zip(names, ("pth", "pkl"))])


def save(learner, folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(learner.model.state_dict(), folder / "model.pth")
    torch.save(learner.model[0].state_dict(), folder / "encoder.pth")
    with open(folder / "vocabulary.pkl", "wb") as file:
        pickle.dump(list(learner.dls.vocab), file)


def train_language_model(options):
    started, seconds = time.time(), 60 * options.minutes
    # Enough to measure on first: a batch is some BATCH · CONTEXT words of 6 characters.
    sample = texts_of(options.text, 3 * MEASURED * BATCH * CONTEXT * 6)
    learner = language_model(sample, None, options.start)
    a_batch = seconds_a_batch(learner)
    words = (seconds - (time.time() - started)) * 0.9 / a_batch * BATCH * CONTEXT  # a tenth for reading and validation
    texts = texts_of(options.text, int(words * 5))
    available = sum(len(text) for text in texts) / 5
    learner = language_model(texts, None, options.start)
    batches = len(learner.dls.train)
    left = seconds - (time.time() - started)
    epochs = max(1, round(left * 0.95 / (a_batch * batches)))
    print(json.dumps({"seconds_a_batch": a_batch, "batches": batches, "epochs": epochs, "words": available}), flush=True)
    with learner.no_bar():
        if options.start:  # the head first, then all, as fastai's documentation does
            learner.fit_one_cycle(1, 2e-2, moms=(0.8, 0.7, 0.8))
            learner.unfreeze()
            learner.fit_one_cycle(max(1, epochs - 1), 2e-3, moms=(0.8, 0.7, 0.8))
        else:
            learner.unfreeze()
            learner.fit_one_cycle(epochs, 5e-3, moms=(0.8, 0.7, 0.8), div=10)
    save(learner, options.model)
    print(json.dumps({"validation_loss": float(learner.validate()[0]), "seconds": time.time() - started}))


def classify(options):
    started, seconds = time.time(), 60 * options.minutes
    set_seed(options.seed, reproducible=True)
    with open(options.start / "vocabulary.pkl", "rb") as file:
        vocabulary = pickle.load(file)
    rows = [line.rstrip("\n").split("\t", 1) for line in islice(lines_of(options.train), 1, None)]
    frame = pandas.DataFrame(rows, columns=["label", "text"])
    loaders = TextDataLoaders.from_df(frame, text_col="text", label_col="label", valid_pct=0, text_vocab=vocabulary,
                                      bs=CLASSIFIER_BATCH, seq_len=CONTEXT)
    learner = text_classifier_learner(loaders, AWD_LSTM, config=awd_lstm_clas_config | WIDTH, drop_mult=0.5,
                                      pretrained=False, n_out=loaders.c)
    encoder = learner.model[0].module
    encoder.load_state_dict(torch.load(options.start / "encoder.pth"))
    learner.freeze()
    batches, a_batch = len(loaders.train), None
    learner.unfreeze()
    a_batch = seconds_a_batch(learner)
    # One epoch each for the three unfreezing phases, the rest with all layers.
    left = seconds - (time.time() - started)
    epochs = max(1, min(50, int(left * 0.9 / (a_batch * batches)) - 3))
    print(json.dumps({"seconds_a_batch": a_batch, "batches": batches, "epochs": epochs}), flush=True)
    factor = 2.6 ** 4
    with learner.no_bar():
        learner.freeze()
        learner.fit_one_cycle(1, 2e-2)
        for groups, rate in ((-2, 1e-2), (-3, 5e-3)):
            learner.freeze_to(groups)
            learner.fit_one_cycle(1, slice(rate / factor, rate))
        learner.unfreeze()
        learner.fit_one_cycle(epochs, slice(1e-3 / factor, 1e-3))
        texts = [line.rstrip("\n") for line in lines_of(options.input)]
        asked = loaders.test_dl(texts)
        probabilities, _ = learner.get_preds(dl=asked)
    names = list(loaders.vocab[1])
    partial = options.output.with_suffix(".partial")
    partial.write_text("".join(f"{names[row]}\n" for row in probabilities.argmax(dim=1).tolist()))
    partial.rename(options.output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["general", "domain", "classify"])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--from", dest="start", type=Path)
    for name in ("model", "train", "input", "output"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--text", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    needed = {"general": ["model", "text"], "domain": ["model", "text", "start"],
              "classify": ["start", "train", "input", "output"]}[options.stage]
    missing = [name for name in needed if getattr(options, name) is None]
    if missing:
        parser.error(f"{options.stage} needs {', '.join('--' + name.replace('start', 'from') for name in missing)}")
    classify(options) if options.stage == "classify" else train_language_model(options)


if __name__ == "__main__":
    main()
