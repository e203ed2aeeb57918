use std::io::Cursor;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tendermint_proto::v0_38::abci::{
    RequestCheckTx, RequestEcho, RequestFlush, RequestInfo, RequestQuery, ResponseCheckTx,
    ResponseQuery,
};

use super::*;

/// Answers `CheckTx` with the length and panics on an empty query.
#[derive(Clone)]
struct Lengths;

impl Application for Lengths {
    fn check_tx(&self, request: RequestCheckTx) -> ResponseCheckTx {
        ResponseCheckTx { gas_used: i64::try_from(request.tx.len()).unwrap(), ..Default::default() }
    }

    fn query(&self, request: RequestQuery) -> ResponseQuery {
        assert!(!request.path.is_empty(), "a query without path");
        ResponseQuery::default()
    }
}

fn frame(value: request::Value) -> Vec<u8> {
    Request { value: Some(value) }.encode_length_delimited_to_vec()
}

fn flush() -> Vec<u8> {
    frame(request::Value::Flush(RequestFlush {}))
}

fn read_answer(reader: &mut impl BufRead) -> response::Value {
    let mut bytes = Vec::new();
    read_frame(reader, &mut bytes).unwrap();
    Response::decode(bytes.as_slice()).unwrap().value.unwrap()
}

fn run(bytes: &[u8]) -> (TransportError, Vec<u8>) {
    let mut out = Vec::new();
    let end = answer_all(Cursor::new(bytes), &mut out, &Lengths);
    (end, out)
}

#[test]
fn four_connections_are_answered_in_order_over_a_private_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abci.sock");
    let server = Server::bind_unix(&path, Lengths).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (ended, ends) = mpsc::channel();
    thread::spawn(move || server.serve(move |end| drop(ended.send(end))));

    let mut streams: Vec<_> = (0..4).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        for length in 0..100 {
            let tx = vec![7; index * 100 + length].into();
            let ask = RequestCheckTx { tx, ..Default::default() };
            stream.write_all(&frame(request::Value::CheckTx(ask))).unwrap();
        }
        stream.write_all(&flush()).unwrap();
    }
    for (index, stream) in streams.into_iter().enumerate() {
        let mut reader = BufReader::new(stream);
        for length in 0..100 {
            let response::Value::CheckTx(answer) = read_answer(&mut reader) else { panic!() };
            assert_eq!(answer.gas_used, i64::try_from(index * 100 + length).unwrap());
        }
        assert!(matches!(read_answer(&mut reader), response::Value::Flush(_)));
        drop(reader);
        let end = ends.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(matches!(end, TransportError::Closed), "{end}");
    }
}

#[test]
fn a_call_over_tcp_does_not_wait_for_nagle() {
    let server = Server::bind_tcp("127.0.0.1:0".parse().unwrap(), Lengths).unwrap();
    let address = server.tcp_address().unwrap();
    thread::spawn(move || server.serve(drop));
    time_round_trips(TcpStream::connect(address).unwrap(), Duration::from_millis(20));
}

/// The same application under the crate's own server, which speaks the same wire.
#[test]
fn the_application_also_runs_under_the_crates_own_server() {
    let server = tendermint_abci::ServerBuilder::default().bind("127.0.0.1:0", Lengths).unwrap();
    let address = server.local_addr();
    thread::spawn(move || server.listen().map_err(|error| error.to_string()));
    time_round_trips(TcpStream::connect(address).unwrap(), Duration::from_secs(1));
}

fn time_round_trips(stream: TcpStream, median_max: Duration) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut times = Vec::new();
    for index in 0..21_usize {
        let start = Instant::now();
        let echo = RequestEcho { message: index.to_string() };
        let bytes = [frame(request::Value::Echo(echo)), flush()].concat();
        writer.write_all(&bytes).unwrap();
        let response::Value::Echo(answer) = read_answer(&mut reader) else { panic!() };
        assert_eq!(answer.message, index.to_string());
        assert!(matches!(read_answer(&mut reader), response::Value::Flush(_)));
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[10] < median_max, "median {:?}", times[10]);
}

#[test]
fn answers_are_held_back_until_flush() {
    let info = frame(request::Value::Info(RequestInfo::default()));
    let (reader, mut far) = UnixStream::pair().unwrap();
    let writer = reader.try_clone().unwrap();
    thread::spawn(move || answer_all(reader, writer, &Lengths));
    far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    far.write_all(&info).unwrap();
    assert!(io::Read::read(&mut far, &mut [0; 8]).is_err(), "nothing before the flush");
    far.write_all(&flush()).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = BufReader::new(far);
    assert!(matches!(read_answer(&mut reader), response::Value::Info(_)));
    assert!(matches!(read_answer(&mut reader), response::Value::Flush(_)));
}

#[test]
fn a_panic_ends_the_connection_with_the_call_and_the_message() {
    let (end, _) = run(&frame(request::Value::Query(RequestQuery::default())));
    let words = end.to_string();
    assert!(words.contains("Query") && words.contains("a query without path"), "{words}");
}

#[test]
fn an_empty_request_and_long_or_endless_lengths_are_errors_that_cost_nothing() {
    assert!(matches!(run(&[0]).0, TransportError::NoRequest { bytes: 0, .. }));
    let mut huge = Vec::new();
    prost::encoding::encode_varint(1 << 60, &mut huge);
    assert!(matches!(run(&huge).0, TransportError::TooLarge { announced } if announced == 1 << 60));
    assert!(matches!(run(&[0xff; 32]).0, TransportError::BadLength));
    assert!(matches!(run(&[0x80]).0, TransportError::Io(_)));
    assert!(matches!(run(&[5, 1]).0, TransportError::Io(_)));
}

#[test]
fn an_announced_frame_reserves_only_what_arrives() {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(FRAME_BYTES_MAX, &mut bytes);
    bytes.extend_from_slice(&[1; 1000]);
    let mut frame = Vec::new();
    assert!(read_frame(&mut Cursor::new(&bytes), &mut frame).is_err());
    assert!(frame.capacity() <= 1 << 20, "{} bytes reserved", frame.capacity());
}

/// The memory that this process has, in bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn megabytes_of_junk_cost_less_than_64_mib() {
    let before = resident_bytes();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut runs = 0;
    for length in [1 << 10, 1 << 16, 1 << 20, 8 << 20, 31 << 20] {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(length, &mut bytes);
        for _ in 0..length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((seed >> 56) as u8);
        }
        let (end, _) = run(&bytes);
        assert!(matches!(end, TransportError::NoRequest { .. }), "{end}");
        runs += 1;
    }
    assert_eq!(runs, 5);
    // The junk itself is 31 MiB of this test's own memory.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < (64 + 32) << 20, "{grown} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn junk_ends_the_connection_and_never_hangs(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let start = Instant::now();
        let _ = run(&bytes);
        prop_assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_valid_request_with_changed_bytes_is_answered_or_refused(
        at in 0_usize..80, to in any::<u8>(), length in 0_usize..64,
    ) {
        let ask = RequestCheckTx { tx: vec![3; length].into(), ..Default::default() };
        let mut bytes = [frame(request::Value::CheckTx(ask)), flush()].concat();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = run(&bytes);
    }
}
