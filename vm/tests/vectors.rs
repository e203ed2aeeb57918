//! The operators against the test vectors of the numeric specification: `tests/data/vectors.json`, and
//! every `*.json` in the folder that `LOCKSTEP_VECTORS` names (`docs/spec/make_vectors.py SEED` writes
//! more). Each case runs through the definitions and through every engine that this machine has.

use std::path::PathBuf;

use lockstep_vm::ops::{
    self, Activations, AttentionShape, Cpu, Fault, Isa, Linear, LinearSpec, QUANT8_MAX,
    QUANT16_MAX, Sampling,
};
use serde_json::Value;

/// Cases in a file that `make_vectors.py` writes, whatever the seed.
const CASES: usize = 1041;

/// One result, by the names that the vectors use: the little-endian bytes of each tensor, or an id.
type Output = Result<Vec<(&'static str, Vec<u8>)>, Fault>;

type Map = fn(&[f32], &mut [f32]) -> Result<(), Fault>;
type Map2 = fn(&[f32], &[f32], &mut [f32]) -> Result<(), Fault>;
type EngineMap = fn(&Cpu, &[f32], &mut [f32]) -> Result<(), Fault>;

struct Case<'a>(&'a Value);

impl Case<'_> {
    fn op(&self) -> &str {
        self.0["op"].as_str().unwrap()
    }

    fn bytes(tensor: &Value) -> Vec<u8> {
        let hex = tensor["hex"].as_str().unwrap();
        let digits = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.0["in"][name].is_null()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        let bytes = Self::bytes(&self.0["in"][name]);
        bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn i8(&self, name: &str) -> Vec<i8> {
        Self::bytes(&self.0["in"][name]).into_iter().map(u8::cast_signed).collect()
    }

    fn shape(&self, name: &str) -> (usize, usize) {
        let shape = self.0["in"][name]["shape"].as_array().unwrap();
        let at = |i: usize| usize::try_from(shape[i].as_u64().unwrap()).unwrap();
        (at(0), at(shape.len() - 1))
    }

    fn attr(&self, name: &str) -> u64 {
        let value = &self.0["attr"][name];
        value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
    }

    fn attr_f32(&self, name: &str) -> f32 {
        f32::from_bits(self.attr(name).try_into().unwrap())
    }

    fn attr_usize(&self, name: &str) -> usize {
        self.attr(name).try_into().unwrap()
    }

    /// Compares with the vector's `out`.
    fn check(&self, how: &str, got: &Output) {
        let name = format!("{} {} ({how})", self.op(), self.0["case"]);
        let out = &self.0["out"];
        if out["fault"] == true {
            assert_eq!(got, &Err(Fault), "{name}");
            return;
        }
        let got = got.as_ref().unwrap_or_else(|_| panic!("{name}: FAULT where a result was due"));
        assert_eq!(got.len(), out.as_object().unwrap().len(), "{name}: outputs");
        for (key, bytes) in got {
            let want = match &out[*key] {
                Value::Number(id) => {
                    u32::try_from(id.as_u64().unwrap()).unwrap().to_le_bytes().to_vec()
                }
                tensor => Self::bytes(tensor),
            };
            assert!(*bytes == want, "{name}: {key} is {bytes:02x?}, not {want:02x?}");
        }
    }
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn i8_bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|q| q.cast_unsigned()).collect()
}

/// Runs `op` into a fresh output of `len` values.
fn filled(len: usize, op: impl FnOnce(&mut [f32]) -> Result<(), Fault>) -> Output {
    let mut out = vec![f32::NAN; len];
    op(&mut out)?;
    Ok(vec![("y", f32_bytes(&out))])
}

/// Runs `op` on each row of `x`.
fn by_rows(x: &[f32], cols: usize, op: impl Fn(&[f32], &mut [f32]) -> Result<(), Fault>) -> Output {
    filled(x.len(), |out| {
        x.chunks(cols).zip(out.chunks_mut(cols)).try_for_each(|(x, out)| op(x, out))
    })
}

