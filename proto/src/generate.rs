//! Regenerates `src/generated` from the `.proto` files: `cargo run -p lockstep-proto --release --features generate`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost_build::Config;

/// Bytes fields that hold the 20 bytes of an account address; JSON shows them as bech32.
const ACCOUNTS: [&str; 9] = [
    "poster",
    "owner",
    "delegator",
    "account",
    "treasury",
    "executor",
    "payer",
    "challenger",
    "author",
];
/// Bytes fields that hold the 20 bytes of an operator address.
const OPERATORS: [&str; 2] = ["operator", "validator"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for package in ["cosmos", "lockstep"] {
        collect(&root.join(package), &mut files)?;
    }
    files.sort();
    let descriptors = protox::compile(&files, [root])?;

    let mut config = Config::new();
    config.out_dir(root.join("src/generated")).include_file("mod.rs");
    config.enable_type_names();
    config.type_name_domain(["."], "");
    config.type_attribute(".lockstep", "#[derive(serde::Serialize, serde::Deserialize)]");
    config.message_attribute(".lockstep", "#[serde(default, deny_unknown_fields)]");
    for file in &descriptors.file {
        if !file.package().starts_with("lockstep") {
            continue;
        }
        for message in &file.message_type {
            let of = format!(".{}.{}", file.package(), message.name());
            for field in &message.field {
                if field.r#type() == prost_types::field_descriptor_proto::Type::Bytes {
                    config.field_attribute(format!("{of}.{}", field.name()), json_of(field));
                }
            }
        }
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

/// How JSON shows a bytes field.
fn json_of(field: &prost_types::FieldDescriptorProto) -> &'static str {
    use prost_types::field_descriptor_proto::Label;
    match (field.label() == Label::Repeated, field.name()) {
        (true, "holders" | "accused") => "#[serde(with = \"crate::json::operators\")]",
        (true, _) => "#[serde(with = \"crate::json::hex_list\")]",
        (false, name) if ACCOUNTS.contains(&name) => "#[serde(with = \"crate::json::account\")]",
        (false, name) if OPERATORS.contains(&name) => "#[serde(with = \"crate::json::operator\")]",
        (false, _) => "#[serde(with = \"crate::json::hex\")]",
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
