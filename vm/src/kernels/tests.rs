//! All backends against the scalar one, byte for byte, on inputs made to hurt.

#![expect(clippy::cast_possible_wrap, reason = "numbers are small")]

use super::{Cpu, Isa, Linear};
use crate::ops::{Activations, AttentionShape, Fault, LINEAR_K_MAX, LinearSpec};

/// A generator of test inputs: 64-bit congruential, high bits out.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn uniform(&mut self) -> f32 {
        f32::from(self.next() as i16) / 32_768.0
    }

    /// Values of one kind: small, with an outlier, ties, all exponents, subnormal, huge, zeros of both
    /// signs, extremes alone, and one that is not finite.
    fn floats(&mut self, kind: usize, len: usize) -> Vec<f32> {
        let mut x: Vec<f32> = (0..len).map(|_| self.float(kind)).collect();
        let at = self.below(len);
        match kind {
            1 => x[at] *= 60.0,
            2 => x[0] = 127.0,
            8 => x[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][self.below(3)],
            _ => {}
        }
        x
    }

    fn float(&mut self, kind: usize) -> f32 {
        match kind {
            2 => (self.below(509) as f32 - 254.0) / 2.0,
            3 => self.uniform() * f32::from_bits((27 + self.below(200) as u32) << 23),
            4 => f32::from_bits(self.next() & 0x807f_ffff),
            5 => self.uniform() * 3.3e38,
            6 => [0.0, -0.0][self.below(2)],
            7 => [1.0, -1.0][self.below(2)],
            _ => self.uniform(),
        }
    }

    fn weights(&mut self, kind: usize, len: usize) -> Vec<i8> {
        let extreme = kind == 7;
        let draw = |random: &mut Self| (random.below(255) as i32 - 127) as i8;
        (0..len).map(|_| if extreme { [127, -127][self.below(2)] } else { draw(self) }).collect()
    }
}

const KINDS: usize = 9;

fn bits(result: Result<(), Fault>, out: &[f32]) -> Result<Vec<u32>, Fault> {
    result.map(|()| out.iter().map(|y| y.to_bits()).collect())
}

/// Engines to compare with the scalar one on one thread. Says which cannot run here.
fn engines() -> Vec<Cpu> {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        println!("SKIPPED: this machine has no {isa} instructions");
    }
    let each = |isa| [1, 3].map(|threads| Cpu::new(isa, threads).unwrap());
    Isa::available().into_iter().flat_map(each).collect()
}

/// Runs `op` on every engine and compares its outcome with the scalar one's.
fn compare(name: &str, len: usize, op: impl Fn(&Cpu, &mut [f32]) -> Result<(), Fault>) {
    let run = |cpu: &Cpu| {
        let mut out = vec![f32::NAN; len];
        bits(op(cpu, &mut out), &out)
    };
    let want = run(&Cpu::new(Isa::Scalar, 1).unwrap());
    for cpu in engines() {
        assert!(run(&cpu) == want, "{name} on {} with {} threads", cpu.isa(), cpu.threads());
    }
}

/// A random layer and its inputs.
struct Layer {
    x: Vec<f32>,
    weight: Vec<i8>,
    n: usize,
    k: usize,
    scale: Vec<f32>,
    bias: Option<Vec<f32>>,
    smoothing: Option<Vec<f32>>,
    activations: Activations,
}

impl Layer {
    fn new(random: &mut Random, kind: usize, (m, n, k): (usize, usize, usize)) -> Self {
        let scale = random.floats(0, n);
        let activations = [Activations::Bits8, Activations::Bits16][random.below(2)];
        Self {
            x: random.floats(kind, m * k),
            weight: random.weights(kind, n * k),
            n,
            k,
            scale,
            bias: (random.below(2) == 0).then(|| random.floats(0, n)),
            smoothing: (random.below(3) == 0).then(|| random.floats(0, k)),
            activations,
        }
    }

