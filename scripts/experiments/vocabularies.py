"""Stage 2 with a vocabulary of the domain's own: its rows transferred from the model's, or random."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import Bench
from labelled import write_lines
from ours import Domain

VOCABULARY = "4096"


@dataclass(frozen=True)
class OwnVocabulary(Domain):
    rows: str  # "transferred" or "random"

    def options(self) -> list[str]:
        return super().options() + (["--transfer-vocabulary", "on"] if self.rows == "transferred" else [])

    @property
    def marked_with(self) -> list[Any]:
        return [self.rows, VOCABULARY]

    def train(self, bench: Bench) -> None:
        text, tokenizer, shards = (self.folder / name for name in ("text.txt", "own.json", "shards"))
        program = self.program.executable
        if not shards.exists():
            write_lines(text, self.texts)
            bench.run([program, "data", "tokenizer", "--input", text, "--vocab-size", VOCABULARY, "--output", tokenizer])
            bench.run([program, "data", "shards", "--tokenizer", tokenizer, "--input", text, "--output", shards])
        start = self.program.model if self.rows == "transferred" else self.random_rows(tokenizer, bench)
        bench.run([*self.program.on_ranks(), "finetune", "lm", "--init-from", start, "--data", shards, "--run", self.run(),
                   *self.options()])

    def random_rows(self, tokenizer: Path, bench: Bench) -> Path:
        """The model with a table of tokens as it would begin from scratch, normal of the old one's deviation, by way of
        its form as one of transformers' models."""
        import numpy
        from safetensors.numpy import load_file, save_file
        folder, model = self.folder / "exported", self.folder / "random.h5"
        if model.exists():
            return model
        if not folder.exists():
            bench.run([self.program.executable, "checkpoint", "export", self.program.model, "--output", folder])
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokens = json.loads(tokenizer.read_text(encoding="utf-8"))
        size = max(list(tokens["model"]["vocab"].values()) + [added["id"] for added in tokens["added_tokens"]]) + 1
        (file,) = folder.glob("*.safetensors")
        weights, draw = load_file(file), numpy.random.default_rng(0)
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in weights:
                old = weights[name].astype(numpy.float32)
                weights[name] = (old.std() * draw.standard_normal((size, old.shape[1]))).astype(numpy.float32)
        save_file(weights, file, metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": size}), encoding="utf-8")
        (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
        bench.run([self.program.executable, "checkpoint", "import", "--from", folder, "--output", model])
        return model
