#!/usr/bin/env python3
"""Stage 1 by PyTorch on one GPU, for who has one: a decoder of ulmpi's Llama shape, from ulmpi's shards.

  gpu_pretrain.py --data SHARDS --valid SHARDS --out FOLDER --minutes 12 [shape]
  ulmpi checkpoint import --from FOLDER --output model.h5

The equations, first weights and optimizer are those of `ulmpi pretrain --normalization rmsnorm --activation swiglu
--position-embedding rotary --linear-bias off --zero-residual-init on --optimizer muon`, in bf16. The run is as long as
the minutes allow: a constant rate, then a straight fall to 0. FOLDER is what transformers calls a LlamaForCausalLM;
its train.jsonl is the curve. Needs torch, safetensors and h5py; without a GPU it runs on the CPU, slowly.
"""

import argparse
import glob
import json
import math
import os
import shutil
import sys
import time

try:
    import h5py
    import numpy as np
    import torch
    import torch.nn.functional as F
    from safetensors.torch import save_file
except ImportError as error:
    sys.exit(f"gpu_pretrain.py: {error.name} is missing: pip install torch safetensors h5py")

FILE_BYTES = 15_000_000  # of weights in one file


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "valid", "out"):
        parser.add_argument("--" + name, required=True)
    for name, value in dict(layers=8, width=384, heads=6, ffn=1024, context=512, batch=128, seed=1, warmup=100).items():
        parser.add_argument("--" + name, type=int, default=value)
    for name, value in {"minutes": 12, "lr": 3e-3, "weight-decay": 0.1, "fall": 0.45}.items():
        parser.add_argument("--" + name, type=float, default=value)
    return parser.parse_args()


def read_shards(folder, device):
    paths = sorted(glob.glob(os.path.join(folder, "shard-*.h5")))
    if not paths:
        sys.exit(f"gpu_pretrain.py: {folder} holds no shards")
    parts = []
    for path in paths:
        with h5py.File(path) as file:
            parts.append(torch.from_numpy(file["tokens"][:].astype(np.int32)))
    return torch.cat(parts).to(device)


def norm(x, weight, dtype):
    x = x.float()
    return (x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * weight).to(dtype)


class Decoder:
    """Parameters that Muon takes are stacked over the layers, so that all are orthogonalised at once."""
    matrices = ("qkv", "out", "up", "down")

    def __init__(self, o, vocabulary, device):
        self.heads, self.width, self.ffn = o.heads, o.width, o.ffn
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        half = o.width // o.heads // 2
        angle = torch.arange(o.context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.cos, self.sin = angle.cos().to(device), angle.sin().to(device)

        def normal(*shape):
            return torch.nn.Parameter(torch.randn(*shape, device=device) * 0.02)

        def zeros(*shape):
            return torch.nn.Parameter(torch.zeros(*shape, device=device))

        def ones(*shape):
            return torch.nn.Parameter(torch.ones(*shape, device=device))

        n, d, f = o.layers, o.width, o.ffn
        self.p = dict(embedding=normal(vocabulary, d), qkv=normal(n, 3, d, d), out=zeros(n, d, d), up=normal(n, 2, f, d),
                      down=zeros(n, d, f), norm1=ones(n, d), norm2=ones(n, d), final=ones(d))

    def rotate(self, x):  # pairs (i, i + half), as in Llama
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1).to(x.dtype)

    def loss(self, tokens):
        """Mean cross-entropy of tokens [batch, context + 1]."""
        p, d, dtype = self.p, self.width, self.dtype
        x, y = tokens[:, :-1], tokens[:, 1:]
        batch, length = x.shape
        h = F.embedding(x, p["embedding"])
        layers = zip(*(p[k].to(dtype).unbind(0) for k in self.matrices), p["norm1"].unbind(0), p["norm2"].unbind(0))
        for qkv, out, up, down, norm1, norm2 in layers:
            parts = F.linear(norm(h, norm1, dtype), qkv.reshape(3 * d, d)).split(d, 2)
            q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in parts)
            seen = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
            h = h + F.linear(seen.transpose(1, 2).reshape(batch, length, d), out).float()
            u, gate = F.linear(norm(h, norm2, dtype), up.reshape(2 * self.ffn, d)).split(self.ffn, 2)
            h = h + F.linear(F.silu(gate) * u, down).float()
        logits = F.linear(norm(h, p["final"], dtype), p["embedding"].to(dtype))
        return F.cross_entropy(logits.float().flatten(0, 1), y.flatten().long())

    def tensors(self):
        """By the names of transformers."""
        p = self.p
        named = {"model.embed_tokens.weight": p["embedding"], "model.norm.weight": p["final"]}
        for i in range(len(p["qkv"])):
            name = f"model.layers.{i}."
            for j, letter in enumerate("qkv"):
                named[f"{name}self_attn.{letter}_proj.weight"] = p["qkv"][i, j]
            named |= {name + "self_attn.o_proj.weight": p["out"][i], name + "mlp.down_proj.weight": p["down"][i],
                      name + "mlp.up_proj.weight": p["up"][i, 0], name + "mlp.gate_proj.weight": p["up"][i, 1],
                      name + "input_layernorm.weight": p["norm1"][i], name + "post_attention_layernorm.weight": p["norm2"][i]}
        return {name: value.detach().to(torch.float16).cpu().contiguous() for name, value in named.items()}


