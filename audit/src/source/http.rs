//! Files below an address.

use std::error::Error;
use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response, StatusCode};

use super::wait;
use crate::{Result, Stop};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A whole answer may take [`TIMEOUT`], and a second more for each so many bytes.
const BYTES_PER_S_MIN: u64 = 16 << 10;
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
        // Where it was is no part of a report, which is the same for everybody.
        let lacks = |cause: String| {
            Stop::incomplete(format!("{name}: {cause}"), format!("{HINT} (asked {url})"))
        };
        wait(async {
            let answer = send(self.client.get(&url)).await.map_err(lacks)?;
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
    // Who is asked answers: a redirect would lead to addresses that only this machine reaches.
    let builder = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    // CometBFT closes what was idle for 10 s, perhaps just when the next question comes.
    let builder = builder.pool_idle_timeout(Duration::from_secs(5));
    builder.build().map_err(|cause| Stop::incomplete(cause.to_string(), HINT))
}

/// Asks, and waits for the head of the answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, String> {
    let answer = tokio::time::timeout(TIMEOUT * 2, request.send()).await;
    answer.map_err(|_| "no answer in time".to_owned())?.map_err(|cause| innermost(&cause))
}

/// Reads a body of bounded length, and not slower than anyone serves files.
pub(super) async fn body(answer: Response, bytes_max: usize) -> Result<Vec<u8>, String> {
    read(answer, bytes_max, TIMEOUT).await
}

async fn read(mut answer: Response, bytes_max: usize, within: Duration) -> Result<Vec<u8>, String> {
    let start = Instant::now();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|cause| innermost(&cause))? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(format!("an answer over {bytes_max} bytes"));
        }
        bytes.extend_from_slice(&chunk);
        if start.elapsed() > within + Duration::from_secs(bytes.len() as u64 / BYTES_PER_S_MIN) {
            return Err(format!("an answer of {} bytes in {within:?}: too slow", bytes.len()));
        }
    }
    Ok(bytes)
}

/// The outermost error only says that sending failed; the innermost says why.
fn innermost(cause: &dyn Error) -> String {
    let mut words = cause.to_string();
    let mut inner = cause.source();
    while let Some(error) = inner {
        words = error.to_string();
        inner = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::testing::{answer, serve};

    #[test]
    fn an_answer_that_drips_is_not_waited_for() {
        let url = serve(|_, _, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let start = Instant::now();
        let got = wait(async {
            let answer = send(client(&url).unwrap().get(&url)).await?;
            read(answer, 1_000, Duration::from_millis(200)).await
        });
        let cause = got.unwrap().unwrap_err();
        assert!(cause.contains("too slow"), "{cause}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn nobody_is_led_to_another_address_and_no_answer_is_too_long() {
        let url = serve(|path, _, stream| match path {
            "/moved" => {
                let head = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(head).unwrap();
            }
            _ => answer(stream, "200 OK", b"12345"),
        });
        let http = Http::new(&url).unwrap();
        assert_eq!(http.get("there", 5).unwrap().unwrap(), b"12345");
        let stop = http.get("there", 4).unwrap_err();
        assert!(stop.to_string().contains("an answer over 4 bytes"), "{stop}");
        let Stop::Incomplete { what, hint } = http.get("moved", 5).unwrap_err() else {
            panic!("not incomplete")
        };
        // What is written into reports does not name the place.
        assert!(what.contains("302") && !what.contains("127.0.0.1"), "{what}");
        assert!(hint.contains(&url), "{hint}");
    }
}
