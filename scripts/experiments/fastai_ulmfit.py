"""fastai's own ULMFiT in the minutes given: an AWD-LSTM trained from the same text as ours, no weights from elsewhere.

  fastai.sh general  --model DIR --minutes M --text FILE...               stage 1, on plain text (.gz, .zst too)
  fastai.sh domain   --model DIR --minutes M --text FILE... --from DIR    stage 2
  fastai.sh classify --from DIR  --minutes M --train FILE.tsv --input FILE --output FILE [--seed N]    stage 3

Rates, dropout, gradual unfreezing and the factor of 2.6 are those of fastai's documentation. The one-cycle schedule goes by
the clock, so that every phase ends when its share of the minutes is over, reading and splitting into words included.
"""

import argparse
import json
import pickle
import time
from itertools import islice
from pathlib import Path

import numpy
import pandas
import torch
from fastai.text.all import (AWD_LSTM, CancelFitException, ColReader, DataBlock, ParamScheduler, RandomSplitter, TextBlock,
                             TextDataLoaders, awd_lstm_clas_config, awd_lstm_lm_config, combined_cos,
                             language_model_learner, set_seed, text_classifier_learner)

from overlaps import lines_of

VOCABULARY = 30000  # most frequent words, as in the paper
BATCH, CONTEXT = 32, 72
WIDTH = {"emb_sz": 400, "n_hid": 1152, "n_layers": 3}  # fastai's AWD-LSTM
WORDS_A_SECOND = 5000  # more than two cores read: text beyond it would only be split into words
CLASSIFIER_BATCH = 16
FACTOR = 2.6 ** 4  # from the lowest group of layers to the head


class ByTheClock(ParamScheduler):
    """fastai's one cycle, over seconds instead of batches."""

    def __init__(self, rate, seconds):
        super().__init__({"lr": combined_cos(0.25, rate / 25, rate, rate / 1e5), "mom": combined_cos(0.25, 0.8, 0.7, 0.8)})
        self.begin, self.seconds, self.batches = time.time(), seconds, 0

    def before_batch(self):
        if self.training:
            passed = (time.time() - self.begin) / self.seconds
            if passed >= 1:
                raise CancelFitException
            self._update_val(passed)
            self.batches += 1


def fit(learner, rate, seconds):
    """rate: of the head; a tuple gives the lowest group's too."""
    learner.create_opt()
    lowest, highest = rate if isinstance(rate, tuple) else (rate, rate)
    groups = len(learner.opt.param_lists)
    rates = numpy.geomspace(lowest, highest, groups)
    clock = ByTheClock(rates, max(1.0, seconds))
    with learner.no_bar(), learner.no_logging():
        learner.fit(10**6, cbs=clock)
    print(json.dumps({"seconds": round(time.time() - clock.begin, 1), "batches": clock.batches,
                      "epochs": round(clock.batches / len(learner.dls.train), 2)}), flush=True)


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


def language_model(texts, known):
    """A learner over the texts; known: a folder whose model it starts from."""
    block = TextBlock.from_df("text", is_lm=True, seq_len=CONTEXT, max_vocab=VOCABULARY)
    loaders = DataBlock(block, get_x=ColReader("text"), splitter=RandomSplitter(0.05, seed=0)).dataloaders(
        pandas.DataFrame({"text": texts}), bs=BATCH, seq_len=CONTEXT)
    learner = language_model_learner(loaders, AWD_LSTM, config=awd_lstm_lm_config | WIDTH, drop_mult=0.3 if known else 0.1,
                                     pretrained=False)
    return learner.load_pretrained(known / "model.pth", known / "vocabulary.pkl") if known else learner


def save(learner, folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(learner.model.state_dict(), folder / "model.pth")
    torch.save(learner.model[0].state_dict(), folder / "encoder.pth")
    with open(folder / "vocabulary.pkl", "wb") as file:
        pickle.dump(list(learner.dls.vocab), file)


def train_language_model(options, deadline):
    texts = texts_of(options.text, int(60 * options.minutes * WORDS_A_SECOND * 5))
    learner = language_model(texts, options.start)
    if options.start:  # the head first, then all, as fastai's documentation does
        learner.freeze()
        fit(learner, 2e-2, 0.2 * (deadline - time.time()))
    learner.unfreeze()
    fit(learner, 2e-3 if options.start else 5e-3, deadline - time.time())
    save(learner, options.model)
    with learner.no_bar(), learner.no_logging():
        print(json.dumps({"validation_loss": float(learner.validate()[0]), "vocabulary": len(learner.dls.vocab)}))


def classify(options, deadline):
    set_seed(options.seed, reproducible=True)
    with open(options.start / "vocabulary.pkl", "rb") as file:
        vocabulary = pickle.load(file)
    rows = [line.rstrip("\n").split("\t", 1) for line in islice(lines_of(options.train), 1, None)]
    frame = pandas.DataFrame(rows, columns=["label", "text"])
    loaders = TextDataLoaders.from_df(frame, text_col="text", label_col="label", valid_pct=0, text_vocab=vocabulary,
                                      bs=CLASSIFIER_BATCH, seq_len=CONTEXT)
    learner = text_classifier_learner(loaders, AWD_LSTM, config=awd_lstm_clas_config | WIDTH, drop_mult=0.5,
                                      pretrained=False, n_out=loaders.c)
    learner.model[0].module.load_state_dict(torch.load(options.start / "encoder.pth"))
    seconds = deadline - time.time()
    for groups, rate, share in ((-1, 2e-2, 0.1), (-2, 1e-2, 0.15), (-3, 5e-3, 0.15), (0, 1e-3, 0.6)):
        learner.freeze_to(groups)
        fit(learner, (rate / FACTOR, rate), share * seconds)
    with learner.no_bar():
        probabilities, _ = learner.get_preds(dl=loaders.test_dl([line.rstrip("\n") for line in lines_of(options.input)]))
    names = list(loaders.vocab[1])
    partial = options.output.with_suffix(".partial")
    partial.write_text("".join(f"{names[row]}\n" for row in probabilities.argmax(dim=1).tolist()))
    partial.rename(options.output)


def main():
    started = time.time()
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
    work = classify if options.stage == "classify" else train_language_model
    work(options, started + 60 * options.minutes)


if __name__ == "__main__":
    main()