def orthogonal(x):
    """About U V^T of each matrix U S V^T of [n, rows, columns]; Newton-Schulz as in training/muon.hpp."""
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        s = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x


class Optimizer:
    def __init__(self, model, o, orthogonal):
        self.model, self.decay, self.orthogonal = model, o.weight_decay, orthogonal
        p = model.p
        self.momentum = {k: torch.zeros_like(p[k]) for k in model.matrices}
        self.adam = torch.optim.AdamW([dict(params=[p["embedding"]], weight_decay=o.weight_decay),
                                       dict(params=[p[k] for k in ("norm1", "norm2", "final")], weight_decay=0.0)],
                                      betas=(0.9, 0.98), fused=p["final"].is_cuda)

    @torch.no_grad()
    def step(self, lr):
        p = self.model.p
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        for name, momentum in self.momentum.items():
            w = p[name]
            momentum.lerp_(w.grad, 0.05)
            u = momentum.lerp(w.grad, 0.05).flatten(0, -3).to(self.model.dtype)
            u = self.orthogonal(u.mT).mT if u.shape[1] > u.shape[2] else self.orthogonal(u)
            w.mul_(1 - lr * self.decay).sub_(u.reshape(w.shape).float(), alpha=lr * 0.2 * math.sqrt(max(w.shape[-2:])))
            w.grad = None
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)


class Windows:
    """Batches [batch, context + 1] without end: each pass in a new order, cut from a new place on."""

    def __init__(self, tokens, o):
        self.tokens, self.batch, self.context, self.at = tokens, o.batch, o.context, 0
        self.generator = torch.Generator().manual_seed(o.seed)
        self.order = torch.empty(0, dtype=torch.int64)

    def next(self):
        if self.at + self.batch > len(self.order):
            shift = int(torch.randint(self.context, (1,), generator=self.generator))
            count = (len(self.tokens) - 1 - shift) // self.context
            self.order, self.at = shift + self.context * torch.randperm(count, generator=self.generator), 0
        starts = self.order[self.at:self.at + self.batch].to(self.tokens.device)
        self.at += self.batch
        return self.tokens[starts[:, None] + torch.arange(self.context + 1, device=self.tokens.device)]


@torch.no_grad()
def validate(model, tokens, o):
    count = (len(tokens) - 1) // o.context
    windows = torch.stack([tokens[i * o.context:(i + 1) * o.context + 1] for i in range(count)])
    return sum(float(model.loss(part)) * len(part) for part in windows.split(o.batch)) / count


def save(model, o, vocabulary):
    files, size = [{}], 0
    for name, value in model.tensors().items():
        if size + value.nbytes > FILE_BYTES:
            files.append({})
            size = 0
        files[-1][name] = value
        size += value.nbytes
    names = [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
    for name, tensors in zip(names, files):
        save_file(tensors, os.path.join(o.out, name), {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for f in files for t in f.values())},
             "weight_map": {tensor: name for name, tensors in zip(names, files) for tensor in tensors}}
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=o.width, intermediate_size=o.ffn,
                  num_hidden_layers=o.layers, num_attention_heads=o.heads, num_key_value_heads=o.heads,
                  rms_norm_eps=1e-5, max_position_embeddings=o.context, tie_word_embeddings=True, rope_theta=10000.0,
                  vocab_size=vocabulary, hidden_act="silu", attention_bias=False, mlp_bias=False,
                  bos_token_id=0, eos_token_id=0)
    for name, content in (("model.safetensors.index.json", index), ("config.json", config)):
        with open(os.path.join(o.out, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
    shutil.copy(os.path.join(o.data, "tokenizer.json"), o.out)


def main():
    o = options()
    started = time.time()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(o.seed)
    with open(os.path.join(o.data, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    vocabulary = max([*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"])]) + 1
    windows = Windows(read_shards(o.data, device), o)
    model = Decoder(o, vocabulary, device)
    on_gpu = device == "cuda"
    loss_of = torch.compile(model.loss, dynamic=False) if on_gpu else model.loss
    optimizer = Optimizer(model, o, torch.compile(orthogonal, dynamic=False) if on_gpu else orthogonal)
    os.makedirs(o.out, exist_ok=True)
    with open(os.path.join(o.out, "train.jsonl"), "w", buffering=1, encoding="utf-8") as curve:

        def say(**line):
            curve.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)

        step, total, since, said, begun = 0, torch.zeros((), device=device), 0, 0.0, None
        while True:
            now = time.time()
            begun = now if step == 10 else begun  # all is compiled by then
            done = (now - begun) / (started + 60 * o.minutes - begun) if begun else 0
            if done >= 1:
                break
            lr = o.lr * min(1, (step + 1) / o.warmup) * min(1, (1 - done) / o.fall)
            loss = loss_of(windows.next())
            loss.backward()
            optimizer.step(lr)
            total += loss.detach()
            step, since = step + 1, since + 1
            if on_gpu and step % 20 == 0:
                torch.cuda.synchronize()  # the clock sees what is done, not what is asked for
            if now - said > 15:
                say(step=step, tokens=step * o.batch * o.context, loss=round(float(total) / since, 4), lr=round(lr, 6),
                    seconds=round(now - started, 1))
                said, since = now, 0
                total.zero_()
        say(step=step, tokens=step * o.batch * o.context, valid=round(validate(model, read_shards(o.valid, device), o), 4),
            seconds=round(time.time() - started, 1))
    save(model, o, vocabulary)


if __name__ == "__main__":
    main()
