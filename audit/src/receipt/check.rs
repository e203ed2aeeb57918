//! Checks a receipt, from its bytes up.

use lockstep_chain::commitment;
use lockstep_chain::tree::verify_ics23;
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::result::input_root;

use super::{BYTES_MAX, FORMAT, Receipt};
use crate::amounts::{Settled, is_terminal, payouts};
use crate::light::{Anchor, Signed};
use crate::report::Difference;
use crate::{Result, Stop};

/// What a receipt that was checked says.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The header that everything is proved under.
    pub signed: Signed,
    /// Its validators are those of the network.
    pub anchored: bool,
    /// The job.
    pub job: Job,
    /// The version that ran.
    pub version: Version,
    /// The rules.
    pub params: Params,
}

/// Checks everything that follows from a receipt and the anchor.
///
/// # Errors
/// [`Stop::Difference`] with the first thing that is wrong.
pub fn check(bytes: &[u8], anchor: &Anchor) -> Result<Checked> {
    let receipt = decode(bytes)?;
    let signed = receipt.block.verify()?;
    anchor.same_network(&signed)?;
    proved(&receipt, &signed)?;
    let wrong = |what: &str| Difference::new(what, "a message of the state", "something else");
    let job: Job = receipt.value(0).ok_or_else(|| wrong("job"))?;
    let version: Version = receipt.value(1).ok_or_else(|| wrong("version"))?;
    let params: Params = receipt.value(2).ok_or_else(|| wrong("params"))?;
    result(&job, &version)?;
    amounts(&job, &version, &params)?;
    let anchored = anchor.holds(&signed);
    Ok(Checked { signed, anchored, job, version, params })
}

fn decode(bytes: &[u8]) -> Result<Receipt> {
    if bytes.len() > BYTES_MAX {
        let what = format!("at most {BYTES_MAX} bytes");
        return Err(Difference::new("the file", what, bytes.len()).into());
    }
    let receipt: Receipt = serde_json::from_slice(bytes).map_err(|cause| {
        Difference::new("the file", "a receipt", cause.to_string())
            .note("`lockstep job receipt` writes one")
    })?;
    if receipt.format != FORMAT {
        return Err(Difference::new("format", FORMAT, receipt.format).into());
    }
    if receipt.encode().as_bytes() != bytes {
        let note = "spaces, the order of fields and the case of letters count, too";
        let found = "another encoding of the same receipt";
        return Err(Difference::new("the file", "as it was written", found).note(note).into());
    }
    Ok(receipt)
}

/// Checks the proofs of job, version and parameters.
fn proved(receipt: &Receipt, signed: &Signed) -> Result<()> {
    let job = receipt.value::<Job>(0).unwrap_or_default();
    if job.id != receipt.job {
        return Err(Difference::new("the job's number", receipt.job, job.id).into());
    }
    let keys = super::keys(&job);
    if receipt.state.len() != keys.len() {
        let found = receipt.state.len();
        return Err(Difference::new("state", "job, version and params", found).into());
    }
    for ((name, key), proved) in ["job", "version", "params"].iter().zip(keys).zip(&receipt.state) {
        let differs = |must: String, is: String| {
            let mut found = Difference::new(format!("the proof of {name}"), must, is);
            found.height = Some(signed.height);
            found.key = Some((*name).to_owned());
            Stop::from(found)
        };
        if proved.key != key {
            return Err(differs(hex::encode(key), hex::encode(&proved.key)));
        }
        verify_ics23(&proved.proof, &signed.app_hash, &key, Some(&proved.value)).map_err(
            |cause| {
                differs(format!("one under {}", hex::encode(signed.app_hash)), cause.to_string())
            },
        )?;
    }
    Ok(())
}

/// The output that was delivered is the one that the result root binds to version and input.
fn result(job: &Job, version: &Version) -> Result<()> {
    if job.version != version.id {
        return Err(Difference::new("the job's version", job.version, version.id).into());
    }
    if !job.input.is_empty() && job.input_root != input_root(&job.input) {
        let (must, is) = (hex::encode(&job.input_root), hex::encode(input_root(&job.input)));
        return Err(Difference::new("the input's root", must, is).into());
    }
    if job.delivered_height == 0 {
        return match job.state() {
            JobState::Final => Err(Difference::new("the output", "delivered", "not there").into()),
            _ => Ok(()),
        };
    }
    // The input's bytes need not be there: its root is in the job.
    let (status, output) = (job.status(), job.output.as_slice());
    let Some(output_root) = commitment::output_root(version, status, output) else {
        let must = format!("{} values after HALTED, none after FAULT", version.output_values);
        return Err(Difference::new("the output", must, hex::encode(output)).into());
    };
    if job.output_root != output_root {
        let (must, is) = (hex::encode(output_root), hex::encode(&job.output_root));
        return Err(Difference::new("the output's root", must, is).into());
    }
    let root = commitment::result_root(version, job, status, &output_root);
    let root = root.map_err(|_| Difference::new("a root", "32 bytes", "another length"))?;
    if root.as_slice() != job.result_root {
        let (must, is) = (hex::encode(root), hex::encode(&job.result_root));
        return Err(Difference::new("the result's root", must, is).into());
    }
    Ok(())
}

/// What was paid is what the rules give, and adds up to what was held.
fn amounts(job: &Job, version: &Version, params: &Params) -> Result<()> {
    let expected = Settled::from(job).payouts(&version.recipients, params);
    if job.payouts != expected {
        let (must, is) = (payouts(&expected), payouts(&job.payouts));
        return Err(Difference::new("the payouts", must, is).into());
    }
    if is_terminal(job.state()) {
        let sum = |amounts: &mut dyn Iterator<Item = u64>| amounts.map(u128::from).sum::<u128>();
        let held = sum(&mut [job.fee, job.deposit, job.posting_charge].into_iter());
        let paid = sum(&mut job.payouts.iter().map(|payout| payout.amount));
        if held != paid {
            let (held, paid) = (held.to_string(), paid.to_string());
            return Err(Difference::new("the sum of the payouts", held, paid).into());
        }
    }
    Ok(())
}
