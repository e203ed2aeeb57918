//! Servers for tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

/// Serves on a port of its own, as long as the test runs: `answer` gets the path and the body of
/// each request, and writes what it likes.
pub(crate) fn serve(
    answer: impl Fn(&str, &[u8], &mut TcpStream) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = std::sync::Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut path, mut length) = (String::new(), 0);
                for line in reader.by_ref().lines() {
                    let line = line.unwrap().to_lowercase();
                    match line.split_once(' ') {
                        Some(("content-length:", value)) => length = value.parse().unwrap(),
                        Some((_, rest)) if path.is_empty() => {
                            path = rest.split(' ').next().unwrap().to_owned();
                        }
                        _ if line.is_empty() => break,
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                answer(&path, &body, &mut stream);
            });
        }
    });
    url
}

/// Writes a whole answer.
pub(crate) fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // The other end may have heard enough.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Serves JSON-RPC: `result` gets the method and its parameters.
pub(crate) fn rpc(result: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> String {
    serve(move |_, body, stream| {
        let call: Value = serde_json::from_slice(body).unwrap();
        let result = result(call["method"].as_str().unwrap(), &call["params"]);
        let reply = json!({ "jsonrpc": "2.0", "id": 1, "result": result });
        answer(stream, "200 OK", reply.to_string().as_bytes());
    })
}
