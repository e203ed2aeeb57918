//! The files that say what a model is: `config.json`, `modules.json`, `1_Pooling/config.json`,
//! `sentence_bert_config.json`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ImportError;
use crate::program::Map;

/// A BERT encoder with what follows it.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) hidden: u32,
    pub(super) intermediate: u32,
    pub(super) layers: u32,
    pub(super) heads: u32,
    pub(super) vocabulary: u32,
    pub(super) positions: u32,
    pub(super) token_types: u32,
    pub(super) tokens_max: u32,
    pub(super) eps: f32,
    pub(super) activation: Map,
    pub(super) normalise: bool,
}

#[derive(Deserialize)]
struct BertJson {
    model_type: String,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    vocab_size: u32,
    max_position_embeddings: u32,
    #[serde(default = "two")]
    type_vocab_size: u32,
    #[serde(default = "bert_eps")]
    layer_norm_eps: f32,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> u32 {
    2
}

fn bert_eps() -> f32 {
    1e-12
}

fn absolute() -> String {
    "absolute".into()
}

#[derive(Deserialize)]
struct ModuleJson {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SentenceJson {
    max_seq_length: Option<u32>,
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, ImportError> {
    let path = folder.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(ImportError::File { path, error }),
    };
    serde_json::from_slice(&bytes).map_err(|error| ImportError::Json { path, error })
}

impl Config {
    pub(super) fn read(folder: &Path) -> Result<Self, ImportError> {
        let bert: BertJson = read(folder, "config.json")?;
        let path = folder.join("config.json");
        let unsupported = |what, found: &str, supported| {
            let path = path.clone();
            Err(ImportError::Unsupported { path, what, found: found.to_owned(), supported })
        };
        if bert.model_type != "bert" {
            return unsupported("the model type", &bert.model_type, "bert");
        }
        if bert.is_decoder {
            return unsupported("the mode", "is_decoder", "encoders");
        }
        if bert.position_embedding_type != "absolute" {
            let found = &bert.position_embedding_type;
            return unsupported("the position embedding", found, "absolute");
        }
        let activation = match bert.hidden_act.as_str() {
            "gelu" => Map::GeluErf,
            "gelu_new" | "gelu_pytorch_tanh" => Map::GeluTanh,
            "silu" | "swish" => Map::Silu,
            other => {
                let supported = "gelu, gelu_new, gelu_pytorch_tanh, silu";
                return unsupported("the activation function", other, supported);
            }
        };
        let heads = bert.num_attention_heads;
        if heads == 0 || !bert.hidden_size.is_multiple_of(heads) {
            return Err(ImportError::Value {
                path,
                what: "num_attention_heads",
                found: heads.into(),
                expected: format!("a divisor of hidden_size, {}", bert.hidden_size),
            });
        }
        Ok(Self {
            hidden: bert.hidden_size,
            intermediate: bert.intermediate_size,
            layers: bert.num_hidden_layers,
            heads,
            vocabulary: bert.vocab_size,
            positions: bert.max_position_embeddings,
            token_types: bert.type_vocab_size,
            tokens_max: tokens_max(folder, bert.max_position_embeddings)?,
            eps: bert.layer_norm_eps,
            activation,
            normalise: modules(folder)?,
        })
    }
}

/// The limit of the sentence encoder; without one, as many tokens as there are positions.
fn tokens_max(folder: &Path, positions: u32) -> Result<u32, ImportError> {
    let name = "sentence_bert_config.json";
    let path = folder.join(name);
    let limit = match read::<SentenceJson>(folder, name) {
        Ok(sentence) => sentence.max_seq_length.unwrap_or(positions),
        Err(ImportError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            positions
        }
        Err(error) => return Err(error),
    };
    if (1..=positions).contains(&limit) {
        return Ok(limit);
    }
    let expected = format!("1 to {positions}, the model's positions");
    Err(ImportError::Value { path, what: "max_seq_length", found: limit.into(), expected })
}

/// What follows the encoder: mean pooling, then normalisation or not.
fn modules(folder: &Path) -> Result<bool, ImportError> {
    let modules: Vec<ModuleJson> = read(folder, "modules.json")?;
    let path = folder.join("modules.json");
    let kinds: Vec<&str> =
        modules.iter().map(|module| module.kind.rsplit('.').next().unwrap_or_default()).collect();
    let known = ["Transformer", "Pooling", "Normalize"];
    let supported = "Transformer, then Pooling, then at most Normalize";
    let what = "the module";
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(kind)) {
        let found = (*unknown).to_owned();
        return Err(ImportError::Unsupported { path, what, found, supported });
    }
    if !(2..=3).contains(&kinds.len()) || kinds != known[..kinds.len()] {
        let (what, found) = ("the order of modules", kinds.join(", "));
        return Err(ImportError::Unsupported { path, what, found, supported });
    }
    pooling(folder, &modules[1].path)?;
    Ok(kinds.len() == 3)
}

/// Refuses every pooling but the mean over tokens.
fn pooling(folder: &Path, path: &str) -> Result<(), ImportError> {
    let name = format!("{path}/config.json");
    let modes: serde_json::Map<String, serde_json::Value> = read(folder, &name)?;
    let on: Vec<&str> = modes
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    if on == ["pooling_mode_mean_tokens"] {
        return Ok(());
    }
    Err(ImportError::Unsupported {
        path: folder.join(name),
        what: "the pooling",
        found: if on.is_empty() { "none".into() } else { on.join(", ") },
        supported: "pooling_mode_mean_tokens",
    })
}
