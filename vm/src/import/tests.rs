use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::artefact::validate_file;
use crate::program::{Op, Tensor};

/// A BERT encoder of two layers in a folder, that tests can spoil.
struct Folder {
    dir: TempDir,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

const HIDDEN: usize = 8;
const INTERMEDIATE: usize = 12;

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 20,
        "max_position_embeddings": 32, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu"
    })
}

fn modules(kinds: &[&str]) -> Value {
    let module = |kind: &&str| {
        json!({"path": if *kind == "Pooling" { "1_Pooling" } else { "" },
               "type": format!("sentence_transformers.models.{kind}")})
    };
    kinds.iter().map(module).collect()
}

impl Folder {
    fn new() -> Self {
        let mut folder = Self { dir: tempfile::tempdir().unwrap(), tensors: BTreeMap::new() };
        for kind in [("word", 20), ("position", 32), ("token_type", 2)] {
            folder.add(&format!("embeddings.{}_embeddings.weight", kind.0), &[kind.1, HIDDEN]);
        }
        folder.norm("embeddings.LayerNorm");
        for layer in 0..2 {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            for part in ["query", "key", "value"] {
                folder.linear(&name(&format!("attention.self.{part}")), HIDDEN, HIDDEN);
            }
            folder.linear(&name("attention.output.dense"), HIDDEN, HIDDEN);
            folder.norm(&name("attention.output.LayerNorm"));
            folder.linear(&name("intermediate.dense"), INTERMEDIATE, HIDDEN);
            folder.linear(&name("output.dense"), HIDDEN, INTERMEDIATE);
            folder.norm(&name("output.LayerNorm"));
        }
        folder.linear("pooler.dense", HIDDEN, HIDDEN);
        folder.json("config.json", &config());
        folder.json("modules.json", &modules(&["Transformer", "Pooling", "Normalize"]));
        folder.json("1_Pooling/config.json", &json!({"pooling_mode_mean_tokens": true}));
        folder.json("sentence_bert_config.json", &json!({"max_seq_length": 16}));
        folder.write("tokenizer.json", b"{\"version\": \"1.0\"}");
        folder.save(Dtype::F32);
        folder
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        let mut state = u32::try_from(self.tensors.len()).unwrap();
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 20).unwrap()) / 4096.0 - 0.5
        };
        let values = (0..shape.iter().product()).map(next).collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }

    fn linear(&mut self, name: &str, n: usize, k: usize) {
        self.add(&format!("{name}.weight"), &[n, k]);
        self.add(&format!("{name}.bias"), &[n]);
    }

    fn norm(&mut self, name: &str) {
        self.add(&format!("{name}.weight"), &[HIDDEN]);
        self.add(&format!("{name}.bias"), &[HIDDEN]);
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn json(&self, name: &str, value: &Value) {
        self.write(name, &serde_json::to_vec(value).unwrap());
    }

    fn save(&self, dtype: Dtype) {
        self.save_as(dtype, "");
    }

    /// Writes the weights; the narrow types are cut, not rounded.
    fn save_as(&self, dtype: Dtype, prefix: &str) {
        let narrow = |value: &f32| match dtype {
            Dtype::BF16 => value.to_le_bytes()[2..].to_vec(),
            Dtype::F16 => {
                let bits = value.to_bits();
                let exponent = (bits >> 23 & 0xff).saturating_sub(112);
                let half = bits >> 31 << 15 | exponent << 10 | bits >> 13 & 0x3ff;
                half.to_le_bytes()[..2].to_vec()
            }
            Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(narrow).collect();
                (format!("{prefix}{name}"), shape.clone(), bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name, TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        self.write("model.safetensors", &safetensors::serialize(views, None).unwrap());
    }

    fn import(&self, options: &Options) -> Result<Reader<Cursor<Vec<u8>>>, ImportError> {
        import_to_memory(self.path(), options, &mut |_| ())
    }

    fn words(&self) -> String {
        self.import(&Options::default()).expect_err("refused").to_string()
    }

    fn tensor(&mut self, name: &str) -> &mut Vec<f32> {
        &mut self.tensors.get_mut(name).unwrap().1
    }
}

fn smoothed() -> Options {
    let calibration = vec![vec![1, 2, 3], vec![4, 5, 19, 0]];
    Options { activations: Activations::Bits8, calibration, ..Options::default() }
}

#[test]
fn the_same_files_give_the_same_root_and_a_whole_artefact() {
    let folder = Folder::new();
    for options in [Options::default(), smoothed()] {
        let out = folder.path().join("out.lockstep");
        let mut steps = Vec::new();
        let manifest = import(folder.path(), &out, &options, &mut |it| steps.push(it)).unwrap();
        assert_eq!(validate_file(&out).unwrap(), manifest);
        let threads = options.threads + 1;
        let again = folder.import(&Options { threads, ..options.clone() }).unwrap();
        assert_eq!(again.manifest().root(), manifest.root());
        assert_eq!(manifest.description().family, "bert");
        let last = steps.last().unwrap();
        assert_eq!((last.phase, last.done), (Phase::Writing, last.total));
        let calibrated = steps.iter().filter(|step| step.phase == Phase::Calibrating).count();
        assert_eq!(calibrated, options.calibration.len());
    }
    assert_ne!(
        folder.import(&Options::default()).unwrap().manifest().root(),
        folder.import(&smoothed()).unwrap().manifest().root()
    );
}

#[test]
fn what_the_model_says_of_itself_is_in_the_program() {
    let folder = Folder::new();
    let mut reader = folder.import(&Options::default()).unwrap();
    let verified = reader.manifest().verified().clone();
    assert_eq!(
        (verified.tokens_max(), verified.vocabulary(), verified.output_values()),
        (16, 20, 8)
    );
    assert_eq!(verified.program().tensors[1], Tensor::F32 { rows: 16, cols: 8 }, "positions kept");
    assert!(matches!(verified.program().ops.last(), Some(Op::L2Norm { .. })));
    assert_eq!(reader.attachment("tokenizer.json").unwrap(), b"{\"version\": \"1.0\"}");
    folder.json("modules.json", &modules(&["Transformer", "Pooling"]));
    std::fs::remove_file(folder.path().join("sentence_bert_config.json")).unwrap();
    let plain = folder.import(&Options::default()).unwrap();
    let verified = plain.manifest().verified();
    assert_eq!(verified.tokens_max(), 32);
    assert!(matches!(verified.program().ops.last(), Some(Op::PoolMean { .. })));
}

#[test]
fn half_precision_and_prefixed_names_give_what_the_widened_values_give() {
    let mut folder = Folder::new();
    for (dtype, mask) in [(Dtype::BF16, 0xffff_0000), (Dtype::F16, 0xffff_e000)] {
        // Values that both hold exactly; too small ones become zero.
        for (_, values) in folder.tensors.values_mut() {
            for value in values.iter_mut() {
                let cut = f32::from_bits(value.to_bits() & mask);
                *value = if cut.abs() < 1e-3 { 0.0 } else { cut };
            }
        }
        folder.save(Dtype::F32);
        let wide = folder.import(&Options::default()).unwrap().manifest().root();
        folder.save_as(dtype, "bert.");
        let narrow = folder.import(&Options::default()).unwrap().manifest().root();
        assert_eq!(narrow, wide, "{dtype:?}");
    }
    folder.save(Dtype::F64);
    assert!(folder.words().contains("has type F64; supported are F32, F16 and BF16"));
}

#[test]
fn activation_widths_are_chosen_by_layer_and_unknown_layers_are_named() {
    let folder = Folder::new();
    let names = layers(folder.path()).unwrap();
    assert_eq!(names.len(), 12);
    assert_eq!(names[0], "encoder.layer.0.attention.self.query");
    let overrides = BTreeMap::from([("layer.1.output".to_owned(), Activations::Bits8)]);
    let reader = folder.import(&Options { overrides, ..Options::default() }).unwrap();
    let widths: Vec<Activations> = (reader.manifest().verified().program().ops.iter())
        .filter_map(|op| match op {
            Op::Linear { activations, .. } => Some(*activations),
            _ => None,
        })
        .collect();
    let mut expected = [Activations::Bits16; 12];
    expected[11] = Activations::Bits8;
    assert_eq!(widths, expected);
    let overrides = BTreeMap::from([("decoder".to_owned(), Activations::Bits8)]);
    let error = folder.import(&Options { overrides, ..Options::default() }).unwrap_err();
    let start = "no linear layer's name contains `decoder`; the layers are encoder.layer.0.";
    assert!(error.to_string().starts_with(start), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for (value, words) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        for name in ["encoder.layer.1.output.dense.weight", "embeddings.LayerNorm.bias"] {
            let mut folder = Folder::new();
            folder.tensor(name)[5] = value;
            folder.save(Dtype::F32);
            let out = folder.path().join("out.lockstep");
            let error = import(folder.path(), &out, &Options::default(), &mut |_| ()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("tensor `{name}`: value 5 is {words}; every weight must be finite")
            );
            assert!(!out.exists());
        }
    }
}

#[test]
fn a_damaged_file_of_weights_says_so_wherever_it_is_cut() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    for length in (0..whole.len()).step_by(97) {
        folder.write("model.safetensors", &whole[..length]);
        let words = folder.words();
        assert!(words.contains("is no complete safetensors file"), "{length}: {words}");
    }
    let mut header = whole.clone();
    header[12] ^= 0x20;
    folder.write("model.safetensors", &header);
    assert!(!folder.words().is_empty());
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(folder.words().contains("hint: give the folder with config.json"));
}

#[test]
fn missing_unknown_and_misshapen_tensors_are_named() {
    let mut folder = Folder::new();
    folder.add("encoder.layer.0.moe.router.weight", &[2, 2]);
    folder.save(Dtype::F32);
    assert!(folder.words().starts_with("tensor `encoder.layer.0.moe.router.weight` belongs to no"));
    folder.tensors.remove("encoder.layer.0.moe.router.weight");
    let bias = folder.tensors.remove("encoder.layer.1.intermediate.dense.bias").unwrap();
    folder.save(Dtype::F32);
    let words = folder.words();
    assert!(words.starts_with("tensor `encoder.layer.1.intermediate.dense.bias` is missing"));
    folder.tensors.insert("encoder.layer.1.intermediate.dense.bias".into(), bias);
    folder.add("embeddings.word_embeddings.weight", &[19, HIDDEN]);
    folder.save(Dtype::F32);
    assert_eq!(
        folder.words(),
        "tensor `embeddings.word_embeddings.weight` has shape [19, 8], the configuration asks for \
         [20, 8]"
    );
}

#[test]
fn what_this_importer_does_not_know_is_named() {
    let folder = Folder::new();
    let with = |key: &str, value: Value| {
        let mut config = config();
        config[key] = value;
        folder.json("config.json", &config);
        folder.words()
    };
    assert!(with("model_type", json!("llama")).contains("the model type `llama` is not supported"));
    assert!(with("hidden_act", json!("relu")).contains("the activation function `relu`"));
    assert!(with("position_embedding_type", json!("rotary")).contains("`rotary`"));
    assert!(with("num_attention_heads", json!(3)).contains("num_attention_heads is 3, expected a"));
    assert!(with("num_attention_heads", json!(0)).contains("num_attention_heads is 0"));
    assert!(with("hidden_size", json!(-1)).contains("config.json is not understood"));
    folder.json("config.json", &config());
    folder.json("modules.json", &modules(&["Transformer", "Pooling", "Dense"]));
    assert!(folder.words().contains("the module `Dense` is not supported"));
    folder.json("modules.json", &modules(&["Pooling", "Transformer"]));
    assert!(folder.words().contains("the order of modules `Pooling, Transformer`"));
    folder.json("modules.json", &modules(&["Transformer", "Pooling"]));
    folder.json("1_Pooling/config.json", &json!({"pooling_mode_cls_token": true}));
    assert!(folder.words().contains("the pooling `pooling_mode_cls_token` is not supported"));
    folder.json("1_Pooling/config.json", &json!({"pooling_mode_mean_tokens": true}));
    folder.json("sentence_bert_config.json", &json!({"max_seq_length": 64}));
    assert!(folder.words().contains("max_seq_length is 64, expected 1 to 32"));
}

#[test]
fn calibration_texts_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let refusal = |bad: Vec<u32>| {
        let calibration = vec![vec![1], bad];
        let error = folder.import(&Options { calibration, ..Options::default() }).unwrap_err();
        error.to_string()
    };
    let long = refusal(vec![1; 33]);
    assert!(long.starts_with("calibration text: input 1 has 33 token ids"), "{long}");
    let unknown = refusal(vec![20]);
    assert!(unknown.contains("text 1"), "{unknown}");
}
