//! Serves any ABCI 2.0 application to CometBFT: a unix socket that only this user can open, or TCP.
//!
//! The wire is varint-length-delimited protobuf, answered in order, answers held back until `Flush`.
//! Whatever goes wrong ends the service for good: an application that lost a call must not answer
//! the next one.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use prost::Message as _;
use tendermint_abci::Application;
use tendermint_proto::v0_38::abci::{Request, Response, request, response};

/// Bytes of a request at most. The largest is `InitChain`, which carries the genesis state; a block
/// is at most 4 MiB.
pub const FRAME_BYTES_MAX: u64 = 32 << 20;

/// Bytes of a path to a unix socket, without its final zero, on Linux.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

const BUFFER_BYTES: usize = 256 << 10;

/// Memory is reserved for what has arrived, not for what was announced.
const RESERVED_BYTES_MAX: u64 = 64 << 10;

/// Why an ABCI connection ended.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The peer closed the connection between two requests.
    #[error("CometBFT closed an ABCI connection")]
    Closed,
    /// The connection broke.
    #[error("an ABCI connection broke: {0}")]
    Io(#[from] io::Error),
    /// A frame that is longer than any request.
    #[error(
        "an ABCI frame announces {announced} bytes, at most {FRAME_BYTES_MAX} are accepted\n\
         hint: only CometBFT may speak to this socket"
    )]
    TooLarge {
        /// What the length prefix says.
        announced: u64,
    },
    /// A length prefix of more than ten bytes or 64 bits.
    #[error(
        "an ABCI frame does not begin with a length\nhint: only CometBFT may speak to this socket"
    )]
    BadLength,
    /// Bytes that are no request.
    #[error(
        "an ABCI frame of {bytes} bytes is no request: {reason}\n\
         hint: this node needs CometBFT v0.38"
    )]
    NoRequest {
        /// Length of the frame.
        bytes: usize,
        /// What the decoder says.
        reason: String,
    },
    /// The application panicked.
    #[error("the application panicked in {call}: {message}\nhint: this is a bug; report it")]
    Panicked {
        /// The ABCI method.
        call: &'static str,
        /// The panic's message.
        message: String,
    },
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A bound server, which does not answer yet.
pub struct Server<A> {
    listener: Listener,
    app: A,
}

impl<A> std::fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl<A: Application> Server<A> {
    /// Binds a unix socket of mode 0600; what lay at the path before is replaced. The caller holds
    /// the lock of the data folder, so that nobody else serves there.
    ///
    /// # Errors
    /// Where the path is too long or cannot be bound.
    pub fn bind_unix(path: &Path, app: A) -> io::Result<Self> {
        Ok(Self { listener: Listener::Unix(bind_private(path)?), app })
    }

    /// Binds a TCP port, without Nagle's delay on its connections.
    ///
    /// # Errors
    /// Where the address cannot be bound.
    pub fn bind_tcp(address: SocketAddr, app: A) -> io::Result<Self> {
        Ok(Self { listener: Listener::Tcp(TcpListener::bind(address)?), app })
    }

    /// The TCP address; none for a unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Unix(_) => None,
            Listener::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Answers on one thread for each connection, for ever. `ended` hears why a connection ended;
    /// in a node it ends the process.
    ///
    /// # Errors
    /// Where the socket cannot accept any more.
    pub fn serve(
        self,
        ended: impl Fn(TransportError) + Send + Sync + 'static,
    ) -> io::Result<std::convert::Infallible> {
        let ended = Arc::new(ended);
        loop {
            let (reader, writer): (Box<dyn io::Read + Send>, Box<dyn Write + Send>) =
                match &self.listener {
                    Listener::Unix(listener) => {
                        let stream = listener.accept()?.0;
                        (Box::new(stream.try_clone()?), Box::new(stream))
                    }
                    Listener::Tcp(listener) => {
                        let stream = listener.accept()?.0;
                        stream.set_nodelay(true)?;
                        (Box::new(stream.try_clone()?), Box::new(stream))
                    }
                };
            let (app, ended) = (self.app.clone(), Arc::clone(&ended));
            thread::Builder::new()
                .name("abci".to_owned())
                .spawn(move || ended(answer_all(reader, writer, &app)))?;
        }
    }
}

/// A unix socket that only this user can open, from its first moment on.
///
/// # Errors
/// Where the path cannot be bound.
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    // Bound under another name, so that nobody connects before the mode is set.
    let mut hidden = path.as_os_str().to_owned();
    hidden.push("~");
    let hidden = PathBuf::from(hidden);
    let _ = fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
    fs::rename(&hidden, path)?;
    Ok(listener)
}

/// Answers requests until something ends it.
fn answer_all<A: Application>(
    reader: impl io::Read,
    writer: impl Write,
    app: &A,
) -> TransportError {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
    let mut frame = Vec::new();
    let mut out = Vec::new();
    loop {
        if let Err(error) = answer_one(&mut reader, &mut writer, app, &mut frame, &mut out) {
            return error;
        }
        // A large block must not stay reserved on every connection.
        if frame.capacity() > BUFFER_BYTES {
            frame = Vec::new();
        }
        if out.capacity() > BUFFER_BYTES {
            out = Vec::new();
        }
    }
}

