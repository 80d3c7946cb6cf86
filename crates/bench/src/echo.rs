//! A bare WebSocket on the loopback device: what a round trip costs whoever uses one.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// A connection to a thread that sends back what it is sent.
pub(crate) struct Echo {
    runtime: Runtime,
    socket: Option<WebSocketStream<TcpStream>>,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Echo {
    pub(crate) fn start() -> anyhow::Result<Echo> {
        let listening = runtime()?;
        let listener = listening.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || listening.block_on(serve(listener)));
        let runtime = runtime()?;
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (socket, _) = client_async(format!("ws://{address}"), stream).await?;
            anyhow::Ok(socket)
        })?;
        Ok(Echo { runtime, socket: Some(socket), server: Some(server) })
    }

    /// Sends these bytes and waits until they are back.
    pub(crate) fn round_trip(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let socket = self.socket.as_mut().context("it is open until it is dropped")?;
        self.runtime.block_on(async {
            socket.send(Message::binary(bytes.to_vec())).await?;
            match socket.next().await {
                Some(Ok(Message::Binary(back))) if back == bytes => Ok(()),
                other => bail!("the echo answered {other:?}"),
            }
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // The other side ends when its connection does.
        self.socket.take();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_io().build()?)
}

async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_back() {
        let mut echo = Echo::start().unwrap();
        echo.round_trip(b"there").unwrap();
        echo.round_trip(b"and back").unwrap();
    }
}
