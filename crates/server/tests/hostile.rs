//! What a device that turned against its server can send: it ends its own session, with a code, and costs nobody anything.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use peak_alloc::PeakAlloc;
use reconvene_client::SyncClient;
use reconvene_model::change::{Op, OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{GlobalId, TxHash, Uid};
use reconvene_protocol::frame::FORMAT_PLAIN;
use reconvene_protocol::limits::{LOGIN_BYTES_MAX, MESSAGE_BYTES_MAX, UPLOAD_TXS_MAX};
use reconvene_protocol::login::sign_login;
use reconvene_protocol::{
    Code, CredentialProof, Cursor, Login, Message, PROTOCOL_VERSION, SUBPROTOCOL, SchemaHashes,
};
use reconvene_server::{Authentication, Server};
use reconvene_store::{Entity, EntityBox, Role, Store};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Longer than anything takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server, the steady device and the attacker together may take for an attack: buffers, sessions, a runtime.
const ATTACK_BYTES_MAX: usize = 4 << 20;

/// The first byte of a frame in a format that nobody has agreed upon, as compressed ones would be.
const FORMAT_UNKNOWN: u8 = 1;

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Note {
    id: u64,
    text: String,
}

type Socket = WebSocketStream<TcpStream>;

/// A server with one device that stays connected through every attack.
struct Scene {
    server: Server,
    server_store: Store,
    notes: EntityBox<Note>,
    steady: SyncClient,
    runtime: tokio::runtime::Runtime,
    attacks: u8,
}

/// How the server ended a session, or the connection without a word.
type Farewell = Option<(Code, String)>;

fn open(role: Role) -> Store {
    Store::builder("memory:").entity::<Note>().role(role).open().unwrap()
}

impl Scene {
    fn new() -> Scene {
        let server_store = open(Role::Server);
        let server = Server::builder(&server_store)
            .bind("127.0.0.1:0".parse().unwrap())
            .authentication(Authentication::None)
            .start()
            .unwrap();
        let store = open(Role::Device);
        let notes = store.boxed().unwrap();
        let steady = SyncClient::builder(&store, format!("ws://{}", server.local_addr())).start().unwrap();
        steady.wait_downloaded(PATIENCE).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut scene = Scene { server, server_store, notes, steady, runtime, attacks: 0 };
        scene.is_undisturbed();
        scene
    }

    /// The steady device writes, is answered, and has never been cut off.
    fn is_undisturbed(&mut self) {
        self.notes.put(&mut Note { id: 0, text: "steady".into() }).unwrap();
        self.steady.wait_uploaded(PATIENCE).unwrap();
        assert_eq!(self.steady.status().connects, 1, "the steady device lost its connection");
    }

    /// Lets a device log in and attack; returns the farewell and checks that nobody else was harmed.
    fn attack(&mut self, name: &str, attack: impl AsyncFnOnce(&mut Socket, &PeerKey)) -> Farewell {
        self.attacks += 1;
        let key = PeerKey::from_secret([self.attacks; 32]);
        let address = self.server.local_addr();
        self.measured(name, |runtime| {
            runtime.block_on(async {
                let mut socket = connect(address).await;
                log_in(&mut socket, &key).await;
                attack(&mut socket, &key).await;
                farewell(&mut socket).await
            })
        })
    }

    /// The same by a stranger, who never logs in.
    fn approach(&mut self, name: &str, attack: impl AsyncFnOnce(&mut Socket)) -> Farewell {
        let address = self.server.local_addr();
        self.measured(name, |runtime| {
            runtime.block_on(async {
                let mut socket = connect(address).await;
                attack(&mut socket).await;
                farewell(&mut socket).await
            })
        })
    }

    fn measured(
        &mut self,
        name: &str,
        attack: impl FnOnce(&tokio::runtime::Runtime) -> Farewell,
    ) -> Farewell {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let ended = attack(&self.runtime);
        let held = MEMORY.peak_usage().saturating_sub(before);
        assert!(held <= ATTACK_BYTES_MAX, "{name}: {held} bytes were taken");
        if let Some((code, reason)) = &ended {
            assert!(!reason.is_empty() && !matches!(code, Code::Unknown(_)), "{name}: {code}");
        }
        self.is_undisturbed();
        ended
    }
}

async fn connect(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Option<Message> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("the server answers") {
            Some(Ok(Frame::Binary(frame))) => {
                return Some(
                    Message::decode(frame, MESSAGE_BYTES_MAX).expect("a server speaks the protocol"),
                );
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

async fn log_in(socket: &mut Socket, key: &PeerKey) {
    let Some(Message::Hello(hello)) = next(socket).await else { panic!("a server speaks first") };
    let login = Message::Login(Box::new(Login {
        version: PROTOCOL_VERSION,
        public_key: key.public(),
        signature: sign_login(key, &hello.nonce),
        credentials: vec![CredentialProof::None],
        schema: SchemaHashes::default(),
        cursor: Cursor::default(),
        last_number: 0,
        last_hash: TxHash::NONE,
        confirmed: 0,
        capabilities: vec![],
        compare: false,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Default::default(),
    }));
    socket.send(Frame::Binary(login.encode())).await.unwrap();
    assert!(matches!(next(socket).await, Some(Message::LoginAccepted(_))));
}

/// Reads until the connection ends, and returns the farewell if there was one.
async fn farewell(socket: &mut Socket) -> Farewell {
    let mut ended = None;
    while let Some(message) = next(socket).await {
        if let Message::Bye { code, reason } = message {
            ended = Some((code, reason));
        }
    }
    ended
}

async fn send(socket: &mut Socket, bytes: impl Into<Vec<u8>>) {
    // The server may have hung up already.
    drop(socket.send(Frame::Binary(bytes.into().into())).await);
}

/// The head of a masked WebSocket frame whose mask changes nothing.
fn head(opcode: u8, len: u64) -> Vec<u8> {
    [&[opcode, 0x80 | 127], len.to_be_bytes().as_slice(), &[0; 4]].concat()
}

/// Sends bytes past the WebSocket library, as often as asked for or until the server hangs up.
async fn send_raw(socket: &mut Socket, bytes: &[u8], times: usize) {
    for _ in 0..times {
        if tokio::time::timeout(PATIENCE, socket.get_mut().write_all(bytes)).await.unwrap().is_err() {
            return;
        }
    }
}

/// An upload of one transaction that inserts a note without text.
fn upload(scene: &Scene, key: &PeerKey) -> Vec<u8> {
    let entity = scene.server_store.schema().entity_by_name("Note").unwrap().uid;
    let mut ops = OpsWriter::new(key.peer());
    ops.push(&Op::new(entity, GlobalId::new(key.peer(), 1), 0, OpKind::Insert));
    let head = TxHead { origin: key.peer(), number: 1, previous: TxHash::NONE, hlc: 1 << 16 };
    Message::Upload(vec![encode_tx(&head, &ops.finish()).into()]).encode().to_vec()
}

fn code(ended: Farewell) -> Option<Code> {
    ended.map(|(code, _)| code)
}

#[test]
fn every_attack_ends_its_own_session_and_nothing_else() {
    let mut scene = Scene::new();
    let at_rest = {
        // The first sessions make what is kept for all later ones.
        for _ in 0..3 {
            assert_eq!(
                code(scene.attack("nothing", async |socket, _| send(socket, []).await)),
                Some(Code::FrameInvalid)
            );
        }
        MEMORY.current_usage()
    };
    garbage(&mut scene);
    cut_and_bent_messages(&mut scene);
    bombs(&mut scene);
    long_frames(&mut scene);
    strangers(&mut scene);
    let grown = MEMORY.current_usage().saturating_sub(at_rest);
    assert!(grown <= ATTACK_BYTES_MAX, "{grown} bytes stay after {} attacks", scene.attacks);
    let Scene { server, steady, .. } = scene;
    steady.stop();
    server.shutdown(PATIENCE).unwrap();
}

fn garbage(scene: &mut Scene) {
    let mut seed = 1_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let byte = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..len).map(byte).collect()
    };
    for len in [1, 2, 10, 1000, 100_000] {
        let mut bytes = noise(len);
        bytes[0] |= 1;
        let ended = scene.attack("bytes of no format", async |socket, _| send(socket, bytes).await);
        assert_eq!(code(ended), Some(Code::FrameUnknown));
        let bytes = [&[FORMAT_PLAIN], noise(len).as_slice()].concat();
        let ended =
            code(scene.attack("bytes that are no message", async |socket, _| send(socket, bytes).await));
        assert!(
            matches!(ended, Some(Code::FrameInvalid | Code::KindUnknown | Code::ContentInvalid)),
            "{ended:?}"
        );
    }
    let ended = scene.attack("text", async |socket, _| drop(socket.send(Frame::text("hello")).await));
    assert_eq!(code(ended), Some(Code::FrameInvalid));
    let hello = Message::CatchUpDone(reconvene_model::Seq(1)).encode().to_vec();
    let ended = scene.attack("what only servers say", async |socket, _| send(socket, hello).await);
    assert_eq!(code(ended), Some(Code::KindUnexpected));
}

fn cut_and_bent_messages(scene: &mut Scene) {
    let key = PeerKey::from_secret([scene.attacks + 1; 32]);
    let whole = upload(scene, &key);
    let ended = scene.attack("an upload and garbage after it", async |socket, _| {
        send(socket, whole.clone()).await;
        let settled = loop {
            match next(socket).await {
                Some(Message::Verdicts(verdicts)) => break verdicts,
                Some(_) => {}
                None => panic!("what is whole is answered"),
            }
        };
        assert_eq!(settled.len(), 1);
        send(socket, [FORMAT_UNKNOWN]).await;
    });
    assert_eq!(code(ended), Some(Code::FrameUnknown));
    for end in [1, 2, 3, 4, 10, whole.len() / 2, whole.len() - 1] {
        let key = PeerKey::from_secret([scene.attacks + 1; 32]);
        let cut = upload(scene, &key)[..end].to_vec();
        let ended =
            code(scene.attack("a message that is cut short", async |socket, _| send(socket, cut).await));
        assert!(matches!(ended, Some(Code::FrameInvalid | Code::ContentInvalid)), "cut at {end}: {ended:?}");
    }
    for at in (0..whole.len()).step_by(3) {
        let key = PeerKey::from_secret([scene.attacks + 1; 32]);
        let mut bent = upload(scene, &key);
        bent[at] ^= 0x11;
        // It may be a transaction by chance; garbage ends the session in any case.
        let ended = scene.attack("a message with bent bits", async |socket, _| {
            send(socket, bent).await;
            send(socket, [FORMAT_UNKNOWN]).await;
        });
        assert!(ended.is_some(), "bent at {at}");
    }
}

fn bombs(scene: &mut Scene) {
    // Ten zeros of deflate, gzip and zstd, which nobody offered to unpack.
    let deflated = [0x63, 0x80, 0x03, 0x00];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0xa4, 0xff, 0xff, 0xff, 0x7f, 0x02, 0xff, 0xff, 0x00];
    for packed in [&deflated[..], &zstd[..]] {
        let bytes = [&[FORMAT_UNKNOWN], packed].concat();
        let ended = scene.attack("a packed message", async |socket, _| send(socket, bytes).await);
        assert_eq!(code(ended), Some(Code::FrameUnknown));
    }
    // The bit that marks a compressed WebSocket message; the extension was not granted.
    let compressed = [&[0xc2, 0x80 | 4, 0, 0, 0, 0][..], &deflated].concat();
    let ended = scene.attack("a compressed frame", async |socket, _| send_raw(socket, &compressed, 1).await);
    assert_eq!(ended, None, "a broken WebSocket carries no farewell");
    // Lists of empty parts: two bytes each as they travel.
    for (kind, parts) in [(5_u8, UPLOAD_TXS_MAX + 1), (6, 500_000), (10, 500_000)] {
        let list = [0x0a, 0].repeat(parts);
        let mut bytes = vec![FORMAT_PLAIN, kind << 3 | 2];
        let mut len = list.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend(list);
        let ended = scene.attack("a list of nothing", async |socket, _| send(socket, bytes).await);
        assert_eq!(code(ended), Some(Code::ContentInvalid), "kind {kind}");
    }
    // A field that announces more than there is.
    let liar = [FORMAT_PLAIN, 0x2a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0a];
    let ended = scene.attack("a long field", async |socket, _| send(socket, liar).await);
    assert_eq!(code(ended), Some(Code::FrameInvalid));
    let shapes = Uid(1).0.to_le_bytes();
    let key = PeerKey::from_secret([scene.attacks + 1; 32]);
    let tx_head = TxHead { origin: key.peer(), number: 1, previous: TxHash::NONE, hlc: 1 << 16 };
    let block = [&[0xff, 0xff, 0x3f], shapes.as_slice()].concat();
    let bytes = Message::Upload(vec![encode_tx(&tx_head, &block).into()]).encode().to_vec();
    let ended = scene.attack("a transaction of many shapes", async |socket, _| send(socket, bytes).await);
    assert_eq!(code(ended), Some(Code::TxInvalid));
}

fn long_frames(scene: &mut Scene) {
    for len in [MESSAGE_BYTES_MAX as u64 + 1, 1 << 40, u64::MAX >> 1] {
        let head = head(0x82, len);
        let ended = scene.attack("a long frame", async |socket, _| send_raw(socket, &head, 1).await);
        assert_eq!(code(ended), Some(Code::FrameTooLong), "{len} bytes");
    }
}

fn strangers(scene: &mut Scene) {
    let long = head(0x82, LOGIN_BYTES_MAX as u64 + 1);
    let ended = scene.approach("a long frame of a stranger", async |socket| send_raw(socket, &long, 1).await);
    assert_eq!(code(ended), Some(Code::FrameTooLong));
    let huge = head(0x82, MESSAGE_BYTES_MAX as u64);
    let ended = scene.approach("a frame as long as any", async |socket| send_raw(socket, &huge, 1).await);
    assert_eq!(code(ended), Some(Code::FrameTooLong));
    // Small frames without end; the connection may be reset before the farewell was read.
    let small = [head(0x89, 100), vec![0; 100]].concat();
    let received = scene.server.stats().bytes_received;
    scene.approach("a flood of pings", async |socket| send_raw(socket, &small, 50_000).await);
    assert!(scene.server.stats().bytes_received - received < 1 << 20);
    let ended =
        scene.approach("garbage of a stranger", async |socket| send(socket, [FORMAT_UNKNOWN; 9]).await);
    assert_eq!(code(ended), Some(Code::FrameUnknown));
    let upload = Message::Upload(vec![b"too early"[..].into()]).encode().to_vec();
    let ended = scene.approach("an upload of a stranger", async |socket| send(socket, upload).await);
    assert_eq!(code(ended), Some(Code::KindUnexpected));
}
