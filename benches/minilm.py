"""Sentences per second of all-MiniLM-L6-v2: the VM beside onnxruntime, alternating in one run.

minilm.py MODEL_DIR MINILM_BINARY [--rounds 5] [--seconds 0.4] [--lengths 32,128] [--batches 1,32] [--threads 1,2]

Builds the ONNX graph from the safetensors (with onnxruntime's own fused operators for attention, GELU and skip
layer norm, so that the baseline is its best), quantises it with `quantize_dynamic` for the int8 baseline, and checks
that all four engines agree on the sentences measured. One JSON line per figure: `ratio` is the median over the rounds
of VM divided by baseline, wall time; `ratio_cpu` the same by CPU time, which is steadier on a busy machine (one thread only).
"""
import argparse
import json
import logging
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

HEADS, EPS = 12, 1e-12
BASELINE = {"w8a8": "ort_int8", "w8a16": "ort_fp32"}


class Graph:
    """Collects nodes and constants; every method returns the name of its result."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def const(self, name, a):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(a), name))
        return name

    def op(self, kind, inputs, domain="", outputs=1, **attr):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name] + [""] * (outputs - 1), name=name, domain=domain, **attr))
        return name


def build(folder, path):
    p = load_file(f"{folder}/model.safetensors")
    layers = json.load(open(f"{folder}/config.json"))["num_hidden_layers"]
    g, ms = Graph(), "com.microsoft"
    length = g.op("Slice", [g.op("Shape", ["ids"]), g.const("one", np.array([1])), g.const("two", np.array([2]))])
    places = p["embeddings.position_embeddings.weight"] + p["embeddings.token_type_embeddings.weight"][0]
    place = g.op("Slice", [g.const("places", places), g.const("zero", np.array([0])), length, "zero"])
    x = g.op("Add", [g.op("Gather", [g.const("words", p["embeddings.word_embeddings.weight"]), "ids"]), place])
    gb = lambda n: [g.const(n + s, p[n + s]) for s in (".weight", ".bias")]
    x = g.op("LayerNormalization", [x, *gb("embeddings.LayerNorm")], axis=-1, epsilon=EPS)

    def matmul(x, n):
        return g.op("MatMul", [x, g.const(n + ".weight", p[n + ".weight"].T)])

    def skip_norm(y, x, bias, norm):
        return g.op("SkipLayerNormalization", [y, x, *gb(norm), g.const(bias, p[bias])], ms, epsilon=EPS)

    for i in range(layers):
        n = f"encoder.layer.{i}."
        qkv = [n + "attention.self." + s for s in ("query", "key", "value")]
        w = g.const(n + "qkv.weight", np.concatenate([p[s + ".weight"].T for s in qkv], 1))
        b = g.const(n + "qkv.bias", np.concatenate([p[s + ".bias"] for s in qkv]))
        a = matmul(g.op("Attention", [x, w, b], ms, num_heads=HEADS), n + "attention.output.dense")
        x = skip_norm(a, x, n + "attention.output.dense.bias", n + "attention.output.LayerNorm")
        bias = n + "intermediate.dense.bias"
        h = g.op("BiasGelu", [matmul(x, n + "intermediate.dense"), g.const(bias, p[bias])], ms)
        x = skip_norm(matmul(h, n + "output.dense"), x, n + "output.dense.bias", n + "output.LayerNorm")
    y = g.op("LpNormalization", [g.op("ReduceMean", [x], axes=[1], keepdims=0)], axis=-1, p=2)
    graph = helper.make_graph(
        g.nodes, "minilm", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["batch", 384])], g.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ms, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


class Onnx:
    def __init__(self, path, threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def measure(self, ids, seconds):
        sentences, start, cpu = 0, time.perf_counter(), time.process_time()
        while True:
            out = self.session.run(None, {"ids": ids})[0]
            sentences += len(ids)
            if time.perf_counter() - start >= seconds:
                break
        return sentences, time.perf_counter() - start, time.process_time() - cpu, out


class Vm:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen([binary, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.isa = None

    def measure(self, mode, threads, ids, seconds):
        request = {"mode": mode, "isa": "best", "threads": threads, "sentences": ids.tolist(), "seconds": seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the VM's benchmark ended: see its message above")
        a = json.loads(line)
        self.isa = a["isa"]
        return a["sentences"], a["wall_s"], a["cpu_s"], np.array(a["outputs"], np.float32)


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def column(runs, threads, tokens, batch, a, isa):
    """Measures one column, the engines taking turns, and prints its figures."""
    ids = np.random.default_rng(tokens * batch).integers(1000, 30000, (batch, tokens)).astype(np.int64)
    outs = {name: run(ids, 0)[3] for name, run in runs.items()}                  # warms up, too
    wall, cpu = ({name: [] for name in runs} for _ in range(2))
    for _ in range(a.rounds):
        for name, run in runs.items():
            n, w, c, _ = run(ids, a.seconds)
            wall[name].append(n / w)
            cpu[name].append(n / c)
    for mode, base in BASELINE.items():
        ratio = lambda t: round(statistics.median(x / y for x, y in zip(t[mode], t[base])), 3)
        figure = {"figure": "minilm", "mode": mode, "isa": isa(), "threads": threads, "tokens": tokens, "batch": batch,
                  "sentences_per_s": round(statistics.median(wall[mode]), 1), "baseline": base,
                  "baseline_sentences_per_s": round(statistics.median(wall[base]), 1), "ratio": ratio(wall)}
        if threads == 1:
            figure["ratio_cpu"] = ratio(cpu)
        figure |= {"cosine_to_fp32_min": round(cosine(outs[mode], outs["ort_fp32"]), 5),
                   "baseline_cosine_to_fp32_min": round(cosine(outs[base], outs["ort_fp32"]), 5)}
        print(json.dumps(figure), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folder")
    p.add_argument("binary")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.4)
    for name, default in (("lengths", "32,128"), ("batches", "1,32"), ("threads", "1,2")):
        p.add_argument("--" + name, default=default, type=lambda s: [int(x) for x in s.split(",")])
    a = p.parse_args()
    logging.disable(logging.WARNING)                             # quantize_dynamic recommends its pre-processing
    vm = Vm(a.binary, a.folder)
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = (str(pathlib.Path(folder) / name) for name in ("fp32.onnx", "int8.onnx"))
        build(a.folder, fp32)
        quantize_dynamic(fp32, int8, op_types_to_quantize=["MatMul", "Attention"], weight_type=QuantType.QInt8,
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})
        for threads in a.threads:
            runs = {"ort_fp32": Onnx(fp32, threads).measure, "ort_int8": Onnx(int8, threads).measure}
            for mode in BASELINE:
                runs[mode] = lambda ids, seconds, mode=mode, threads=threads: vm.measure(mode, threads, ids, seconds)
            for tokens in a.lengths:
                for batch in a.batches:
                    column(runs, threads, tokens, batch, a, lambda: vm.isa)


if __name__ == "__main__":
    main()
