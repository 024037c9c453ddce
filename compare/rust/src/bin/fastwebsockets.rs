//! fastwebsockets: one task for each connection, a broadcast channel, all on one thread.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use compare::LAG_MESSAGES_MAX;
use fastwebsockets::upgrade::{self, UpgradeFut};
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, Sender, error::RecvError, error::TryRecvError};
use tokio::task::unconstrained;

/// What one write may carry.
const WRITE_BUFFER_BYTES: usize = 2048;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = compare::listen()?;
        let (everyone, _) = broadcast::channel(LAG_MESSAGES_MAX);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(accept(stream, everyone.clone()));
        }
    })
}

async fn accept(stream: TcpStream, everyone: Sender<Bytes>) {
    let service = service_fn(move |request| answer(request, everyone.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // Whatever ends a connection, an error too, ends that one alone.
    drop(connection.await);
}

async fn answer(mut request: Request<Incoming>, everyone: Sender<Bytes>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok((response, upgraded)) = upgrade::upgrade(&mut request) else {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refusal);
    };
    if request.uri().path() == "/echo" {
        tokio::spawn(unconstrained(serve_echo(upgraded)));
    } else {
        tokio::spawn(unconstrained(serve_fan_out(upgraded, everyone)));
    }
    Ok(response)
}

async fn serve_echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

/// Reading and writing are two halves, because a reading that is given up in the middle of a frame would lose it.
async fn serve_fan_out(upgraded: UpgradeFut, everyone: Sender<Bytes>) -> Result<(), WebSocketError> {
    let socket = upgraded.await?;
    let (reader, writer) = socket.split(|stream| {
        let (reader, writer) = tokio::io::split(stream);
        (reader, BufWriter::with_capacity(WRITE_BUFFER_BYTES, writer))
    });
    let mut reader = FragmentCollectorRead::new(reader);
    let writer = Arc::new(Mutex::new(writer));
    let mut inbox = everyone.subscribe();

    let reading = async {
        loop {
            let mut reply = async |frame: Frame<'_>| {
                let mut writer = writer.lock().await;
                writer.write_frame(Frame::new(true, frame.opcode, None, frame.payload.to_vec().into())).await?;
                writer.flush().await
            };
            let frame = reader.read_frame::<_, WebSocketError>(&mut reply).await?;
            match frame.opcode {
                OpCode::Close => return Ok(()),
                // An error means that nobody listens, which cannot be: this task does.
                OpCode::Text | OpCode::Binary => drop(everyone.send(Bytes::copy_from_slice(&frame.payload))),
                OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
            }
        }
    };
    let writing = async {
        loop {
            let mut next = match inbox.recv().await {
                Ok(text) => Some(text),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return Ok(()),
            };
            let mut writer = writer.lock().await;
            // Everything that waits goes out in one write.
            loop {
                if let Some(text) = next.take() {
                    writer.write_frame(Frame::text(Payload::Borrowed(&text))).await?;
                }
                match inbox.try_recv() {
                    Ok(text) => next = Some(text),
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            writer.flush().await?;
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}
