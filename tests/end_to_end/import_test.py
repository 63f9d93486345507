"""Models of Hugging Face's transformers: a Llama written here, byte by byte, is imported and judged under every layout;
what cannot be honoured is refused by name; what is exported comes back with the same bits.
Oracle: the published forward pass of Llama, in numpy, in double precision."""
import json
import os
import shutil
import struct

import h5py
import numpy

from workshop import LAYOUTS, SHAPE, Workshop, at_once, main, tensors

HIDDEN, FFN, HEADS, LAYERS, CONTEXT = 32, 40, 4, 2, 32
FAMILY = "--normalization rmsnorm --activation swiglu --position-embedding rotary --linear-bias off"
TRAIN = "--global-batch-size 8 --log-interval 1 --threads-per-rank 1"
TYPES = {"F32": "float32", "F16": "float16"}


def write_safetensors(path, weights):
    """weights: name -> (dtype, bytes, shape)."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, content, shape) in weights.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def stored(weights, dtype):
    """As bytes, and as the floats that these are."""
    entries, exact = {}, {}
    for name, values in weights.items():
        if dtype == "BF16":
            bits = values.astype("float32").view("uint32") >> 16
            entries[name] = dtype, bits.astype("<u2").tobytes(), list(values.shape)
            exact[name] = (bits << 16).view("float32")
        else:
            rounded = values.astype(TYPES[dtype])
            entries[name] = dtype, rounded.tobytes(), list(values.shape)
            exact[name] = rounded.astype("float32")
    return entries, exact


def config_of(vocabulary, tied):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "hidden_act": "silu",
            "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None,
            "tie_word_embeddings": tied, "vocab_size": vocabulary, "torch_dtype": "float32", "use_cache": True}


def random_llama(vocabulary, tied):
    draw = numpy.random.default_rng(5)
    weights = {"model.embed_tokens.weight": draw.normal(0, 0.3, (vocabulary, HIDDEN))}
    for layer in range(LAYERS):
        for name, shape in (("self_attn.q_proj", (HIDDEN, HIDDEN)), ("self_attn.k_proj", (HIDDEN, HIDDEN)),
                            ("self_attn.v_proj", (HIDDEN, HIDDEN)), ("self_attn.o_proj", (HIDDEN, HIDDEN)),
                            ("mlp.gate_proj", (FFN, HIDDEN)), ("mlp.up_proj", (FFN, HIDDEN)), ("mlp.down_proj", (HIDDEN, FFN)),
                            ("input_layernorm", (HIDDEN,)), ("post_attention_layernorm", (HIDDEN,))):
            weights[f"model.layers.{layer}.{name}.weight"] = draw.normal(len(shape) == 1, 0.3, shape)
    weights["model.norm.weight"] = draw.normal(1, 0.3, HIDDEN)
    if not tied:
        weights["lm_head.weight"] = draw.normal(0, 0.3, (vocabulary, HIDDEN))
    return weights


def loss_of(weights, tokens, first):
    """Mean over tokens in windows of the context, each token predicted from those before it in its window."""
    w = {name: values.astype("float64") for name, values in weights.items()}

    def norm(x, name):
        return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * w[name]

    def heads(x):
        return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    def rotate(x):
        half = x.shape[-1] // 2
        angle = numpy.outer(numpy.arange(x.shape[1]), 10000.0 ** (-numpy.arange(half) / half))
        a, b = x[..., :half], x[..., half:]
        return numpy.concatenate([a * numpy.cos(angle) - b * numpy.sin(angle),
                                  b * numpy.cos(angle) + a * numpy.sin(angle)], axis=-1)

    total = 0.0
    inputs = [first, *tokens[:-1]]
    for begin in range(0, len(tokens), CONTEXT):
        x = w["model.embed_tokens.weight"][inputs[begin:begin + CONTEXT]]
        for layer in range(LAYERS):
            at = f"model.layers.{layer}."
            y = norm(x, at + "input_layernorm.weight")
            q, k, v = (heads(y @ w[f"{at}self_attn.{part}_proj.weight"].T) for part in "qkv")
            scores = rotate(q) @ rotate(k).transpose(0, 2, 1) / numpy.sqrt(HIDDEN // HEADS)
            scores += numpy.triu(numpy.full(scores.shape[1:], -numpy.inf), 1)
            share = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
            share /= share.sum(axis=-1, keepdims=True)
            x = x + (share @ v).transpose(1, 0, 2).reshape(len(x), HIDDEN) @ w[at + "self_attn.o_proj.weight"].T
            y = norm(x, at + "post_attention_layernorm.weight")
            gate = y @ w[at + "mlp.gate_proj.weight"].T
            x = x + (gate / (1 + numpy.exp(-gate)) * (y @ w[at + "mlp.up_proj.weight"].T)) @ w[at + "mlp.down_proj.weight"].T
        logits = norm(x, "model.norm.weight") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T
        most = logits.max(axis=-1)
        sums = most + numpy.log(numpy.exp(logits - most[:, None]).sum(axis=-1))
        targets = tokens[begin:begin + CONTEXT]
        total += (sums - logits[numpy.arange(len(targets)), targets]).sum()
    return total / len(tokens)


class Import(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open("tokenizer.json") as file:
            tokenizer = json.load(file)
        cls.vocabulary = len(tokenizer["model"]["vocab"])
        cls.end_of_text = tokenizer["added_tokens"][0]["id"]
        with h5py.File("shards/shard-00000.h5") as shard:
            cls.tokens = shard["tokens"][()].astype(int).tolist()

    def llama(self, folder, dtype="F32", tied=False, files=1):
        """Writes the folder; the weights as they are in it."""
        os.makedirs(folder)
        entries, exact = stored(random_llama(self.vocabulary, tied), dtype)
        names = list(entries)
        if files == 1:
            write_safetensors(f"{folder}/model.safetensors", entries)
        else:
            place = {name: f"model-{i % files + 1:05}-of-{files:05}.safetensors" for i, name in enumerate(names)}
            for file in set(place.values()):
                write_safetensors(f"{folder}/{file}", {name: entries[name] for name in names if place[name] == file})
            with open(f"{folder}/model.safetensors.index.json", "w") as out:
                json.dump({"metadata": {}, "weight_map": place}, out)
        with open(f"{folder}/config.json", "w") as out:
            json.dump(config_of(self.vocabulary, tied), out)
        shutil.copy("tokenizer.json", folder)
        return exact

    def loss(self, model, layout="1"):
        return json.loads(self.ok(f"evaluate --threads-per-rank 1 --data shards --model {model}", layout=layout))["loss"]

    def refused(self, folder, *said):
        done = self.run_ulmpi(f"checkpoint import --from {folder} --output none.h5")
        message = done.stderr.decode()
        self.assertEqual(done.returncode, 2, message)
        for word in said:
            self.assertIn(word, message)
        self.assertFalse(os.path.exists("none.h5"))
        self.assertEqual([name for name in os.listdir() if ".tmp-" in name], [])

    def test_loss_is_that_of_the_published_model(self):
        for name, tied, dtype, files in (("plain", False, "F32", 1), ("tied", True, "F32", 1), ("half", False, "F16", 3),
                                         ("brain", True, "BF16", 2)):
            exact = self.llama(name, dtype, tied, files)
            said = json.loads(self.ok(f"checkpoint import --from {name} --output {name}.h5"))
            self.assertEqual(said["precision"], {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}[dtype])
            self.assert_close(self.loss(f"{name}.h5"), loss_of(exact, self.tokens, self.end_of_text), 2e-6, name)
            self.assertTrue(json.loads(self.ok(f"checkpoint verify {name}.h5"))["ok"])
            ours = tensors(f"{name}.h5")
            stacked = [exact[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
            self.assertTrue((ours["block.1.attention.qkv.weight"] == numpy.concatenate(stacked)).all())
            self.assertEqual("output.weight" in ours, not tied)
        self.ok("checkpoint import --from brain --output wide.h5 --precision fp32")
        self.assertEqual(self.loss("wide.h5"), self.loss("brain.h5"))

    def test_every_layout_and_every_reader_takes_it(self):
        self.llama("layouts")
        self.ok("checkpoint import --from layouts --output layouts.h5", layout="dp2")  # two ranks write one file
        shown = json.loads(self.ok("checkpoint show layouts.h5"))
        self.assertEqual(shown["imported"], {"from": "layouts", "family": "llama"})
        self.assertEqual((shown["slim"], shown["moments"], shown["kind"]), (True, False, "checkpoint"))
        losses = dict(zip(LAYOUTS, at_once(lambda layout: self.loss("layouts.h5", layout), LAYOUTS)))
        for layout, loss in losses.items():
            self.assert_close(loss, losses["1"], 2e-6, layout)
        self.assertTrue(self.ok("generate --model layouts.h5 --prompt the --max-tokens 5").startswith(b"the"))
        self.ok(f"finetune lm --init-from layouts.h5 --data shards --train-steps 2 {TRAIN} --run tuned", layout="tp2")
        self.ok(f"finetune classifier --init-from layouts.h5 --train train.tsv --epochs 1 {TRAIN} --run classifier")
        done = self.run_ulmpi(f"finetune lm --init-from x --resume layouts.h5 --data shards --train-steps 2 {TRAIN} --run new")
        self.assertEqual(done.returncode, 2)
        self.assertIn("but not be resumed", done.stderr.decode())

    def test_what_cannot_be_honoured_is_refused(self):
        self.llama("good", files=2)
        self.llama("single")

        def changed(source, change=None, weights=None, **keys):
            shutil.rmtree("bad", ignore_errors=True)
            shutil.copytree(source, "bad")
            with open("bad/config.json") as file:
                config = json.load(file)
            config.update(keys)
            with open("bad/config.json", "w") as out:
                json.dump(config, out)
            if weights:
                entries, _ = stored(random_llama(self.vocabulary, False), "F32")
                weights(entries)
                write_safetensors("bad/model.safetensors", entries)
            if change:
                change()

        def cut():
            os.truncate("bad/model.safetensors", os.path.getsize("bad/model.safetensors") - 1)

        def index(edit):
            with open("bad/model.safetensors.index.json") as file:
                content = json.load(file)
            edit(content["weight_map"])
            with open("bad/model.safetensors.index.json", "w") as out:
                json.dump(content, out)

        nan = struct.pack("<f", float("nan")) * HIDDEN
        cases = [
            (dict(source="single", num_key_value_heads=2), "num_key_value_heads is 2"),
            (dict(source="single", rope_theta=500000.0), "rope_theta is 500000.0"),
            (dict(source="single", architectures=["GemmaForCausalLM"]), "GemmaForCausalLM"),
            (dict(source="single", new_idea=7), '"new_idea"'),
            (dict(source="single", intermediate_size=48), "mlp.up_proj.weight has the shape [40, 32]", "[48, 32]"),
            (dict(source="single", num_hidden_layers=3), "lacks the tensor model.layers.2."),
            (dict(source="single", num_hidden_layers=1), '"model.layers.1.', "lacks"),
            (dict(source="single", tie_word_embeddings=True), '"lm_head.weight"'),
            (dict(source="single", vocab_size=7), "vocab_size of config.json is 7"),
            (dict(source="single", weights=lambda w: w.pop("model.norm.weight")), "lacks the tensor model.norm.weight"),
            (dict(source="single", weights=lambda w: w.update({"a.bias": ("F32", bytes(4), [1])})), '"a.bias"'),
            (dict(source="single", weights=lambda w: w.update({"model.norm.weight": ("F32", nan, [HIDDEN])})), "holds nan"),
            (dict(source="single", weights=lambda w: w.update({"model.norm.weight": ("I32", nan, [HIDDEN])})), '"I32"'),
            (dict(source="single", change=cut), "model.safetensors' is not a whole safetensors file"),
            (dict(source="single", change=lambda: os.remove("bad/model.safetensors")), "holds no model.safetensors"),
            (dict(source="single", change=lambda: os.remove("bad/tokenizer.json")), "holds no tokenizer"),
            (dict(source="single", change=lambda: os.remove("bad/config.json")), "config.json"),
            (dict(source="single", change=lambda: shutil.copy("good/model.safetensors.index.json", "bad")), "holds both"),
            (dict(source="good", change=lambda: os.remove("bad/model-00002-of-00002.safetensors")), "model-00002-of-00002"),
            (dict(source="good", change=lambda: index(lambda m: m.update({"x": "model-00001-of-00002.safetensors"}))),
             "disagree", '"x"'),
            (dict(source="good", change=lambda: index(lambda m: m.popitem())), "disagree"),
            (dict(source="good", change=lambda: index(lambda m: m.update({"x": "../single/model.safetensors"}))),
             "no .safetensors file of this folder"),
        ]
        for how, *said in cases:
            with self.subTest(said[0]):
                changed(**how)
                self.refused("bad", *said)
        self.refused("nowhere", "'nowhere' is no folder")
        large = struct.pack("<f", 1e6) * HIDDEN
        changed("single", weights=lambda w: w.update({"model.norm.weight": ("F32", large, [HIDDEN])}))
        done = self.run_ulmpi("checkpoint import --from bad --output none.h5 --precision fp16")
        self.assertIn("final_norm.weight holds 1000000 (element 0), which fp16 cannot", done.stderr.decode())
        self.ok("checkpoint import --from bad --output some.h5")
        self.assertIn("is there already",
                      self.run_ulmpi("checkpoint import --from good --output some.h5").stderr.decode())

    def test_export_and_back(self):
        self.ok(f"pretrain --data shards --train-steps 4 {FAMILY} --tie-embeddings off {TRAIN} --run run", SHAPE)
        self.ok(f"pretrain --data shards --train-steps 4 {FAMILY} {TRAIN} --run tiedrun", SHAPE)
        self.ok("checkpoint slim run --output fp16.h5")
        self.ok("checkpoint slim run --output bf16.h5 --precision bf16")
        for i, model in enumerate(("run", "tiedrun", "fp16.h5", "bf16.h5")):
            self.ok(f"checkpoint export {model} --output out{i}/", layout="dp2" if i == 0 else "1")
            self.ok(f"checkpoint import --from out{i} --output back{i}.h5")
            shown, back = (json.loads(self.ok(f"checkpoint show {path}")) for path in (model, f"back{i}.h5"))
            for key in "model", "precision", "tokenizer_fingerprint", "parameters":
                self.assertEqual(shown[key], back[key], model)
            self.assertEqual(self.crc32s(model), self.crc32s(f"back{i}.h5"), model)
        self.ok("checkpoint export back0.h5 --output again")
        for file in os.listdir("out0"):
            with open(f"out0/{file}", "rb") as a, open(f"again/{file}", "rb") as b:
                self.assertEqual(a.read(), b.read(), file)

    def crc32s(self, model):
        lines = map(json.loads, self.ok(f"checkpoint show {model} --tensors on").splitlines())
        return {line["name"]: line["crc32"] for line in lines if line["kind"] == "tensor"}

    def test_other_models_are_not_exported(self):
        self.ok(f"pretrain --data shards --train-steps 1 {TRAIN} --run gpt", SHAPE)
        self.ok(f"finetune classifier --init-from gpt --train train.tsv --epochs 1 {TRAIN} --run labels")
        biased = FAMILY.replace("--linear-bias off", "")
        self.ok(f"pretrain --data shards --train-steps 1 {biased} {TRAIN} --run biased", SHAPE)
        for model, said in (("gpt", "--normalization layernorm"), ("biased", "--linear-bias on"), ("labels", "classifier"),
                            ("shards", "shards")):
            done = self.run_ulmpi(f"checkpoint export {model} --output no")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr.decode())
            self.assertFalse(os.path.exists("no"))


if __name__ == "__main__":
    main()
