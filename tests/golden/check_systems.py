#!/usr/bin/env python3
"""check_systems.py FILE.h5...: trains the golden runs of systems/ once more in PyTorch and says how far it comes out.

An independent second opinion on the files: written from the equations in model/layers and model/families, for float64. Needs
PyTorch and h5py (scripts/environment.sh makes such an environment).
"""
import sys

import h5py
import torch
import torch.nn.functional as F


def dropped(x, file, name, step, p, shape):
    """x mask / (1 - p), with the mask that the file holds."""
    if p == 0:
        return x
    mask = torch.tensor(file[f"mask/{name}"][step].astype("float64"))
    return x * mask.reshape(shape) / (1 - p)


def lstm(x, state, w_in, b_in, w, b):
    h, c = state
    out = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w_in.T + b_in + h @ w.T + b).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h)
    return torch.stack(out, 1), (h.detach(), c.detach())


def awd_lstm(file, p, step, states):
    a = file.attrs
    begin, length = int(file["windows"][:step].sum()), int(file["windows"][step])
    tokens = torch.tensor(file["tokens"][:, begin:begin + length + 1].astype("int64"))
    x, y = tokens[:, :-1], tokens[:, 1:]
    rows = dropped(p["token_embedding"], file, "embedding", step, a["embedding_dropout"], (-1, 1))
    v = dropped(rows[x], file, "input", step, a["input_dropout"], (x.shape[0], 1, -1))
    for i in range(a["layers"]):
        at = {part: p[f"block.{i}.lstm.{part}"] for part in ("input.weight", "input.bias", "hidden.weight", "hidden.bias")}
        w = dropped(at["hidden.weight"], file, f"weight_{i}", step, a["weight_dropout"], at["hidden.weight"].shape)
        zeros = torch.zeros(x.shape[0], w.shape[1])
        raw, states[i] = lstm(v, states.get(i, (zeros, zeros)), at["input.weight"], at["input.bias"], w, at["hidden.bias"])
        last = i + 1 == a["layers"]
        v = dropped(raw, file, "output" if last else f"hidden_{i}", step,
                    a["output_dropout" if last else "hidden_dropout"], (x.shape[0], 1, -1))
    logits = v @ p["token_embedding"].T + p["output.bias"]
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    return loss + a["activation_reg"] * (v ** 2).mean() + a["temporal_reg"] * ((raw[:, 1:] - raw[:, :-1]) ** 2).mean()


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))


