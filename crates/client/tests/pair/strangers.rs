//! Connections that are no devices: none of them disturbs one that is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::world::{Shop, World};

fn server_goes_on(world: &mut World) {
    let mut device = world.device();
    device.online();
    device.shops.put(&mut Shop::default()).unwrap();
    world.converge(&[&device]);
}

/// Everything that the server answers before it closes.
fn answer(address: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may close before it has read everything.
    drop(stream.write_all(sent));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

#[test]
fn bytes_that_are_no_handshake_are_turned_away() {
    let mut world = World::new();
    let address = world.server().local_addr();
    answer(address, b"");
    answer(address, b"\x16\x03\x01\x02\x00\x01\x00");
    answer(address, &[0xff; 100_000]);
    let head = "GET / HTTP/1.1\r\nHost: x\r\n";
    answer(address, head.as_bytes());
    answer(address, format!("{head}X: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes());
    let plain = String::from_utf8_lossy(&answer(address, format!("{head}\r\n").as_bytes())).into_owned();
    assert!(!plain.starts_with("HTTP/1.1 101"), "{plain}");
    let upgrade = format!(
        "{head}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let refused = String::from_utf8_lossy(&answer(address, upgrade.as_bytes())).into_owned();
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("reconvene.v1"), "{refused}");
    server_goes_on(&mut world);
}

/// Opens a WebSocket, sends frames, and waits until the server closes it.
fn talk(address: SocketAddr, frames: Vec<Message>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "reconvene.v1".parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        for frame in frames {
            if socket.send(frame).await.is_err() {
                break;
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
    });
}

#[test]
fn frames_that_are_no_messages_end_their_own_session_only() {
    let mut world = World::new();
    let address = world.server().local_addr();
    let mut steady = world.device();
    steady.online();
    talk(address, vec![Message::text("hello")]);
    for bytes in [&b""[..], b"\0", b"\xff\xff\xff\xff", b"\0\x08\x96\x01", &[7; 5000]] {
        talk(address, vec![Message::binary(bytes.to_vec())]);
    }
    assert_eq!(steady.client().status().connects, 1);
    steady.shops.put(&mut Shop::default()).unwrap();
    world.converge(&[&steady]);
    server_goes_on(&mut world);
}

#[test]
fn nobody_may_send_much_before_a_login() {
    let mut world = World::new();
    let address = world.server().local_addr();
    talk(address, vec![Message::binary(vec![1; 20 << 20])]);
    let received = world.server().stats().bytes_received;
    assert!(received < 1 << 20, "{received} bytes were taken from a stranger");
    server_goes_on(&mut world);
}

#[test]
fn connections_that_say_nothing_hold_up_nobody() {
    let mut world = World::new();
    let address = world.server().local_addr();
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    server_goes_on(&mut world);
    drop(silent);
}
