//! What the command line says and how it ends, above all where the input is bad.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lockstep_audit::sample::Sample;
use lockstep_vm::artefact::{Attachment, Description, Writer};
use lockstep_vm::program::{FORMAT, Index, Input, Op, Program, Tensor};
use tempfile::TempDir;

/// Nobody serves `discard` on loopback.
const NO_NODE: &str = "http://127.0.0.1:9";

/// `[CLS]` 1, `[SEP]` 2, unknown 3, `a` 4, `b` 5; its limit of 3 and its padding must not count.
const TOKENIZER: &str = r#"{
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "[UNK]",
              "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5}}
}"#;

struct Run {
    home: TempDir,
}

impl Run {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(arguments)
            .env_clear()
            .env("LOCKSTEP_HOME", self.home.path())
            .env("LOCKSTEP_NODE", NO_NODE)
            .env("LOCKSTEP_BLOBS", NO_NODE)
            .stdin(Stdio::null());
        command
    }

    fn lockstep(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a call that must go well.
    fn fine(&self, arguments: &[&str]) -> String {
        let output = self.lockstep(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a call that must end with 1, say nothing else, and give a hint.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.lockstep(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(error.contains("\nhint: "), "{arguments:?}: {error}");
        error
    }
}

/// A model whose output is the mean of its tokens' rows; the row of id n is n everywhere.
fn artefact(path: &Path) {
    let program = Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 6, tokens_max: 5 },
        tensors: vec![Tensor::F32 { rows: 6, cols: 4 }],
        ops: vec![Op::Embed { table: 0, index: Index::Tokens }, Op::PoolMean { x: 0 }],
        output: 1,
    };
    let file = Attachment::of("tokenizer.json", TOKENIZER.as_bytes());
    let description = Description { family: "example".into(), attachments: vec![file] };
    let mut writer = Writer::create(path, program, description).unwrap();
    let rows: Vec<f32> = (0_u8..6).flat_map(|id| [f32::from(id); 4]).collect();
    writer.table(&rows, 4).unwrap();
    writer.attachment(TOKENIZER.as_bytes()).unwrap();
    writer.persist(path).unwrap();
}