/// The case through the definitions.
fn reference(case: &Case<'_>) -> Output {
    match case.op() {
        "QUANT8" => {
            let (q, scale) = quantise(case, QUANT8_MAX)?;
            let q: Vec<i8> = q.iter().map(|q| i8::try_from(*q).unwrap()).collect();
            Ok(vec![("q", i8_bytes(&q)), ("scale", f32_bytes(&scale))])
        }
        "QUANT16" => {
            let (q, scale) = quantise(case, QUANT16_MAX)?;
            let (high, low): (Vec<i8>, Vec<i8>) = q.iter().map(|q| ops::planes(*q)).unzip();
            Ok(vec![("hi", i8_bytes(&high)), ("lo", i8_bytes(&low)), ("scale", f32_bytes(&scale))])
        }
        "QUANT_WEIGHT" => {
            let (w, (rows, cols)) = (case.f32("w"), case.shape("w"));
            let mut q = vec![0; rows * cols];
            let each = w.chunks(cols).zip(q.chunks_mut(cols));
            let scale: Vec<f32> =
                each.map(|(w, q)| ops::quant_weight_row(w, q)).collect::<Result<_, _>>()?;
            Ok(vec![("q", i8_bytes(&q)), ("scale", f32_bytes(&scale))])
        }
        "TOINT" => {
            let (x, (rows, cols)) = (case.f32("x"), case.shape("x"));
            let mut t = vec![0; rows * cols];
            let each = x.chunks(cols).zip(t.chunks_mut(cols));
            let unit: Vec<f32> =
                each.map(|(x, t)| ops::toint_row(x, t)).collect::<Result<_, _>>()?;
            let t = t.iter().flat_map(|t| t.to_le_bytes()).collect();
            Ok(vec![("t", t), ("u", f32_bytes(&unit))])
        }
        "MATMUL8" | "MATMUL16" => matmul(case, |q, sx, spec, out| {
            let mut rows = q.chunks(spec.k).zip(sx).zip(out.chunks_mut(spec.n));
            rows.try_for_each(|((q, sx), out)| ops::matmul_row(q, *sx, spec, out))
        }),
        "ATTENTION" => {
            let (q, k, v, d) = (case.f32("q"), case.f32("k"), case.f32("v"), case.shape("q").1);
            filled(q.len(), |out| {
                ops::attention_head((&q, &k, &v), d, case.attr_f32("scale_bits"), first(case), out)
            })
        }
        "ARGMAX" => id(ops::argmax(&case.f32("x"))),
        "SAMPLE" => id(ops::sample(&case.f32("logits"), sampling(case))),
        _ => reference_rows(case),
    }
}

/// The case through the definitions: operators from rows to rows.
fn reference_rows(case: &Case<'_>) -> Output {
    let two = |a: &str, b: &str, op: Map2| {
        let (a, b) = (case.f32(a), case.f32(b));
        filled(a.len(), |out| op(&a, &b, out))
    };
    let map = |op: Map| {
        let x = case.f32("x");
        filled(x.len(), |out| op(&x, out))
    };
    match case.op() {
        "RMSNORM" => {
            let (g, eps) = (case.f32("g"), case.attr_f32("eps_bits"));
            by_rows(&case.f32("x"), g.len(), |x, out| ops::rmsnorm_row(x, &g, eps, out))
        }
        "LAYERNORM" => {
            let (g, b, eps) = (case.f32("g"), case.f32("b"), case.attr_f32("eps_bits"));
            by_rows(&case.f32("x"), g.len(), |x, out| ops::layernorm_row(x, &g, &b, eps, out))
        }
        "POOL_MEAN" => filled(case.shape("x").1, |out| ops::pool_mean(&case.f32("x"), out)),
        "L2NORM" => by_rows(&case.f32("x"), case.shape("x").1, ops::l2norm_row),
        "EXPN" => map(ops::expn_map),
        "SIGMOID" => map(ops::sigmoid_map),
        "SILU" => map(ops::silu_map),
        "GELU_TANH" => map(ops::gelu_tanh_map),
        "GELU_ERF" => map(ops::gelu_erf_map),
        "SWIGLU" => two("gate", "up", ops::swiglu),
        "ADD" => two("x", "y", ops::add),
        "ROPE" => {
            let (x, cos, sin) = (case.f32("x"), case.f32("cos"), case.f32("sin"));
            let width = case.shape("x").1;
            let tables = cos.chunks(width / 2).zip(sin.chunks(width / 2));
            filled(x.len(), |out| {
                let mut rows = x.chunks(width).zip(out.chunks_mut(width)).zip(tables);
                rows.try_for_each(|((x, out), (cos, sin))| ops::rope_row(x, cos, sin, out))
            })
        }
        "EMBED" => embed(case, ops::embed8),
        op => panic!("no operator is called {op}"),
    }
}

