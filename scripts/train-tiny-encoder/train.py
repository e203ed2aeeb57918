"""Distils all-MiniLM-L6-v2 into models/tiny-encoder; README.md says how to run it."""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import bert
import corpus
from teacher import Teacher

SEED = 20
VOCABULARY = 10240
HIDDEN = 128
INTERMEDIATE = 512
LAYERS = 2
HEADS = 4
POSITIONS = 256
BATCH = 128
BATCH_TOKENS = 4096
HELD_OUT = 2000
LEARNING_RATE = 2e-3

CONFIG = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": INTERMEDIATE,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS,
    "model_type": "bert",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "vocab_size": VOCABULARY,
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
POOLING = {
    "word_embedding_dimension": HIDDEN,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}


def student_tokenizer(teacher_folder, pieces):
    """The teacher's tokenizer.json with the student's pieces, and no truncation or padding."""
    file = json.loads((Path(teacher_folder) / "tokenizer.json").read_text())
    ids = {piece: at for at, piece in enumerate(pieces)}
    file["truncation"] = file["padding"] = None
    file["model"]["vocab"] = ids
    for token in file["added_tokens"]:
        token["id"] = ids[token["content"]]
    for name, special in file["post_processor"]["special_tokens"].items():
        special["ids"] = [ids[name]]
    return file


def initial(pieces, word_vectors, rng):
    """Parameters that at first give about the mean of the word vectors: the teacher's vector of
    each piece alone, and layers that add little."""

    def normal(*shape, scale=0.02):
        return rng.normal(0.0, scale, shape).astype(np.float32)

    params = {
        "embeddings.word_embeddings.weight": word_vectors.astype(np.float32),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN, scale=0.005),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN, scale=0.005),
    }

    def norm(name):
        params[f"{name}.weight"] = np.ones(HIDDEN, np.float32)
        params[f"{name}.bias"] = np.zeros(HIDDEN, np.float32)

    def dense(name, outputs, inputs, scale):
        params[f"{name}.weight"] = normal(outputs, inputs, scale=scale)
        params[f"{name}.bias"] = np.zeros(outputs, np.float32)

    norm("embeddings.LayerNorm")
    for index in range(LAYERS):
        name = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{name}.attention.self.{part}", HIDDEN, HIDDEN, HIDDEN**-0.5)
        dense(f"{name}.attention.output.dense", HIDDEN, HIDDEN, 0.02)
        norm(f"{name}.attention.output.LayerNorm")
        dense(f"{name}.intermediate.dense", INTERMEDIATE, HIDDEN, HIDDEN**-0.5)
        dense(f"{name}.output.dense", HIDDEN, INTERMEDIATE, 0.02)
        norm(f"{name}.output.LayerNorm")
    assert len(pieces) == VOCABULARY
    return {name: jnp.asarray(value) for name, value in params.items()}


def loss_of(params, ids, mask, targets):
    """How far the student is from the teacher on a batch: its vectors from the projected ones, the
    cosines of all pairs, and one minus their correlation (scale free, as ranks are)."""
    mine = bert.embed(params, ids, mask, LAYERS, HEADS)
    direct = (1.0 - (mine * targets).sum(-1)).mean()
    count = ids.shape[0]
    off = 1.0 - jnp.eye(count)
    pairs = count * (count - 1)
    ours, theirs = mine @ mine.T, targets @ targets.T
    square = (off * (ours - theirs) ** 2).sum() / pairs

    def centred(x):
        return off * (x - (off * x).sum() / pairs)

    a, b = centred(ours), centred(theirs)
    correlation = (a * b).sum() / jnp.sqrt((a * a).sum() * (b * b).sum() + 1e-9)
    return direct + 20.0 * square + 0.5 * (1.0 - correlation)


