//! One connection of the small server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::frame::{RequestHeader, ResponseHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;

use super::world::Session;
use super::{Act, Shared};

type Frame = (u32, Vec<u8>);

pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let (reader, mut writer) = stream.into_split();
    let (sender, mut frames) = mpsc::unbounded_channel();
    // Requests are read while replies are held back: that is how a test sees pipelining.
    let reading = tokio::spawn(read(reader, sender, Arc::clone(&shared)));
    let mut session = Session::default();
    let mut flowing = shared.flowing.subscribe();
    while let Some((code, payload)) = frames.recv().await {
        flowing.wait_for(|flowing| *flowing).await.unwrap();
        let Some(reply) = decide(&shared, &mut session, code, payload).await else { break };
        let written = match reply {
            Reply::Whole(bytes) => writer.write_all(&bytes).await,
            Reply::Dribbled(bytes) => {
                let mut written = Ok(());
                for byte in bytes {
                    written = writer.write_all(&[byte]).await;
                    tokio::task::yield_now().await;
                }
                written
            }
            Reply::Last(bytes) => {
                let _ = writer.write_all(&bytes).await;
                break;
            }
        };
        if written.is_err() {
            break;
        }
    }
    reading.abort();
}

enum Reply {
    Whole(Vec<u8>),
    Dribbled(Vec<u8>),
    Last(Vec<u8>),
}

async fn decide(
    shared: &Shared,
    session: &mut Session,
    code: u32,
    payload: Vec<u8>,
) -> Option<Reply> {
    let command = CommandCode::from_u32(code);
    let act = match command {
        None | Some(CommandCode::Ping) => Act::Answer,
        Some(command) => {
            let number = {
                let mut world = shared.world.lock();
                world.log.push(command);
                world.log.len() - 1
            };
            (shared.hook.lock())(number, command)
        }
    };
    let run = |session: &mut Session| {
        let answer = shared.world.lock().carry_out(session, code, payload.clone());
        match answer {
            Ok(payload) => ok(&payload),
            Err(code) => ResponseHeader::error(code).to_bytes().to_vec(),
        }
    };
    Some(match act {
        Act::Answer => Reply::Whole(run(session)),
        Act::Dribble => Reply::Dribbled(run(session)),
        Act::Refuse(code) => Reply::Whole(ResponseHeader::error(code).to_bytes().to_vec()),
        Act::Close => return None,
        Act::CloseUnanswered => {
            run(session);
            return None;
        }
        Act::CloseMidReply => {
            let mut reply = run(session);
            reply.truncate(reply.len() / 2);
            Reply::Last(reply)
        }
        Act::ShutDown => {
            run(session);
            Reply::Last(ResponseHeader::error(ErrorCode::Disconnected).to_bytes().to_vec())
        }
        Act::Delay(pause) => {
            let reply = run(session);
            tokio::time::sleep(pause).await;
            Reply::Whole(reply)
        }
        Act::Garbage(bytes) => Reply::Whole(bytes.to_vec()),
    })
}

fn ok(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut bytes = ResponseHeader::ok(len).to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

async fn read(
    mut reader: OwnedReadHalf,
    frames: mpsc::UnboundedSender<Frame>,
    shared: Arc<Shared>,
) {
    let mut head = [0; 8];
    while reader.read_exact(&mut head).await.is_ok() {
        let head = RequestHeader::read(head).unwrap();
        let mut payload = vec![0; head.payload_len as usize];
        if reader.read_exact(&mut payload).await.is_err() {
            return;
        }
        let count = match head.code == CommandCode::Ping.as_u32() {
            true => &shared.pings,
            false => &shared.received,
        };
        count.fetch_add(1, Ordering::SeqCst);
        let _ = frames.send((head.code, payload));
    }
}
