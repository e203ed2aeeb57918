"""What the golden self-test must give, by the specification's program: golden.py

Needs numpy and blake3, and docs/spec on the path: PYTHONPATH=docs/spec python3 gpu-executor/spec/golden.py
The artefact is that of src/backend/golden.rs; the two were written apart.
"""
import blake3
import numpy as np

import vm_spec as vm

WIDTH, INNER, HEADS, VOCABULARY, TOKENS_MAX = 84, 523, 3, 7, 64
INPUTS = [[3], [1, 2, 3, 4, 5, 0, 1], [0, 5, 1, 4, 2, 3, 3, 2, 4, 1, 5, 0], [1, 6]]


class Integers:
    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        byte = self.state >> 24
        return max(byte - 256 if byte >= 128 else byte, -127)

    def table(self, rows, cols):
        return (np.array([self.next() for _ in range(rows * cols)], np.float32) / np.float32(64)).reshape(rows, cols)

    def matrix(self, rows, cols):
        cells = np.array([self.next() for _ in range(rows * cols)], np.int8).reshape(rows, cols)
        scales = np.array([max(abs(self.next()), 1) for _ in range(rows)], np.float32) / np.float32(8192)
        return cells, scales


def model():
    integers = Integers(2026)
    table, matrix = integers.table, integers.matrix
    tokens, positions, kinds = table(VOCABULARY, WIDTH), table(TOKENS_MAX, WIDTH), table(2, WIDTH)
    tokens[6] = 2.0e38
    gain, bias, smoothing = table(1, WIDTH)[0], table(1, WIDTH)[0], table(1, WIDTH)[0]
    q, k, v = (matrix(WIDTH, WIDTH) for _ in range(3))
    up, up_bias = matrix(INNER, WIDTH), table(1, INNER)[0]
    down, down_smoothing = matrix(WIDTH, INNER), table(1, INNER)[0]
    eps, scale = np.float32(1e-5), np.float32(0.1875)
    linear8 = lambda x, w, b=None, pre=None: vm.matmul8(*vm.quant8(x, pre), *w, b)
    linear16 = lambda x, w, b=None, pre=None: vm.matmul16(*vm.quant16(x, pre), *w, b)

    def run(ids):
        x = vm.add(vm.add(tokens[ids], positions[: len(ids)]), kinds[1])
        x = vm.layernorm(x, gain, bias, eps)
        qx, kx, vx = linear16(x, q), linear8(x, k, pre=smoothing), linear16(x, v, b=bias)
        d = WIDTH // HEADS
        heads = [slice(h * d, (h + 1) * d) for h in range(HEADS)]
        a = np.concatenate([vm.attention(qx[:, h], kx[:, h], vx[:, h], scale) for h in heads], 1)
        h = vm.silu(vm.gelu_tanh(vm.gelu_erf(linear8(a, up, b=up_bias))))
        x = vm.layernorm(vm.add(linear16(h, down, pre=down_smoothing), x), gain, bias, eps)
        return vm.l2norm(vm.pool_mean(x))

    return run


if __name__ == "__main__":
    run = model()
    for ids in INPUTS:
        try:
            print(ids, blake3.blake3(run(ids).astype("<f4").tobytes()).hexdigest())
        except vm.Fault:
            print(ids, "FAULT")