/// The case through an engine; `None` where the operator is one of import only.
fn engine(case: &Case<'_>, cpu: &Cpu) -> Option<Output> {
    let map = |op: EngineMap| {
        let x = case.f32("x");
        filled(x.len(), |out| op(cpu, &x, out))
    };
    let (eps, rows) = (|| case.attr_f32("eps_bits"), |name: &str| case.f32(name));
    Some(match case.op() {
        "QUANT_WEIGHT" | "TOINT" => return None,
        "QUANT8" => layer_quantise(case, cpu, Activations::Bits8),
        "QUANT16" => layer_quantise(case, cpu, Activations::Bits16),
        "MATMUL8" | "MATMUL16" => {
            matmul(case, |q, sx, spec, out| cpu.matmul(q, sx, &Linear::pack(cpu.isa(), spec), out))
        }
        "ATTENTION" => attention(case, cpu),
        "RMSNORM" => filled(rows("x").len(), |out| cpu.rmsnorm(&rows("x"), &rows("g"), eps(), out)),
        "LAYERNORM" => filled(rows("x").len(), |out| {
            cpu.layernorm(&rows("x"), &rows("g"), &rows("b"), eps(), out)
        }),
        "POOL_MEAN" => {
            let cols = case.shape("x").1;
            filled(cols, |out| cpu.pool_mean(&rows("x"), cols, out))
        }
        "L2NORM" => filled(rows("x").len(), |out| cpu.l2norm(&rows("x"), case.shape("x").1, out)),
        "EXPN" => map(Cpu::expn),
        "SIGMOID" => map(Cpu::sigmoid),
        "SILU" => map(Cpu::silu),
        "GELU_TANH" => map(Cpu::gelu_tanh),
        "GELU_ERF" => map(Cpu::gelu_erf),
        "SWIGLU" => filled(rows("up").len(), |out| cpu.swiglu(&rows("gate"), &rows("up"), out)),
        "ADD" => filled(rows("x").len(), |out| cpu.add(&rows("x"), &rows("y"), out)),
        "ROPE" => filled(rows("x").len(), |out| {
            cpu.rope(&rows("x"), (&rows("cos"), &rows("sin")), case.shape("x").0, out)
        }),
        "EMBED" => {
            embed(case, |table, scale, cols, ids, out| cpu.embed8((table, scale), cols, ids, out))
        }
        "ARGMAX" => id(cpu.argmax(&rows("x"))),
        "SAMPLE" => id(cpu.sample(&rows("logits"), sampling(case))),
        op => panic!("no operator is called {op}"),
    })
}

fn quantise(case: &Case<'_>, q_max: i16) -> Result<(Vec<i16>, Vec<f32>), Fault> {
    let (x, (rows, cols)) = (case.f32("x"), case.shape("x"));
    let pre = case.has("pre").then(|| case.f32("pre"));
    let mut q = vec![0; rows * cols];
    let each = x.chunks(cols).zip(q.chunks_mut(cols));
    let scale = each.map(|(x, q)| ops::quant_row(x, pre.as_deref(), q_max, q));
    let scale = scale.collect::<Result<_, _>>()?;
    Ok((q, scale))
}

fn layer_quantise(case: &Case<'_>, cpu: &Cpu, activations: Activations) -> Output {
    let (x, (_, k)) = (case.f32("x"), case.shape("x"));
    let pre = case.has("pre").then(|| case.f32("pre"));
    let spec = LinearSpec {
        weight: &vec![0; k],
        n: 1,
        k,
        scale: &[0.0],
        bias: None,
        smoothing: pre.as_deref(),
        activations,
    };
    let (q, scale) = cpu.quantise(&x, &Linear::pack(cpu.isa(), &spec))?;
    let q = q.chunks(k.next_multiple_of(4)).flat_map(|row| &row[..k]).copied();
    let scale = ("scale", f32_bytes(&scale));
    if activations == Activations::Bits8 {
        let q: Vec<i8> = q.map(|q| i8::try_from(q).unwrap()).collect();
        return Ok(vec![("q", i8_bytes(&q)), scale]);
    }
    let (high, low): (Vec<i8>, Vec<i8>) = q.map(ops::planes).unzip();
    Ok(vec![("hi", i8_bytes(&high)), ("lo", i8_bytes(&low)), scale])
}