def mixed_batches(token_ids, rng):
    """Endless batches of `BATCH` texts of like length: (rows, ids, mask). Long texts come in
    smaller batches, of about `BATCH_TOKENS` tokens."""
    groups = {}
    for row, ids in enumerate(token_ids):
        length = next(b for b in bert.BUCKETS if b >= len(ids))
        groups.setdefault(length, []).append(row)
    sizes = {length: min(BATCH, max(32, BATCH_TOKENS // length)) for length in groups}
    while True:
        plan = []
        for length, rows in groups.items():
            rows = rng.permutation(rows)
            size = sizes[length]
            plan += [(length, rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]
        for at in rng.permutation(len(plan)):
            length, rows = plan[at]
            ids = np.zeros((len(rows), length), np.int32)
            mask = np.zeros((len(rows), length), np.float32)
            for index, row in enumerate(rows):
                ids[index, : len(token_ids[row])] = token_ids[row]
                mask[index, : len(token_ids[row])] = 1.0
            yield rows, ids, mask


def pair_correlation(mine, theirs):
    """Spearman correlation of the cosines of all pairs."""
    upper = np.triu_indices(len(mine), 1)
    ranks = [np.argsort(np.argsort((x @ x.T)[upper])) for x in (mine, theirs)]
    return float(np.corrcoef(*ranks)[0, 1])


def train(params, token_ids, targets, steps, held_out):
    """`steps` steps of Adam with a warm-up and a cosine decay; prints the held-out measure."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, 100, steps, 2e-5)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, ids, mask, target):
        loss, gradient = jax.value_and_grad(loss_of)(params, ids, mask, target)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    source = mixed_batches(token_ids, np.random.default_rng(SEED))
    run, started, losses = bert.runner(CONFIG), time.time(), []
    for index in range(steps):
        rows, ids, mask = next(source)
        params, state, loss = step(params, state, ids, mask, jnp.asarray(targets[rows]))
        losses.append(float(loss))
        if index % 250 == 249 or index == steps - 1:
            mine = bert.embed_all(run, params, held_out[0])
            measure = pair_correlation(mine, held_out[1])
            print(
                f"step {index + 1}/{steps} loss {np.mean(losses[-250:]):.4f} "
                f"held-out spearman {measure:.4f} seconds {time.time() - started:.0f}",
                flush=True,
            )
    return params


def save(out, params, tokenizer):
    """Writes the model folder; tensors as float16."""
    out = Path(out)
    (out / "1_Pooling").mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(value, np.float16) for name, value in params.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})

    def write(name, value, indent=2):
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        (out / name).write_text(text + "\n")

    write("config.json", {**CONFIG, "torch_dtype": "float16"})
    write("modules.json", MODULES)
    write("1_Pooling/config.json", POOLING)
    write("sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False})
    write("tokenizer.json", tokenizer, indent=None)


def main():
    """Texts, teacher, vocabulary, projection, training, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--public", required=True, help="folder of the unpacked Debian packages")
    parser.add_argument("--evaluation", required=True, help="JSON list of texts to keep out")
    parser.add_argument("--cache", required=True, help="folder for the teacher's vectors")
    parser.add_argument("--out", required=True, help="model folder to write")
    parser.add_argument("--steps", type=int, default=1600)
    args = parser.parse_args()

    pieces_of = json.loads((Path(args.teacher) / "tokenizer.json").read_text())["model"]["vocab"]
    evaluation = json.loads(Path(args.evaluation).read_text())
    texts = corpus.training_texts(args.public, pieces_of, evaluation, SEED)
    teacher = Teacher(args.teacher, args.cache)
    token_lists = [e.tokens for e in teacher.tokenizer.encode_batch(texts)]
    pieces = corpus.student_vocabulary(pieces_of, token_lists, VOCABULARY)
    vectors, alone = teacher.embed(texts), teacher.embed(pieces)

    # The teacher's first HIDDEN principal directions, uncentred: they keep most of each cosine.
    _, _, axes = np.linalg.svd(vectors[:20000], full_matrices=False)
    axes = axes[:HIDDEN].T
    targets = vectors @ axes
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    rank = pair_correlation(targets[:HELD_OUT], vectors[:HELD_OUT])
    print(f"{len(texts)} texts; spearman of the projected teacher with itself {rank:.4f}")

    file = student_tokenizer(args.teacher, pieces)
    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.enable_truncation(POSITIONS)
    token_ids = [e.ids for e in tokenizer.encode_batch(texts)]
    params = initial(pieces, alone @ axes, np.random.default_rng(SEED))
    held_out = (token_ids[:HELD_OUT], vectors[:HELD_OUT])
    params = train(params, token_ids[HELD_OUT:], targets[HELD_OUT:], args.steps, held_out)
    save(args.out, params, file)


if __name__ == "__main__":
    main()