def attend(q, k, v, heads, hidden):
    """Softmax attention by heads; True in `hidden` is not seen."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(1, 2).flatten(2)


def encoder_decoder(file, p, step, _):
    a = file.attrs
    d, heads = int(a["width"]), int(a["heads"])
    source, target = (torch.tensor(file[n][step].astype("int64")) for n in ("source", "target"))
    of_source, of_target = (torch.tensor(file[n][step].astype("int64")) for n in ("source_lengths", "target_lengths"))
    x, y = target[:, :-1], target[:, 1:]
    before = a["preprocess"] == "n"

    def norm(name, v):
        return F.layer_norm(v, (d,), p[name + ".weight"], p[name + ".bias"], a["eps"])

    def sublayer(name, v, f):
        return v + f(norm(name, v)) if before else norm(name, v + f(v))

    def embed(ids, name):
        v = p["token_embedding"][ids] * (d ** 0.5 if a["scale_embedding"] else 1)
        if a["position"] == "learned":
            return v + p[name][:ids.shape[1]]
        angle = torch.arange(ids.shape[1])[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
        return v + torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

    def self_attention(name, v, hidden):
        return linear(p, name + ".out", attend(*linear(p, name + ".qkv", v).chunk(3, -1), heads, hidden))

    def feed_forward(name, v):
        return linear(p, name + ".down", F.relu(linear(p, name + ".up", v)))

    pads = (torch.arange(source.shape[1]) >= of_source[:, None])[:, None, None]
    memory = embed(source, "encoder.position_embedding")
    for i in range(a["encoder_layers"]):
        b = f"encoder.block.{i}."
        memory = sublayer(b + "norm1", memory, lambda v: self_attention(b + "attention", v, pads))
        memory = sublayer(b + "norm2", memory, lambda v: feed_forward(b + "ffn", v))
    if before:
        memory = norm("encoder.final_norm", memory)

    def cross(name, v):
        k, w = linear(p, name + ".kv", memory).chunk(2, -1)
        return linear(p, name + ".out", attend(linear(p, name + ".q", v), k, w, heads, pads))

    later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    h = embed(x, "decoder.position_embedding")
    for i in range(a["decoder_layers"]):
        b = f"decoder.block.{i}."
        h = sublayer(b + "norm1", h, lambda v: self_attention(b + "attention", v, later))
        h = sublayer(b + "norm2", h, lambda v: cross(b + "cross_attention", v))
        h = sublayer(b + "norm3", h, lambda v: feed_forward(b + "ffn", v))
    if before:
        h = norm("decoder.final_norm", h)
    real = torch.arange(x.shape[1]) < of_target[:, None]
    return F.cross_entropy((h @ p["token_embedding"].T)[real], y[real], label_smoothing=float(a["label_smoothing"]))


def rotated(x):
    """Pairs (i, i + n/2) of heads of size n turn with the position; x: (sequences, heads, positions, n)."""
    n = x.shape[-1]
    angle = torch.arange(x.shape[-2])[:, None] / 10000 ** (torch.arange(0, n, 2) / n)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def decoder(file, p, step, _):
    a = file.attrs
    d, heads, groups = (int(a[name]) for name in ("width", "heads", "kv_heads"))
    tokens = torch.tensor(file["tokens"][step].astype("int64"))
    x, y = tokens[:, :-1], tokens[:, 1:]

    def norm(name, v):
        if a["norm"] == "rmsnorm":
            return v / (v.square().mean(-1, keepdim=True) + a["eps"]).sqrt() * p[name + ".weight"]
        return F.layer_norm(v, (d,), p[name + ".weight"], p[name + ".bias"], a["eps"])

    def sublayer(name, v, f):
        out = f(norm(name, v) if a["preprocess"] == "n" else v)
        for letter in a["postprocess"].replace("d", ""):  # nothing is dropped
            out = out + v if letter == "a" else norm(name, out)
        return out

    def attention(name, v):
        keys = d // heads * groups
        q, k, w = (part.unflatten(-1, (-1, d // heads)).transpose(1, 2)
                   for part in linear(p, name + ".qkv", v).split([d, keys, keys], -1))
        if a["position"] == "rotary":
            q, k = rotated(q), rotated(k)
        k, w = (part.repeat_interleave(heads // groups, 1) for part in (k, w))
        out = F.scaled_dot_product_attention(q, k, w, is_causal=True)
        return linear(p, name + ".out", out.transpose(1, 2).flatten(2))

    def feed_forward(name, v):
        up = linear(p, name + ".up", v)
        act = F.gelu(up, approximate="tanh") if a["activation"] == "gelu" else F.silu(linear(p, name + ".gate", v)) * up
        return linear(p, name + ".down", act)

    h = p["token_embedding"][x]
    if a["position"] == "learned":
        h = h + p["position_embedding"][:x.shape[1]]
    for i in range(a["layers"]):
        h = sublayer(f"block.{i}.norm1", h, lambda v: attention(f"block.{i}.attention", v))
        h = sublayer(f"block.{i}.norm2", h, lambda v: feed_forward(f"block.{i}.ffn", v))
    if a["preprocess"] == "n":
        h = norm("final_norm", h)
    return F.cross_entropy((h @ p["token_embedding" if a["tied"] else "output.weight"].T).flatten(0, 1), y.flatten())


def train(file):
    a = file.attrs
    p = {}
    file["initial"].visititems(
        lambda name, item: p.update({name: torch.tensor(item[()], requires_grad=True)}) if hasattr(item, "shape") else None)
    groups = [{"params": [t for t in p.values() if t.dim() > 1], "weight_decay": float(a["weight_decay"])},
              {"params": [t for t in p.values() if t.dim() < 2], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=float(a["lr"]), betas=(float(a["beta1"]), float(a["beta2"])),
                                  eps=float(a["adam_eps"]))
    loss_of = {"awd_lstm": awd_lstm, "encoder_decoder": encoder_decoder, "decoder": decoder}[a["system"]]
    states, worst = {}, 0
    for step in range(a["steps"]):
        optimizer.zero_grad()
        loss = loss_of(file, p, step, states)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(p.values(), float(a["clip"]) or float("inf"))
        optimizer.step()
        worst = max(worst, abs(loss.item() / file["losses"][step] - 1), abs(norm.item() / file["grad_norms"][step] - 1))
    return worst


def main():
    torch.set_default_dtype(torch.float64)
    bad = False
    for path in sys.argv[1:]:
        with h5py.File(path) as file:
            worst = train(file)
        print(f"{path}: losses and gradient norms within {worst:.1e} of the file's")
        bad = bad or not worst < 1e-9
    sys.exit(bad)


if __name__ == "__main__":
    main()
