"""The teacher's sentence vectors, cached by text, since they are what takes longest."""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import bert

TEACHER_TOKENS_MAX = 256
CHUNK_TEXTS = 2048


def key_of(text):
    """What a text is cached under."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Teacher:
    """all-MiniLM-L6-v2 behind a cache in a folder of .npz files."""

    def __init__(self, model, cache):
        config, self.params = bert.load(model)
        self.run = bert.runner(config)
        self.tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TEACHER_TOKENS_MAX)
        self.cache = Path(cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.known = {}
        for path in sorted(self.cache.glob("*.npz")):
            with np.load(path) as saved:
                self.known.update(zip(saved["keys"].tolist(), saved["vectors"]))

    def embed(self, texts):
        """Vectors [len(texts), 384] of length one; computes and saves those not known yet."""
        missing = [t for t in dict.fromkeys(texts) if key_of(t) not in self.known]
        missing.sort(key=len)
        started = time.time()
        for start in range(0, len(missing), CHUNK_TEXTS):
            chunk = missing[start : start + CHUNK_TEXTS]
            ids = [e.ids for e in self.tokenizer.encode_batch(chunk)]
            vectors = bert.embed_all(self.run, self.params, ids)
            keys = [key_of(t) for t in chunk]
            self.known.update(zip(keys, vectors))
            np.savez(self.cache / f"{keys[0]}.npz", keys=np.array(keys), vectors=vectors)
            rate = (start + len(chunk)) / (time.time() - started)
            done = start + len(chunk)
            print(f"teacher {done}/{len(missing)}, {rate:.0f} texts/s", file=sys.stderr)
        return np.stack([self.known[key_of(t)] for t in texts])
