//! A server of HTTP that answers by a script, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct ScriptedRequest {
    pub method: String,
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum ScriptedAnswer {
    /// A status, headers, a body.
    Says(u16, Vec<(&'static str, String)>, String),
    /// Nothing, and the connection is closed.
    Hangs,
    /// Nothing for as long as the server lives.
    Sleeps,
}

impl ScriptedAnswer {
    pub fn status(status: u16) -> Self {
        Self::Says(status, Vec::new(), String::new())
    }
}

type Script = dyn FnMut(&ScriptedRequest) -> ScriptedAnswer + Send;

pub struct ScriptedServer {
    port: u16,
    seen: Arc<Mutex<Vec<ScriptedRequest>>>,
    ended: Arc<AtomicBool>,
}

impl ScriptedServer {
    /// Starts on a port of its own.
    pub fn start(script: impl FnMut(&ScriptedRequest) -> ScriptedAnswer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let (all_seen, has_ended) = (Arc::clone(&seen), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if has_ended.load(Ordering::Relaxed) {
                    break;
                }
                let (seen, script) = (Arc::clone(&all_seen), Arc::clone(&script));
                thread::spawn(move || serve(stream.unwrap(), &seen, &script));
            }
        });
        Self { port, seen, ended }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<ScriptedRequest> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers what comes over a connection until it ends.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<ScriptedRequest>>, script: &Mutex<Box<Script>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = receive(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let answer = (script.lock().unwrap())(&request);
        match answer {
            ScriptedAnswer::Hangs => return,
            ScriptedAnswer::Sleeps => loop {
                thread::park();
            },
            ScriptedAnswer::Says(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                head += &format!("content-length: {}\r\n\r\n", body.len());
                if stream.write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<ScriptedRequest> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(ScriptedRequest { method, path, headers, body })
}