    fn pack(&self, isa: Isa) -> Linear {
        Linear::pack(
            isa,
            &LinearSpec {
                weight: &self.weight,
                n: self.n,
                k: self.k,
                scale: &self.scale,
                bias: self.bias.as_deref(),
                smoothing: self.smoothing.as_deref(),
                activations: self.activations,
            },
        )
    }
}

const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (2, 3, 5),
    (5, 16, 2),
    (6, 17, 63),
    (7, 32, 64),
    (8, 33, 65),
    (9, 31, 511),
    (13, 15, 512),
    (3, 48, 513),
    (100, 97, 127),
    (4, 19, 1536),
    (200, 64, 96),
];

#[test]
fn linear_layers_are_equal_on_every_backend_and_number_of_threads() {
    let mut random = Random(1);
    for shape in SHAPES {
        for kind in 0..KINDS {
            let layer = Layer::new(&mut random, kind, shape);
            compare(&format!("linear {shape:?} kind {kind}"), shape.0 * shape.1, |cpu, out| {
                cpu.linear(&layer.x, &layer.pack(cpu.isa()), out)
            });
        }
    }
}

#[test]
fn the_longest_rows_of_extremes_are_exact_on_every_backend() {
    for (sign, activations) in [(1, Activations::Bits8), (-1, Activations::Bits16)] {
        let layer = Layer {
            x: vec![1.0; 2 * LINEAR_K_MAX],
            weight: vec![127 * sign; LINEAR_K_MAX],
            n: 1,
            k: LINEAR_K_MAX,
            scale: vec![1.0],
            bias: None,
            smoothing: None,
            activations,
        };
        let sum = i64::from(activations.max()) * 127 * i64::from(sign) * LINEAR_K_MAX as i64;
        let want = (sum as f32 * (1.0 / f32::from(activations.max()))).to_bits();
        compare("the longest row", 2, |cpu, out| {
            cpu.linear(&layer.x, &layer.pack(cpu.isa()), out)?;
            assert_eq!([out[0].to_bits(), out[1].to_bits()], [want; 2]);
            Ok(())
        });
    }
}

#[test]
fn attention_is_equal_on_every_backend_and_number_of_threads() {
    let mut random = Random(2);
    let shapes = [
        (1, 1, 1, 1),
        (2, 3, 3, 5),
        (3, 8, 7, 7),
        (1, 33, 17, 17),
        (2, 32, 600, 9),
        (12, 32, 40, 40),
    ];
    for (heads, head_dim, tokens, queries) in shapes {
        for kind in 0..KINDS {
            let width = heads * head_dim;
            let q = random.floats(kind, queries * width);
            let [k, v] =
                [0; 2].map(|_| random.floats(if kind == 8 { 0 } else { kind }, tokens * width));
            let shape = AttentionShape { heads, head_dim, tokens };
            for first in [None, Some(tokens - queries.min(tokens))]
                .into_iter()
                .take(1 + usize::from(queries <= tokens))
            {
                let name = format!("attention {shape:?} kind {kind} first {first:?}");
                compare(&name, q.len(), |cpu, out| {
                    cpu.attention_from((&q, &k, &v), shape, 0.3, first, out)
                });
            }
        }
    }
}

