//! One HTTP request at a time, by hand.

pub mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// No answer of a healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends requests, with a token once it has one.
#[derive(Clone)]
pub struct Http {
    pub address: SocketAddr,
    pub token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(&self.body).chars().take(1_000).collect::<String>();
            panic!("{error}: {} {text}", self.status)
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The value of a header, if it came.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// Status and number of the error.
    pub fn error(&self) -> (u16, u64) {
        (self.status, self.json()["id"].as_u64().unwrap())
    }
}

impl Http {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// The same, logged in.
    pub fn login(&self, username: &str, password: &str) -> Self {
        let body = json!({"username": username, "password": password});
        let answer = self.post("/users/login", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.with(answer.json()["access_token"]["token"].as_str().unwrap())
    }

    /// The same with another token.
    pub fn with(&self, token: &str) -> Self {
        Self { address: self.address, token: Some(token.to_owned()) }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, Some(body))
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string);
        let json: &[&str] = if body.is_some() { &["content-type: application/json"] } else { &[] };
        self.raw(method, path, json, body.unwrap_or_default().as_bytes())
    }

    /// A request with these header lines; the bearer token, host and length are added.
    pub fn raw(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        if let Some(token) = &self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for line in headers {
            head.push_str(&format!("{line}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A body that is refused may not be read to its end.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        answer(&mut stream)
    }
}

/// Reads a body in chunks, of which some is here.
fn chunks(mut here: Vec<u8>, stream: &mut TcpStream) -> Vec<u8> {
    let (mut body, mut at) = (Vec::new(), 0);
    let mut more = |here: &mut Vec<u8>, upto: usize| {
        let mut chunk = [0; 64 << 10];
        while here.len() < upto {
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0, "the answer is cut off");
            here.extend_from_slice(&chunk[..read]);
        }
    };
    loop {
        let end = loop {
            if let Some(end) = here[at..].windows(2).position(|two| two == b"\r\n") {
                break at + end;
            }
            let upto = here.len() + 1;
            more(&mut here, upto);
        };
        let len = usize::from_str_radix(std::str::from_utf8(&here[at..end]).unwrap(), 16).unwrap();
        let start = end + 2;
        more(&mut here, start + len + 2);
        if len == 0 {
            return body;
        }
        body.extend_from_slice(&here[start..start + len]);
        here.drain(..start + len + 2);
        at = 0;
    }
}

/// Reads an answer to its end.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut chunk = [0; 64 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            let mut answer = Answer { status, head, body: bytes[end + 4..].to_vec() };
            if answer.header("transfer-encoding").as_deref() == Some("chunked") {
                answer.body = chunks(std::mem::take(&mut answer.body), stream);
                return answer;
            }
            let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
            while answer.body.len() < length {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "the answer is cut off");
                answer.body.extend_from_slice(&chunk[..read]);
            }
            return answer;
        }
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "no answer");
        bytes.extend_from_slice(&chunk[..read]);
    }
}