#[test]
fn a_model_runs_without_a_chain_and_says_which_texts_it_cut() {
    let run = Run::new();
    artefact(&run.path("model"));
    let texts = run.write("texts.json", r#"["a", "a b a b a b"]"#);
    let (model, out) = (run.path("model"), run.path("out.npy"));
    let arguments = ["model", "run", model.to_str().unwrap(), "--texts", &texts];
    let arguments = [&arguments[..], &["--out", out.to_str().unwrap(), "--backend", "scalar"]];
    let output = run.lockstep(&arguments.concat());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    assert_eq!(notes, "text 2 was cut from 8 to 5 tokens, the model's limit\n");
    let bytes = std::fs::read(out).unwrap();
    let values: Vec<f32> =
        bytes[128..].chunks(4).map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect();
    // [CLS] a [SEP] is 1, 4, 2; [CLS] a b a [SEP] is 1, 4, 5, 4, 2.
    assert_eq!(values[..4], [7.0 / 3.0; 4]);
    assert_eq!(values[4..], [3.2; 4]);
}

#[test]
fn a_damaged_artefact_is_refused_with_what_is_wrong() {
    let run = Run::new();
    artefact(&run.path("model"));
    let whole = std::fs::read(run.path("model")).unwrap();
    let texts = run.write("texts.json", r#"["a"]"#);
    let out = run.path("out.npy");
    let refused = |name: &str, bytes: &[u8]| {
        let path = run.write(name, bytes);
        let out = out.to_str().unwrap();
        let error = run.refused(&["model", "run", &path, "--texts", &texts, "--out", out]);
        assert!(error.contains(&path), "{error}");
        assert!(!Path::new(out).exists());
        error
    };
    assert!(refused("cut", &whole[..whole.len() - 1]).contains("truncated"));
    assert!(refused("long", &[&whole[..], b"x"].concat()).contains("after its last leaf"));
    assert!(refused("other", b"{\"not\": \"an artefact\"}").contains("no artefact"));
    let mut flipped = whole.clone();
    // In the table, right before the tokenizer: its last value becomes another finite one.
    let at = whole.len() - TOKENIZER.len() - 1;
    flipped[at] ^= 1;
    assert!(refused("flipped", &flipped).contains("root"));
}

#[test]
fn a_missing_or_wrong_file_is_named() {
    let run = Run::new();
    artefact(&run.path("model"));
    let model = run.path("model");
    let model = model.to_str().unwrap();
    let nowhere = run.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let out = ["--out", "/dev/null"];
    let missing = run.refused(&[&["model", "run", model, "--texts", nowhere], &out[..]].concat());
    assert!(missing.contains(nowhere), "{missing}");
    let missing = run.refused(&[&["model", "import", nowhere], &out[..]].concat());
    assert!(missing.contains(nowhere), "{missing}");
    let texts = run.write("texts.json", "\"one text, no array\"");
    let wrong = run.refused(&[&["model", "run", model, "--texts", &texts], &out[..]].concat());
    assert!(wrong.contains("array of strings"), "{wrong}");
    let texts = run.write("texts.json", "[\"a\"]");
    let with = ["model", "run", model, "--texts", &texts, "--backend", "abacus"];
    assert!(run.refused(&[&with, &out[..]].concat()).contains("`abacus`"));
}

#[test]
fn a_truncated_model_is_not_imported_and_leaves_no_artefact() {
    let run = Run::new();
    let folder = run.path("model");
    std::fs::create_dir(&folder).unwrap();
    let config = r#"{"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "vocab_size": 6, "max_position_embeddings": 8, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu"}"#;
    run.write("model/config.json", config);
    // A header that promises more than there is.
    run.write("model/model.safetensors", [&9999_u64.to_le_bytes()[..], b"{\"a\""].concat());
    let out = run.path("artefact");
    let arguments = ["model", "import", folder.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let error = run.refused(&arguments);
    assert!(error.contains("safetensors"), "{error}");
    assert!(!out.exists());
}

#[test]
fn without_a_node_the_address_asked_is_named() {
    let run = Run::new();
    for arguments in [
        &["status"][..],
        &["query", "tip"],
        &["job", "show", "1"],
        &["tx", "send", "dev1", "5lock", "--from", "dev0", "--yes"],
    ] {
        let error = run.refused(arguments);
        assert!(error.contains(NO_NODE), "{error}");
    }
}

#[test]
fn a_folder_of_artefacts_that_is_not_there_is_named_before_any_block_is_asked_for() {
    let run = Run::new();
    let genesis = run.write("genesis.json", Sample::new(1, 2).unwrap().genesis);
    let replay = ["audit", "replay", "--genesis", &genesis, "--blocks", NO_NODE];
    let with = |more: &[&str]| run.lockstep(&[&replay, more].concat());
    let words = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let output = with(&["--recompute", "all", "--artefacts", "/nowhere"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(words(&output).contains("cannot read nowhere"), "{}", words(&output));
    let output = with(&["--recompute", "all"]);
    assert!(words(&output).contains("INCOMPLETE: index.jsonl"), "{}", words(&output));
}

#[test]
fn a_second_ctrl_c_ends_a_replay_whose_source_does_not_answer() {
    let run = Run::new();
    let genesis = run.write("genesis.json", Sample::new(1, 2).unwrap().genesis);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut replay = run.command(&["audit", "replay", "--genesis", &genesis, "--blocks", &url]);
    let mut child = replay.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let _connection = silent.accept().unwrap();
    let id = child.id().to_string();
    let interrupt = || {
        // The program listens a moment after it asked, or said something.
        std::thread::sleep(Duration::from_millis(300));
        Command::new("kill").args(["-INT", &id]).status().unwrap();
    };
    interrupt();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("ctrl-c again"), "{line}");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(11));
}

#[test]
fn a_wrong_address_or_amount_is_refused_before_any_node_is_asked() {
    let run = Run::new();
    let typo = "lockstep1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";
    let error = run.refused(&["tx", "send", typo, "5lock", "--from", "dev0"]);
    assert!(error.contains(typo), "{error}");
    let output = run.lockstep(&["tx", "send", "dev1", "5", "--from", "dev0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("`5` is not an amount"));
    let error = run.refused(&["tx", "send", "dev1", "5lock", "--from", "nobody"]);
    assert!(error.contains("`nobody`"), "{error}");
}

#[test]
fn a_key_is_added_listed_and_recovered_from_its_words() {
    let run = Run::new();
    let secret = run.write("secret", "correct horse\n");
    let with = ["--passphrase-file", &secret, "--json"];
    let added = run.fine(&[&["keys", "add", "mine"], &with[..]].concat());
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let listed: serde_json::Value =
        serde_json::from_str(&run.fine(&["keys", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["address"], added["address"]);
    let words = run.fine(&["keys", "words", "mine", "--passphrase-file", &secret]);
    assert_eq!(words.trim(), added["mnemonic"]);
    let taken = run.refused(&["keys", "add", "mine", "--passphrase-file", &secret]);
    assert!(taken.contains("`mine` is here already"), "{taken}");
    let other = run.write("other", "battery staple");
    let wrong = run.refused(&["keys", "words", "mine", "--passphrase-file", &other]);
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
}

#[test]
fn a_passphrase_is_no_flag_and_its_file_is_private() {
    let run = Run::new();
    let output = run.lockstep(&["keys", "add", "mine", "--passphrase", "secret"]);
    assert_eq!(output.status.code(), Some(1));
    let secret = run.write("secret", "correct horse");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = run.refused(&["keys", "add", "mine", "--passphrase-file", &secret]);
    assert!(error.contains("mode 644"), "{error}");
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let run = Run::new();
    let output = run.lockstep(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["exit"], 1);
    assert!(error["error"]["hint"].as_str().unwrap().contains("--node"));
}

/// Run with `LOCKSTEP_BLESS=1` to write the pages anew.
#[test]
fn the_reference_pages_are_what_the_program_says() {
    let run = Run::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (page, file) in [("cli", "cli.md"), ("errors", "errors.md")] {
        let text = run.fine(&["docs", page]);
        let path = docs.join(file);
        if std::env::var_os("LOCKSTEP_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "docs/{file}");
    }
}
