//! Files below an address.

use std::error::Error;
use std::time::Duration;

use reqwest::{Response, StatusCode};

use super::wait;
use crate::{Result, Stop};

const TIMEOUT: Duration = Duration::from_secs(30);
const HINT: &str = "an address like http://archive.example:8080/net";

/// Files below an address.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    url: String,
}

impl Http {
    /// Files below `url`.
    ///
    /// # Errors
    /// Where the address is malformed, or is https in a build without the feature `tls`.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { client: client(url)?, url: url.trim_end_matches('/').to_owned() })
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A file; none where the server has none of that name.
    ///
    /// # Errors
    /// Where there is no answer, or the file is longer than `bytes_max`.
    pub fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let url = format!("{}/{name}", self.url);
        let lacks = |cause: String| Stop::incomplete(format!("{url}: {cause}"), HINT);
        wait(async {
            let answer = self.client.get(&url).send().await;
            let answer = answer.map_err(|cause| lacks(innermost(&cause)))?;
            match answer.status() {
                StatusCode::OK => body(answer, bytes_max).await.map(Some).map_err(lacks),
                // What a CometBFT says of a path that it does not know.
                StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR => Ok(None),
                other => Err(lacks(other.to_string())),
            }
        })?
    }
}

/// A client for `url`.
pub(super) fn client(url: &str) -> Result<reqwest::Client> {
    let parsed = reqwest::Url::parse(url);
    let known = parsed.is_ok_and(|url| match url.scheme() {
        "http" => true,
        "https" => cfg!(feature = "tls"),
        _ => false,
    });
    if !known {
        let what = format!("`{url}` is no address that this program can ask");
        return Err(Stop::usage(what, "http://HOST:PORT; https needs a build with `tls`"));
    }
    let builder = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
    builder.build().map_err(|cause| Stop::incomplete(cause.to_string(), HINT))
}

/// Reads a body of bounded length.
pub(super) async fn body(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|cause| innermost(&cause))? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(format!("an answer over {bytes_max} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The outermost error only says that sending failed; the innermost says why.
pub(super) fn innermost(cause: &dyn Error) -> String {
    let mut words = cause.to_string();
    let mut inner = cause.source();
    while let Some(error) = inner {
        words = error.to_string();
        inner = error.source();
    }
    words
}
