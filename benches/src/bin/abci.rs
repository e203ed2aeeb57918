//! One synchronous ABCI call (Echo, then Flush) through our transport on a unix socket and through
//! the server of the `tendermint-abci` crate, in turn. Prints one JSON line for each, and the ratio.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use lockstep_node::transport::Server;
use prost::Message as _;
use serde_json::json;
use tendermint_proto::v0_38::abci::{Request, RequestEcho, RequestFlush, request};

const CALLS: usize = 400;
const TURNS: usize = 5;

/// Answers Echo, as every application of the crate does.
#[derive(Clone)]
struct Echo;

impl tendermint_abci::Application for Echo {}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("abci.sock");
    let ours = Server::bind_unix(&path, Echo)?;
    thread::spawn(move || ours.serve(|_| ()));
    let crates = tendermint_abci::ServerBuilder::default().bind("127.0.0.1:0", Echo)?;
    let address = crates.local_addr();
    thread::spawn(move || crates.listen().map_err(|error| error.to_string()));

    let unix = UnixStream::connect(&path)?;
    let mut unix = (BufReader::new(unix.try_clone()?), unix);
    let tcp = TcpStream::connect(&address)?;
    let mut tcp = (BufReader::new(tcp.try_clone()?), tcp);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        own.extend(calls(&mut unix.0, &mut unix.1, CALLS)?);
        // Forty milliseconds each, where Nagle meets delayed acknowledgements.
        other.extend(calls(&mut tcp.0, &mut tcp.1, CALLS / 20)?);
    }
    let (own, other) = (median(own), median(other));
    let figure = "abci_call_p50_ms";
    println!("{}", json!({"figure": figure, "server": "lockstepd, unix socket", "median": own}));
    println!("{}", json!({"figure": figure, "server": "tendermint-abci, TCP", "median": other}));
    println!("{}", json!({"figure": "abci_call_times_faster", "median": other / own}));
    Ok(())
}

/// Milliseconds of each of `count` calls, one after the other.
fn calls(
    reader: &mut BufReader<impl Read>,
    writer: &mut impl Write,
    count: usize,
) -> anyhow::Result<Vec<f64>> {
    let frame = |value| Request { value: Some(value) }.encode_length_delimited_to_vec();
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        let echo = RequestEcho { message: "lockstep".into() };
        // In one write, as CometBFT's client does.
        let both =
            [frame(request::Value::Echo(echo)), frame(request::Value::Flush(RequestFlush {}))];
        writer.write_all(&both.concat())?;
        for _ in 0..2 {
            skip_frame(reader)?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Reads one answer; each is shorter than 128 bytes, so its length is one byte.
fn skip_frame(reader: &mut impl BufRead) -> anyhow::Result<()> {
    let mut length = [0];
    reader.read_exact(&mut length)?;
    anyhow::ensure!(length[0] < 128, "an answer longer than Echo's");
    let mut answer = vec![0; usize::from(length[0])];
    reader.read_exact(&mut answer)?;
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