#[test]
fn maps_norms_and_pooling_are_equal_on_every_backend_and_number_of_threads() {
    let mut random = Random(3);
    for (rows, cols) in [(1, 1), (2, 2), (3, 7), (1, 130), (70, 384), (9, 1024)] {
        for kind in 0..KINDS {
            let len = rows * cols;
            let x = random.floats(kind, len);
            let finite = random.floats(if kind == 8 { 3 } else { kind }, len);
            let [g, b] = [0; 2].map(|_| random.floats(0, cols));
            let below_zero: Vec<f32> = finite.iter().map(|x| -x.abs()).collect();
            let name = |op| format!("{op} {rows}x{cols} kind {kind}");
            compare(&name("LAYERNORM"), len, |cpu, y| cpu.layernorm(&x, &g, &b, 1e-12, y));
            compare(&name("RMSNORM"), len, |cpu, y| cpu.rmsnorm(&x, &g, 1e-5, y));
            compare(&name("L2NORM"), len, |cpu, y| cpu.l2norm(&x, cols, y));
            compare(&name("POOL_MEAN"), cols, |cpu, y| cpu.pool_mean(&x, cols, y));
            compare(&name("ADD"), len, |cpu, y| cpu.add(&x, &finite, y));
            compare(&name("SWIGLU"), len, |cpu, y| cpu.swiglu(&finite, &finite, y));
            compare(&name("GELU_ERF"), len, |cpu, y| cpu.gelu_erf(&finite, y));
            compare(&name("GELU_TANH"), len, |cpu, y| cpu.gelu_tanh(&finite, y));
            compare(&name("SILU"), len, |cpu, y| cpu.silu(&finite, y));
            compare(&name("EXPN"), len, |cpu, y| cpu.expn(&below_zero, y));
            if cols % 2 == 0 {
                let (cos, sin) = (random.floats(0, len / 2), random.floats(0, len / 2));
                compare(&name("ROPE"), len, |cpu, y| cpu.rope(&finite, (&cos, &sin), rows, y));
            }
        }
    }
}

#[test]
fn an_engine_needs_threads_and_an_instruction_set_that_exists() {
    assert!(Cpu::new(Isa::Scalar, 0).is_err());
    for isa in Isa::ALL {
        assert_eq!(Cpu::new(isa, 1).is_ok(), isa.is_available());
    }
}

/// The VNNI kernel on a model of its five instructions, which any machine can run.
#[cfg(target_arch = "x86_64")]
mod vnni_model {
    use super::super::vnni::Machine;
    use super::*;

    struct Model;

    #[expect(unsafe_code, reason = "the interface of the real instructions")]
    impl Machine for Model {
        type Vector = [i32; 16];

        unsafe fn weights(from: *const i8) -> [i32; 16] {
            // SAFETY: 64 bytes are readable, as promised by the caller.
            unsafe { from.cast::<[i32; 16]>().read_unaligned() }
        }

        unsafe fn activations(from: *const u8) -> [i32; 16] {
            // SAFETY: 4 bytes are readable, as promised by the caller.
            [unsafe { from.cast::<i32>().read_unaligned() }; 16]
        }

        unsafe fn load(from: &[i32; 16]) -> [i32; 16] {
            *from
        }

        unsafe fn dot(mut sums: [i32; 16], u: [i32; 16], w: [i32; 16]) -> [i32; 16] {
            for (sum, (u, w)) in sums.iter_mut().zip(u.iter().zip(&w)) {
                for (u, w) in u.to_le_bytes().into_iter().zip(w.to_le_bytes()) {
                    *sum = sum.wrapping_add(i32::from(u) * i32::from(w.cast_signed()));
                }
            }
            sums
        }

        unsafe fn store(sums: [i32; 16], to: &mut [i32; 16]) {
            *to = sums;
        }
    }

    fn on_model(layer: &Layer, len: usize) -> Result<Vec<u32>, Fault> {
        let packed = layer.pack(Isa::Vnni);
        let (q, sx) = super::super::linear::quant_rows(Isa::Scalar, &layer.x, &packed)?;
        let mut out = vec![f32::NAN; len];
        bits(packed.products_on::<Model>(&q, &sx, &mut out), &out)
    }

    #[test]
    fn the_vnni_kernel_is_equal_to_the_scalar_one_on_a_model_of_its_instructions() {
        let mut random = Random(4);
        let scalar = Cpu::new(Isa::Scalar, 1).unwrap();
        for shape in SHAPES {
            for kind in 0..KINDS {
                let layer = Layer::new(&mut random, kind, shape);
                let mut out = vec![0.0; shape.0 * shape.1];
                let want = scalar.linear(&layer.x, &layer.pack(Isa::Scalar), &mut out);
                let got = on_model(&layer, out.len());
                assert!(got == bits(want, &out), "{shape:?} kind {kind}");
            }
        }
    }
}