fn answer_one<A: Application>(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    app: &A,
    frame: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), TransportError> {
    read_frame(reader, frame)?;
    let no_request = |reason: String| TransportError::NoRequest { bytes: frame.len(), reason };
    let request = Request::decode(frame.as_slice()).map_err(|e| no_request(e.to_string()))?;
    let value = request.value.ok_or_else(|| no_request("it asks nothing".to_owned()))?;
    let flush = matches!(value, request::Value::Flush(_));
    let call = name(&value);
    let answer = catch_unwind(AssertUnwindSafe(|| dispatch(app, value)))
        .map_err(|panic| TransportError::Panicked { call, message: words(panic.as_ref()) })?;
    out.clear();
    let response = Response { value: Some(answer) };
    response.encode_length_delimited(out).map_err(|e| io::Error::other(e.to_string()))?;
    writer.write_all(out)?;
    if flush {
        writer.flush()?;
    }
    Ok(())
}

fn read_frame(reader: &mut impl BufRead, frame: &mut Vec<u8>) -> Result<(), TransportError> {
    let announced = read_length(reader)?;
    if announced > FRAME_BYTES_MAX {
        return Err(TransportError::TooLarge { announced });
    }
    frame.clear();
    let reserve = announced.min(RESERVED_BYTES_MAX);
    frame.reserve(usize::try_from(reserve).unwrap_or_default());
    let read = reader.take(announced).read_to_end(frame)?;
    if u64::try_from(read).unwrap_or(u64::MAX) < announced {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn read_length(reader: &mut impl BufRead) -> Result<u64, TransportError> {
    let mut length = 0_u64;
    for index in 0..10_u32 {
        let mut byte = [0];
        match reader.read_exact(&mut byte) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && index == 0 => {
                return Err(TransportError::Closed);
            }
            Err(error) => return Err(error.into()),
        }
        let bits = u64::from(byte[0] & 0x7f);
        if index == 9 && bits > 1 {
            return Err(TransportError::BadLength);
        }
        length |= bits << (7 * index);
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(TransportError::BadLength)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}

fn dispatch<A: Application>(app: &A, ask: request::Value) -> response::Value {
    use request::Value as Ask;
    use response::Value as Answer;
    match ask {
        Ask::Echo(r) => Answer::Echo(app.echo(r)),
        Ask::Flush(_) => Answer::Flush(app.flush()),
        Ask::Info(r) => Answer::Info(app.info(r)),
        Ask::InitChain(r) => Answer::InitChain(app.init_chain(r)),
        Ask::Query(r) => Answer::Query(app.query(r)),
        Ask::CheckTx(r) => Answer::CheckTx(app.check_tx(r)),
        Ask::Commit(_) => Answer::Commit(app.commit()),
        Ask::ListSnapshots(_) => Answer::ListSnapshots(app.list_snapshots()),
        Ask::OfferSnapshot(r) => Answer::OfferSnapshot(app.offer_snapshot(r)),
        Ask::LoadSnapshotChunk(r) => Answer::LoadSnapshotChunk(app.load_snapshot_chunk(r)),
        Ask::ApplySnapshotChunk(r) => Answer::ApplySnapshotChunk(app.apply_snapshot_chunk(r)),
        Ask::PrepareProposal(r) => Answer::PrepareProposal(app.prepare_proposal(r)),
        Ask::ProcessProposal(r) => Answer::ProcessProposal(app.process_proposal(r)),
        Ask::ExtendVote(r) => Answer::ExtendVote(app.extend_vote(r)),
        Ask::VerifyVoteExtension(r) => Answer::VerifyVoteExtension(app.verify_vote_extension(r)),
        Ask::FinalizeBlock(r) => Answer::FinalizeBlock(app.finalize_block(r)),
    }
}

fn name(ask: &request::Value) -> &'static str {
    use request::Value as Ask;
    match ask {
        Ask::Echo(_) => "Echo",
        Ask::Flush(_) => "Flush",
        Ask::Info(_) => "Info",
        Ask::InitChain(_) => "InitChain",
        Ask::Query(_) => "Query",
        Ask::CheckTx(_) => "CheckTx",
        Ask::Commit(_) => "Commit",
        Ask::ListSnapshots(_) => "ListSnapshots",
        Ask::OfferSnapshot(_) => "OfferSnapshot",
        Ask::LoadSnapshotChunk(_) => "LoadSnapshotChunk",
        Ask::ApplySnapshotChunk(_) => "ApplySnapshotChunk",
        Ask::PrepareProposal(_) => "PrepareProposal",
        Ask::ProcessProposal(_) => "ProcessProposal",
        Ask::ExtendVote(_) => "ExtendVote",
        Ask::VerifyVoteExtension(_) => "VerifyVoteExtension",
        Ask::FinalizeBlock(_) => "FinalizeBlock",
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
