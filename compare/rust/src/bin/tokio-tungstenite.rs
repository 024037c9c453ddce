//! tokio-tungstenite: one task for each connection, a broadcast channel, all on one thread.

use std::io;

use compare::LAG_MESSAGES_MAX;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, Sender, error::RecvError, error::TryRecvError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = compare::listen()?;
        let (everyone, _) = broadcast::channel(LAG_MESSAGES_MAX);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Whatever ends a connection, an error too, ends that one alone.
            tokio::spawn(serve(stream, everyone.clone()));
        }
    })
}

#[expect(clippy::result_large_err, reason = "the signature that the handshake asks for")]
async fn serve(stream: TcpStream, everyone: Sender<Message>) -> Result<(), Error> {
    // What its documentation recommends for many connections; the default of 128 KiB would be 2 GB for 15k.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let mut echo = false;
    let route = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        echo = request.uri().path() == "/echo";
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, route, Some(config)).await?;
    if echo { serve_echo(socket).await } else { serve_fan_out(socket, everyone).await }
}

async fn serve_echo(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn serve_fan_out(mut socket: WebSocketStream<TcpStream>, everyone: Sender<Message>) -> Result<(), Error> {
    let mut inbox = everyone.subscribe();
    loop {
        tokio::select! {
            received = socket.next() => match received {
                // An error means that nobody listens, which cannot be: this task does.
                Some(Ok(message)) if message.is_text() || message.is_binary() => drop(everyone.send(message)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            published = inbox.recv() => {
                match published {
                    Ok(message) => socket.feed(message).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
                // Everything that waits goes out in one write.
                loop {
                    match inbox.try_recv() {
                        Ok(message) => socket.feed(message).await?,
                        Err(TryRecvError::Lagged(_)) => {}
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    }
                }
                socket.flush().await?;
            }
        }
    }
}
