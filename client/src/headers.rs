//! Headers and who signed them, as a light client needs them.

use lockstep_audit::go_json;
use lockstep_audit::light::{LightBlock, Validator};
use serde::Deserialize;
use serde_json::json;
use tendermint_proto::v0_38::types::{Header, SignedHeader};

use crate::rpc::Client;
use crate::{Error, Result};

/// Validators of a block at most: what CometBFT allows votes for. A node may say anything.
const VALIDATORS_MAX: usize = 10_000;

impl Client {
    /// The header of a block; none where there is no such block yet.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub async fn header(&self, height: u64) -> Result<Option<Header>> {
        Ok(self.signed_header(height).await?.and_then(|signed| signed.header))
    }

    /// The header of a block with the votes for it; none where there is no such block yet.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub async fn signed_header(&self, height: u64) -> Result<Option<SignedHeader>> {
        #[derive(Deserialize)]
        struct Raw {
            signed_header: SignedHeader,
        }
        let params = json!({ "height": height.to_string() });
        let raw: Raw = match self.call("commit", params).await {
            Ok(raw) => raw,
            Err(Error::Protocol { what, .. }) if what.contains("must be less than or equal") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let header = raw.signed_header.header.as_ref();
        if header.is_none_or(|header| u64::try_from(header.height) != Ok(height)) {
            return Err(self.wrong("a header of another height"));
        }
        Ok(Some(raw.signed_header))
    }

    /// What a light client needs of a block; none where there is no such block yet. Nothing of it is
    /// checked: see [`LightBlock::verify`].
    ///
    /// # Errors
    /// Where the node does not answer.
    pub async fn light_block(&self, height: u64) -> Result<Option<LightBlock>> {
        let Some(signed_header) = self.signed_header(height).await? else { return Ok(None) };
        let validators = self.validators(height).await?;
        Ok(Some(LightBlock { signed_header, validators }))
    }

    /// Who may sign a block, in CometBFT's order.
    async fn validators(&self, height: u64) -> Result<Vec<Validator>> {
        #[derive(Deserialize)]
        struct Page {
            validators: Vec<Raw>,
            #[serde(deserialize_with = "go_json::number")]
            total: u64,
        }
        #[derive(Deserialize)]
        struct Raw {
            pub_key: Key,
            #[serde(deserialize_with = "go_json::number")]
            voting_power: u64,
        }
        #[derive(Deserialize)]
        struct Key {
            #[serde(deserialize_with = "go_json::bytes")]
            value: Vec<u8>,
        }
        let mut all: Vec<Validator> = Vec::new();
        for page in 1_u32.. {
            let (height, page) = (height.to_string(), page.to_string());
            let params = json!({ "height": height, "page": page, "per_page": "100" });
            let Page { validators, total } = self.call("validators", params).await?;
            let none = validators.is_empty();
            for raw in validators {
                let key = raw.pub_key.value.try_into();
                let public_key = key.map_err(|_| self.wrong("a key of other than 32 bytes"))?;
                all.push(Validator { public_key, power: raw.voting_power });
            }
            if all.len() > VALIDATORS_MAX {
                return Err(self.wrong(&format!("more than {VALIDATORS_MAX} validators")));
            }
            if none || u64::try_from(all.len()).is_ok_and(|known| known >= total) {
                break;
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Gives every question the same answer.
    async fn serve(listener: tokio::net::TcpListener, body: String) {
        while let Ok((mut socket, _)) = listener.accept().await {
            let body = body.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while socket.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    let answer = head + &body;
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_node_that_never_comes_to_an_end_of_its_validators_is_left() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let one = json!({ "pub_key": { "value": key }, "voting_power": "1" });
        let page = json!({ "validators": vec![one; 100], "total": u64::MAX.to_string() });
        tokio::spawn(serve(listener, json!({ "result": page }).to_string()));
        let asked = tokio::time::timeout(std::time::Duration::from_mins(1), client.validators(7));
        let error = asked.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("more than 10000 validators"), "{error}");
    }
}
