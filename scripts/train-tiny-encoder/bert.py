"""A BERT encoder with mean pooling in JAX. Parameters are a dict with the names and shapes of the
safetensors file, so that teacher and student run through the same lines and export is a rename of
nothing."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file


def load(folder):
    """The config (dict) and the float32 parameters of a model folder; the pooler is left out."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    keep = {
        name: jnp.asarray(value, jnp.float32)
        for name, value in tensors.items()
        if not name.startswith("pooler.") and value.dtype != np.int64
    }
    return config, keep


def linear(params, name, x):
    """x [.., in] -> [.., out]; weights are [out, in] as in the file."""
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def layer_norm(params, name, x, epsilon):
    """Over the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    scaled = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    return scaled * params[f"{name}.weight"] + params[f"{name}.bias"]


def attention(params, name, x, mask, heads):
    """Self attention; x [batch, length, hidden], mask [batch, length] of 0 and 1."""
    batch, length, hidden = x.shape
    query, key, value = (
        linear(params, f"{name}.self.{part}", x).reshape(batch, length, heads, hidden // heads)
        for part in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(hidden // heads)
    scores = scores + (mask[:, None, None, :] - 1.0) * 1e9
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), value)
    return linear(params, f"{name}.output.dense", mixed.reshape(batch, length, hidden))


def embed(params, ids, mask, layers, heads, epsilon=1e-12):
    """Token ids [batch, length] and mask -> sentence vectors [batch, hidden] of length one."""
    length = ids.shape[1]
    x = params["embeddings.word_embeddings.weight"][ids]
    x = x + params["embeddings.position_embeddings.weight"][None, :length]
    x = x + params["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(params, "embeddings.LayerNorm", x, epsilon)
    for index in range(layers):
        name = f"encoder.layer.{index}"
        mixed = attention(params, f"{name}.attention", x, mask, heads)
        x = layer_norm(params, f"{name}.attention.output.LayerNorm", x + mixed, epsilon)
        wide = jax.nn.gelu(linear(params, f"{name}.intermediate.dense", x), approximate=False)
        x = x + linear(params, f"{name}.output.dense", wide)
        x = layer_norm(params, f"{name}.output.LayerNorm", x, epsilon)
    pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)


BUCKETS = (8, 16, 24, 32, 48, 64, 96, 128, 256)


def batches(token_ids, tokens_per_batch):
    """Cuts lists of token ids into batches of one padded length each: yields (rows, ids, mask).
    Few lengths, so that XLA compiles few programs."""
    by_length = {length: [] for length in BUCKETS}
    for row, ids in enumerate(token_ids):
        by_length[next(b for b in BUCKETS if b >= len(ids))].append(row)
    for length, rows in by_length.items():
        size = max(1, tokens_per_batch // length)
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            ids = np.zeros((size, length), np.int32)
            mask = np.zeros((size, length), np.float32)
            mask[:, 0] = 1.0
            for at, row in enumerate(chosen):
                ids[at, : len(token_ids[row])] = token_ids[row]
                mask[at, : len(token_ids[row])] = 1.0
            yield chosen, ids, mask


def runner(config):
    """The compiled `embed` of a model: (params, ids, mask) -> vectors. Compile once, keep it."""
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    return jax.jit(lambda params, ids, mask: embed(params, ids, mask, layers, heads))


def embed_all(run, params, token_ids, tokens_per_batch=2048):
    """Sentence vectors [len(token_ids), hidden] for many token id lists; `run` is a `runner`."""
    hidden = params["embeddings.word_embeddings.weight"].shape[1]
    out = np.zeros((len(token_ids), hidden), np.float32)
    for rows, ids, mask in batches(token_ids, tokens_per_batch):
        out[rows] = np.asarray(run(params, ids, mask))[: len(rows)]
    return out
