"""Times a training step of PyTorch: the model of `ulmpi bench step`, made of PyTorch's own parts. Prints one line of JSON:
tokens_per_s, peak_mb. A decoder-only Transformer, Pre-LN, GELU by tanh, learned positions, the output tied to the
embedding, no dropout; or, with --embedding, AWD-LSTM without its dropouts: nn.LSTM from layer to layer, the output tied,
with a bias. AdamW, gradients clipped to a norm of 1."""

import argparse
import json
import os
import resource
import statistics
import time

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"),
                                          nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for part in self.qkv(self.before_attention(x)).chunk(3, dim=-1))
        read = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(read.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.before_feed_forward(x))


class Decoder(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, context: int, vocabulary: int):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width)
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, std=0.02)

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.tokens(inputs) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.last_norm(x), self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Recurrent(nn.Module):
    def __init__(self, layers: int, embedding: int, width: int, vocabulary: int):
        super().__init__()
        widths = [embedding, *[width] * (layers - 1), embedding]
        self.tokens, self.bias = nn.Embedding(vocabulary, embedding), nn.Parameter(torch.zeros(vocabulary))
        self.layers = nn.ModuleList(nn.LSTM(before, after, batch_first=True) for before, after in zip(widths, widths[1:]))

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.tokens(inputs)
        for layer in self.layers:
            x, _ = layer(x)
        return functional.cross_entropy(functional.linear(x, self.tokens.weight, self.bias).flatten(0, 1), targets.flatten())


def train(options: argparse.Namespace, rank: int) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(rank)
    if options.embedding:
        model: nn.Module = Recurrent(options.layers, options.embedding, options.width, options.vocabulary)
    else:
        model = Decoder(options.layers, options.width, options.heads, options.context, options.vocabulary)
    trained = model
    if options.ranks > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(options.port)}
        torch.distributed.init_process_group("gloo", rank=rank, world_size=options.ranks)
        trained = nn.parallel.DistributedDataParallel(model)
    if options.compile:
        trained = torch.compile(trained)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    text = torch.randint(options.vocabulary, (options.batch, options.context + 1))
    seconds = []
    for _ in range(2 + options.steps):
        begun = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            loss = trained(text[:, :-1], text[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if rank == 0:
        step = statistics.median(seconds[2:])
        tokens = options.ranks * options.batch * options.context
        print(json.dumps({"tokens_per_s": tokens / step, "peak_mb": peak}), flush=True)
    if options.ranks > 1:
        torch.distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("layers", "width", "context", "batch", "vocabulary", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--embedding", type=int, default=0, help="of a recurrent model; 0: a Transformer")
    parser.add_argument("--ranks", type=int, default=1, help="data parallel, over gloo")
    parser.add_argument("--port", type=int, default=29511, help="for several ranks")
    parser.add_argument("--steps", type=int, default=8, help="timed, after two that are not")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    options = parser.parse_args()
    if options.ranks == 1:
        train(options, 0)
        return
    processes = [torch.multiprocessing.get_context("spawn").Process(target=train, args=(options, rank))
                 for rank in range(options.ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        raise SystemExit("a rank failed")


if __name__ == "__main__":
    main()
