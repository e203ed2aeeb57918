"""How well models/tiny-encoder orders pairs of texts as all-MiniLM-L6-v2 does. Needs numpy only.

The measure: Spearman's rank correlation between the cosines of all pairs of the 60
texts in vm/tests/data/minilm (1,770 pairs) under the model and under MiniLM, whose vectors lie
there too.
Prints one JSON line per figure. With --teacher (a folder of all-MiniLM-L6-v2) also the mean of
MiniLM's own word embeddings, cut to the student's vocabulary and size by PCA."""

import argparse
import json
import math
import re
import struct
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "vm/tests/data/minilm"


def tensors_of(path):
    """name -> float32 array, of a safetensors file with F32, F16 and I64 tensors."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    out = {}
    for name, entry in header.items():
        start, end = (8 + size + at for at in entry["data_offsets"])
        flat = np.frombuffer(data[start:end], kinds[entry["dtype"]])
        out[name] = flat.reshape(entry["shape"]).astype(np.float32)
    return out


def basic_words(text):
    """BERT's first cut: clean, lower case, no accents, words and single punctuation marks."""
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or c.isprintable())
    text = "".join(
        c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn"
    )

    def punctuation(c):
        other_ascii = c.isascii() and not c.isalnum() and not c.isspace()
        return other_ascii or unicodedata.category(c).startswith("P")

    return "".join(f" {c} " if punctuation(c) else c for c in text).split()


def word_pieces(word, vocabulary):
    """Greedy, longest piece first; [UNK] where it does not come out."""
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start and ("##" * (start > 0) + word[start:end]) not in vocabulary:
            end -= 1
        if end == start:
            return ["[UNK]"]
        pieces.append("##" * (start > 0) + word[start:end])
        start = end
    return pieces


def token_ids(text, vocabulary, tokens_max):
    """[CLS], the pieces, [SEP]; at most `tokens_max`."""
    pieces = [p for word in basic_words(text) for p in word_pieces(word, vocabulary)]
    pieces = ["[CLS]", *pieces[: tokens_max - 2], "[SEP]"]
    return [vocabulary[p] for p in pieces]


def unit(rows):
    """Rows of length one."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def encode(params, config, ids):
    """The model's vector of one text, length one."""
    erf = np.vectorize(math.erf, otypes=[np.float64])

    def linear(name, x):
        return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return x * params[f"{name}.weight"] + params[f"{name}.bias"]

    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    x = params["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + params["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + params["embeddings.token_type_embeddings.weight"][0])
    for index in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{index}"
        query, key, value = (
            linear(f"{name}.attention.self.{part}", x).reshape(len(ids), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(hidden // heads)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        mixed = mixed.swapaxes(0, 1).reshape(len(ids), hidden)
        mixed = linear(f"{name}.attention.output.dense", mixed)
        x = norm(f"{name}.attention.output.LayerNorm", x + mixed)
        wide = linear(f"{name}.intermediate.dense", x)
        wide = wide * 0.5 * (1.0 + erf(wide / math.sqrt(2.0)))
        x = norm(f"{name}.output.LayerNorm", x + linear(f"{name}.output.dense", wide))
    return unit(x.mean(0))


def ranks(values):
    """Ranks from 0, equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2.0)[inverse]


def spearman(mine, theirs):
    """Rank correlation of the cosines of all pairs of rows."""
    upper = np.triu_indices(len(mine), 1)
    a, b = (ranks(np.round((unit(x) @ unit(x).T)[upper], 9)) for x in (mine, theirs))
    return float(np.corrcoef(a, b)[0, 1])


def bag_of_words(texts, binary):
    """Counts of words (or whether they occur), [texts, distinct words]."""
    bags = [Counter(re.findall(r"\w+|[^\w\s]", text.lower())) for text in texts]
    words = sorted(set().union(*bags))
    counts = np.array([[bag[w] for w in words] for bag in bags], np.float64)
    return np.minimum(counts, 1.0) if binary else counts


def mean_of_word_embeddings(teacher, vocabulary, size, ids):
    """The mean over a text's tokens of MiniLM's word embeddings, brought to `size` by PCA over the
    student's vocabulary."""
    table = tensors_of(Path(teacher) / "model.safetensors")["embeddings.word_embeddings.weight"]
    file = json.loads((Path(teacher) / "tokenizer.json").read_text())
    rows = table[[file["model"]["vocab"][piece] for piece in vocabulary]].astype(np.float64)
    rows = rows - rows.mean(0)
    _, axes = np.linalg.eigh(rows.T @ rows)
    small = rows @ axes[:, -size:]
    return np.stack([small[one].mean(0) for one in ids])


def main():
    """Prints the measure and those that it is to be held against."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=HERE.parents[1] / "models/tiny-encoder", type=Path)
    parser.add_argument("--texts", default=DATA / "texts.json", type=Path)
    parser.add_argument("--reference", default=DATA / "embeddings_f32.npy", type=Path)
    parser.add_argument("--teacher", help="folder of all-MiniLM-L6-v2", type=Path)
    args = parser.parse_args()

    texts = json.loads(args.texts.read_text())
    reference = np.load(args.reference).astype(np.float64)
    config = json.loads((args.model / "config.json").read_text())
    limit = json.loads((args.model / "sentence_bert_config.json").read_text())["max_seq_length"]
    vocabulary = json.loads((args.model / "tokenizer.json").read_text())["model"]["vocab"]
    params = tensors_of(args.model / "model.safetensors")
    ids = [token_ids(text, vocabulary, limit) for text in texts]
    vectors = np.stack([encode(params, config, one) for one in ids])

    def say(name, rows):
        figure = round(spearman(rows, reference), 4)
        print(json.dumps({"figure": "spearman", "of": name, "value": figure, "texts": len(texts)}))

    counts = bag_of_words(texts, binary=False)
    idf = np.log(len(texts) / (counts > 0).sum(0))
    say("tiny-encoder", vectors)
    say("bag of words, counts", counts)
    say("bag of words, binary", bag_of_words(texts, binary=True))
    say("bag of words, tf-idf", counts * idf)
    if args.teacher:
        size = config["hidden_size"]
        means = mean_of_word_embeddings(args.teacher, vocabulary, size, ids)
        say("mean of PCA word embeddings", means)


if __name__ == "__main__":
    main()
