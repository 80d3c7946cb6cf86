//! What waits for a slow network is bounded, whatever is to go over it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reconvene_protocol::Limits;
use reconvene_sim::Direction;

use crate::world::{PATIENCE, Shop, World, server_store, wait_until};

/// What the operating system may buffer between a server and a proxy that reads nothing: its largest send and receive
/// buffers with room to spare.
const SYSTEM_BUFFERS: u64 = 12 << 20;

/// What the proxy buffers.
const PROXY_BUFFERS: u64 =
    (reconvene_sim::proxy::CHUNK_BYTES_MAX * reconvene_sim::proxy::CHUNKS_QUEUED_MAX) as u64;

/// What a session hands on before the socket takes more: its queue, and the frames of the writer.
const SESSION_BUFFERS: u64 = 2 << 20;

#[test]
fn a_device_sends_no_more_than_the_window_without_an_answer() {
    let mut world = World::new();
    let mut device = world.device();
    device.online();
    device.network.stall(Direction::Up, true);
    let name = "x".repeat(64 * 1024);
    for _ in 0..200 {
        device.shops.put(&mut Shop { name: name.clone(), ..Shop::default() }).unwrap();
    }
    let window = Limits::default().upload_window_bytes as u64;
    let sent = || device.client().status().bytes_sent;
    wait_until("the window is used", || sent() >= window - 128 * 1024);
    assert!(sent() <= window + 128 * 1024, "{} bytes were sent into a window of {window}", sent());
    assert_eq!(device.store.sync().undecided().unwrap(), 200);
    device.network.stall(Direction::Up, false);
    world.converge(&[&device]);
}

#[test]
fn a_device_that_reads_nothing_is_sent_no_more_than_buffers_hold_and_then_left() {
    let mut world = World::build(server_store(), |world| {
        world.limits.ring_bytes_max = 1 << 20;
        world.limits.send_timeout = Duration::from_secs(2);
    });
    let (mut author, mut reader) = (world.device(), world.device());
    author.online();
    reader.pauses = vec![Duration::from_millis(10)];
    reader.online();
    reader.network.stall(Direction::Down, true);
    // One session shall be seen, not those that follow it.
    reader.network.refuse(true).unwrap();
    for _ in 0..32 {
        let mut shops: Vec<Shop> =
            (0..16).map(|_| Shop { name: "x".repeat(64 * 1024), ..Shop::default() }).collect();
        author.shops.put_many(&mut shops).unwrap();
    }
    world.converge(&[&author]);
    wait_until("the server leaves the device that reads nothing", || world.server().stats().sessions == 1);
    let sent = world.server().stats().bytes_sent - author.client().status().bytes_received;
    let bound = SYSTEM_BUFFERS + PROXY_BUFFERS + SESSION_BUFFERS;
    assert!(sent <= bound, "{sent} bytes were sent to a device that reads nothing; {bound} are allowed");
    reader.network.heal().unwrap();
    world.converge(&[&author, &reader]);
}

/// Sends bytes one by one until the server ends the connection.
fn trickle(mut stream: TcpStream, start: &[u8], then: u8) {
    stream.write_all(start).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut heard = [0; 1024];
    wait_until("the server ends a connection that trickles", || {
        let wrote = stream.write_all(&[then]);
        let over = match stream.read(&mut heard) {
            Ok(bytes) => bytes == 0,
            Err(error) => {
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        };
        over || wrote.is_err()
    });
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: reconvene.v1\r\n";

#[test]
fn strangers_that_trickle_give_their_places_back() {
    let mut world = World::build(server_store(), |world| {
        world.limits.handshake_timeout = Duration::from_millis(200);
        world.protocol.login_timeout = Duration::from_millis(200);
        world.limits.sessions_max = 2;
    });
    let address = world.server().local_addr();
    let (within_handshake, within_login) =
        (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
    wait_until("both are accepted", || world.server().stats().connections == 2);
    std::thread::scope(|scope| {
        scope.spawn(|| trickle(within_handshake, b"GET / HTTP/1.1\r\nX: ", b'y'));
        // A binary frame of 60,000 bytes that never becomes whole.
        let frame = [format!("{HANDSHAKE}\r\n").as_bytes(), &[0x82, 0xfe, 0xea, 0x60, 0, 0, 0, 0]].concat();
        scope.spawn(move || trickle(within_login, &frame, 0));
    });
    let mut device = world.device();
    device.pauses = vec![Duration::from_millis(10)];
    device.connect_timeout = PATIENCE;
    device.online();
    device.shops.put(&mut Shop::default()).unwrap();
    world.converge(&[&device]);
}
