//! Fetches a job's receipt: a file that proves, offline, what it gave and who was paid.

use lockstep_audit::receipt::{self, Proved, Receipt};
use lockstep_proto::lockstep::chain::v1::QueryParamsRequest;
use lockstep_proto::lockstep::job::v1::{Job, QueryJobRequest};
use lockstep_proto::lockstep::model::v1::QueryVersionRequest;
use prost::Message;

use crate::proof::light_block;
use crate::rpc::{Answer, Client};
use crate::{Error, Result};

/// The receipt of a job as it stands now, checked but for who the validators are.
///
/// # Errors
/// [`Error::Rejected`] where there is no such job; [`Error::Protocol`] where what the node gives does
/// not hold.
pub async fn fetch(client: &Client, id: u64) -> Result<Receipt> {
    let path = "/lockstep.job.v1.Query/Job";
    let job = client.query(path, &QueryJobRequest { id }.encode_to_vec(), None, true).await?;
    let height = Some(job.height);
    let version = Job::decode(job.value.as_slice())
        .map_err(|cause| Error::protocol(client.url(), format!("{path}: {cause}")))?
        .version;
    let path = "/lockstep.model.v1.Query/Version";
    let request = QueryVersionRequest { id: version, ..QueryVersionRequest::default() };
    let version = client.query(path, &request.encode_to_vec(), height, true).await?;
    let path = "/lockstep.chain.v1.Query/Params";
    let request = QueryParamsRequest {}.encode_to_vec();
    let params = client.query(path, &request, height, true).await?;
    let block = light_block(client, job.height + 1).await?;
    let proved = |it: Answer| Proved { key: it.key, value: it.value, proof: it.proof };
    let receipt = Receipt::new(id, block, [job, version, params].map(proved).into());
    receipt::check(receipt.encode().as_bytes(), &lockstep_audit::light::Anchor::default())
        .map_err(|stop| Error::protocol(client.url(), stop.to_string()))?;
    Ok(receipt)
}