fn matmul(
    case: &Case<'_>,
    run: impl FnOnce(&[i16], &[f32], &LinearSpec<'_>, &mut [f32]) -> Result<(), Fault>,
) -> Output {
    let wide = case.op() == "MATMUL16";
    let q: Vec<i16> = if wide {
        let planes = case.i8("hi").into_iter().zip(case.i8("lo"));
        planes.map(|(high, low)| 256 * i16::from(high) + i16::from(low)).collect()
    } else {
        case.i8("q").into_iter().map(i16::from).collect()
    };
    let (weight, (n, k)) = (case.i8("w"), case.shape("w"));
    let (scale, bias) = (case.f32("sw"), case.has("b").then(|| case.f32("b")));
    let activations = if wide { Activations::Bits16 } else { Activations::Bits8 };
    let spec = LinearSpec {
        weight: &weight,
        n,
        k,
        scale: &scale,
        bias: bias.as_deref(),
        smoothing: None,
        activations,
    };
    let sx = case.f32("sx");
    filled(sx.len() * n, |out| run(&q, &sx, &spec, out))
}

fn attention(case: &Case<'_>, cpu: &Cpu) -> Output {
    let (q, k, v) = (case.f32("q"), case.f32("k"), case.f32("v"));
    let (tokens, head_dim) = case.shape("k");
    let shape = AttentionShape { heads: 1, head_dim, tokens };
    let scale = case.attr_f32("scale_bits");
    filled(q.len(), |out| cpu.attention_from((&q, &k, &v), shape, scale, first(case), out))
}

fn first(case: &Case<'_>) -> Option<usize> {
    (!case.0["attr"]["first"].is_null()).then(|| case.attr_usize("first"))
}

fn embed(
    case: &Case<'_>,
    run: impl FnOnce(&[i8], &[f32], usize, &[u32], &mut [f32]) -> Result<(), Fault>,
) -> Output {
    let ids: Vec<u32> = Case::bytes(&case.0["in"]["ids"])
        .as_chunks()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
        .collect();
    let cols = case.shape("q").1;
    let (table, scale) = (case.i8("q"), case.f32("scale"));
    filled(ids.len() * cols, |out| run(&table, &scale, cols, &ids, out))
}

fn sampling(case: &Case<'_>) -> Sampling {
    Sampling {
        inv_t: case.attr_f32("inv_t_bits"),
        top_k: case.attr_usize("top_k"),
        top_p: case.attr("top_p").try_into().unwrap(),
        seed: case.attr("seed"),
        step: case.attr("step"),
    }
}

fn id(id: Result<u32, Fault>) -> Output {
    Ok(vec![("id", id?.to_le_bytes().to_vec())])
}

/// The vectors of this repository, and those of the folder that `LOCKSTEP_VECTORS` names.
fn files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors.json")];
    if let Some(folder) = std::env::var_os("LOCKSTEP_VECTORS") {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let paths = entries.map(|entry| entry.unwrap().path());
        let more: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        assert!(!more.is_empty(), "LOCKSTEP_VECTORS: no *.json in {}", folder.display());
        files.extend(more);
    }
    files
}

#[test]
fn every_operator_gives_the_bytes_of_the_vectors() {
    let engines: Vec<Cpu> =
        Isa::available().into_iter().map(|isa| Cpu::new(isa, 1).unwrap()).collect();
    let names: Vec<String> = engines.iter().map(|cpu| cpu.isa().to_string()).collect();
    for path in files() {
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
        assert_eq!(cases.len(), CASES, "cases in {}", path.display());
        let mut by_engine = 0;
        for case in cases.iter().map(Case) {
            case.check("definition", &reference(&case));
            for cpu in &engines {
                if let Some(got) = engine(&case, cpu) {
                    case.check(&cpu.isa().to_string(), &got);
                    by_engine += 1;
                }
            }
        }
        assert_eq!(by_engine, (CASES - 88) * engines.len(), "cases through engines");
        println!("{}: {CASES} cases; engines: {}", path.display(), names.join(", "));
    }
}
