//! Models, their versions, who holds them and whom they pay.

pub mod artefact;
pub mod lineage;
pub mod possession;

use alloc::string::String;

use lockstep_proto::lockstep::model::v1::{Alias, AliasChange, Model, Version};

use crate::context::Context;
use crate::error::{BAD_FIELD, NO_SUCH_MODEL, Reject, TxError};
use crate::limits::{ALIAS_HISTORY_MAX, NAME_BYTES_MAX};
use crate::state::StateRead;
use crate::state::tables::{ALIASES, Hash, MODEL_NAMES, MODELS, VERSION_NUMBERS, VERSIONS};

/// The alias that a bare name stands for. Publishing points it at the new version.
pub const LATEST: &str = "latest";

/// The table key of a name.
#[must_use]
pub fn name_key(name: &str) -> Hash {
    lockstep_vm::hash::hash("lockstep/name/v1", &[name.as_bytes()])
}

/// Names of models and aliases: 3 to 64 lower-case letters, digits, `-`, `.`, letter first.
///
/// # Errors
/// [`BAD_FIELD`].
pub fn check_name(name: &str) -> Result<(), Reject> {
    let letters = |byte: u8| byte.is_ascii_lowercase();
    let allowed = |byte: u8| letters(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let length = name.len();
    let fine = (3..=NAME_BYTES_MAX).contains(&length)
        && name.bytes().next().is_some_and(letters)
        && name.bytes().all(allowed);
    if fine { Ok(()) } else { Err(BAD_FIELD) }
}

/// The model of a name.
///
/// # Errors
/// [`NO_SUCH_MODEL`].
pub fn by_name(state: &dyn StateRead, name: &str) -> Result<Model, TxError> {
    let id = MODEL_NAMES.get(state, &name_key(name))?.ok_or(NO_SUCH_MODEL)?;
    Ok(MODELS.must(state, &id)?)
}

/// The version that `name`, `name:alias` or `name:number` stands for now.
///
/// # Errors
/// [`NO_SUCH_MODEL`].
pub fn resolve(state: &dyn StateRead, text: &str) -> Result<Version, TxError> {
    let (name, which) = text.split_once(':').unwrap_or((text, LATEST));
    let model = by_name(state, name)?;
    let version = match which.parse::<u32>() {
        Ok(number) => VERSION_NUMBERS.get(state, &(model.id, number))?,
        Err(_) => ALIASES.get(state, &(model.id, name_key(which)))?.map(|alias| alias.version),
    };
    let version = version.ok_or(NO_SUCH_MODEL)?;
    Ok(VERSIONS.must(state, &version)?)
}

/// Moves an alias and remembers where it pointed.
pub fn point(ctx: &mut Context<'_, '_>, key: &(u64, Hash), mut alias: Alias, version: u64) {
    if alias.version != 0 {
        alias.history.push(AliasChange { height: ctx.tip.height, version: alias.version });
        if alias.history.len() > ALIAS_HISTORY_MAX {
            alias.history.remove(0);
        }
    }
    alias.version = version;
    ALIASES.put(ctx.state, key, &alias);
}

/// `name:number`, for people.
///
/// # Errors
/// Only a failing store.
pub fn label(state: &dyn StateRead, version: &Version) -> Result<String, crate::error::Fault> {
    let model = MODELS.must(state, &version.model)?;
    Ok(alloc::format!("{}:{}", model.name, version.number))
}
