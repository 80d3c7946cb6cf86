//! The processes: a server, or a device with its user.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reconvene_client::{ClientConfig, State, SyncClient, SyncEvent};
use reconvene_model::TxHash;
use reconvene_server::{Authentication, Secret, Server, ServerConfig, ServerLimits};
use reconvene_store::{Role, SeamError, Store, StoreError, Subscription};
use tracing::span;

use super::user::User;
use super::words::{DeviceOrders, Orders, Said, ServerOrders, Told, hex, line};
use crate::chance::{Chance, mix};
use crate::schema::{self, Kind};

const SECRET: &str = "known to the devices and the server";

/// How many transactions may wait before a user does nothing more for a while.
const BACKLOG_MAX: u64 = 150;

/// How long nothing is done where there is nothing to do.
const BREATH: Duration = Duration::from_millis(3);

/// The pauses between attempts to connect: short, so that a run is not spent with waiting.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(300)];

/// After how long a silent connection is asked for a sign of life, and for how long that is waited.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
const PONG: Duration = Duration::from_millis(1_500);

/// What a process comes to grief with.
type Failure = Box<dyn std::error::Error>;

/// Is what the orders say, until it is killed or the one who directs is gone.
///
/// # Errors
///
/// If it cannot do its work; in words for people.
pub fn child(orders: &str) -> Result<(), String> {
    let orders: Orders = serde_json::from_str(orders).map_err(|error| error.to_string())?;
    let (Orders::Server(ServerOrders { planted, .. }) | Orders::Device(DeviceOrders { planted, .. })) =
        &orders;
    if let Some(name) = planted {
        plant(name)?;
    }
    let done = match orders {
        Orders::Server(orders) => serve(&orders),
        Orders::Device(orders) => use_device(orders),
    };
    done.map_err(|error| error.to_string())
}

/// Makes a mistake from here on, which is given by its name.
#[cfg(feature = "planted-faults")]
fn plant(name: &str) -> Result<(), String> {
    use reconvene_model::planted::{Planted, plant_everywhere};

    let mistake = Planted::ALL.into_iter().find(|mistake| format!("{mistake:?}") == name);
    plant_everywhere(mistake.ok_or_else(|| format!("nobody knows the mistake {name:?}"))?);
    Ok(())
}

#[cfg(not(feature = "planted-faults"))]
fn plant(name: &str) -> Result<(), String> {
    Err(format!("{name:?} cannot be planted: this program was built without the feature `planted-faults`"))
}

/// Says something in one write, so that a kill does not part it.
fn say(said: &Said) {
    let mut out = std::io::stdout().lock();
    // Who directs may be gone; then this process ends with its standard input.
    let _ = out.write_all(line(said).as_bytes());
    let _ = out.flush();
}

/// What comes in on standard input; the process ends with it.
fn listen() -> Receiver<Told> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for told in std::io::stdin().lines().map_while(Result::ok) {
            if let Ok(told) = serde_json::from_str(&told)
                && sender.send(told).is_err()
            {
                break;
            }
        }
        std::process::exit(0);
    });
    receiver
}

fn serve(orders: &ServerOrders) -> Result<(), Failure> {
    let told = listen();
    let builder = Store::builder(&orders.directory).role(Role::Server);
    let store = schema::describe(builder, orders.version).open()?;
    let mut limits = ServerLimits::default();
    limits.ring_bytes_max = orders.ring_bytes;
    limits.chunk_bytes = orders.chunk_bytes;
    limits.send_timeout = Duration::from_secs(5);
    let protocol = ServerConfig { heartbeat: HEARTBEAT, pong_timeout: PONG, ..ServerConfig::default() };
    let server = Server::builder(&store)
        .bind(([127, 0, 0, 1], 0).into())
        .authentication(Authentication::SharedSecret(Secret::new(SECRET)))
        .limits(limits)
        .protocol(protocol)
        .start()?;
    say(&Said::Listening(server.local_addr()));
    while told.recv().is_ok() {}
    Ok(())
}

/// Tells the one who directs about every transaction, and about each that was dated anew.
struct Journal {
    store: Store,
    told: Mutex<BTreeMap<u64, TxHash>>,
}

impl Journal {
    /// Tells what is in the outbox and was not told as it is.
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // One snapshot, in the order of the numbers: each follows on the one before it.
        let rows = match self.store.sync().outbox(0, usize::MAX, usize::MAX) {
            Ok(rows) => rows,
            Err(error) => return say(&Said::Wrong(format!("the outbox cannot be read: {error}"))),
        };
        if let Some(first) = rows.first() {
            *told = told.split_off(&first.number);
        }
        for row in rows {
            let hash = TxHash::of(&row.bytes);
            if told.insert(row.number, hash) != Some(hash) {
                say(&Said::Tx(row.number, hex(&row.bytes)));
            }
        }
    }
}

/// What is there by the account of observers alone.
struct Seen {
    ids: Arc<Mutex<BTreeSet<(Kind, u64)>>>,
    _subscription: Subscription,
}

impl Seen {
    /// Reads what there is and listens from here on; nobody writes yet.
    fn begin(store: &Store) -> Result<Seen, StoreError> {
        let ids = Arc::new(Mutex::new(all_ids(store)?));
        let told = ids.clone();
        let subscription = store.observe(move |changes| {
            let mut ids = told.lock().unwrap_or_else(PoisonError::into_inner);
            for changes in &changes.entities {
                let Some(kind) = Kind::named(&changes.entity) else { continue };
                let is_right = changes.removed.iter().all(|id| ids.remove(&(kind, *id)))
                    && changes.updated.iter().all(|id| ids.contains(&(kind, *id)))
                    && changes.inserted.iter().all(|id| ids.insert((kind, *id)));
                if !is_right {
                    say(&Said::Wrong(format!("observers were told what was not so: {changes:?}")));
                }
            }
        });
        Ok(Seen { ids, _subscription: subscription })
    }

    /// Compares with the store, unless something changes meanwhile.
    fn check(&self, store: &Store) -> Result<(), StoreError> {
        let seen = || self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (before, found, after) = (seen(), all_ids(store)?, seen());
        if before == after && found != before {
            let differ: Vec<_> = found.symmetric_difference(&before).collect();
            // A commit may have been made whose observers are told next.
            std::thread::sleep(BREATH * 100);
            if differ
                .iter()
                .any(|place| seen().contains(place) != all_ids(store).is_ok_and(|ids| ids.contains(place)))
            {
                say(&Said::Wrong(format!("observers were not told of {differ:?}")));
            }
        }
        Ok(())
    }
}

fn all_ids(store: &Store) -> Result<BTreeSet<(Kind, u64)>, StoreError> {
    let mut all = BTreeSet::new();
    for kind in Kind::ALL {
        all.extend(store.objects(kind.name())?.all()?.into_iter().map(|object| (kind, object.id)));
    }
    Ok(all)
}

/// Looks into the outbox when the client says that it has dated something anew, which is before that is sent.
struct Watcher(Arc<Journal>);

impl tracing::Subscriber for Watcher {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("reconvene_client")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.tell();
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn open_device(directory: &Path, version: u8, skew: Arc<AtomicI64>) -> Result<Store, StoreError> {
    let clock = move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(0).saturating_add_signed(skew.load(Ordering::Relaxed))
    };
    schema::describe(Store::builder(directory).time_source(clock), version).open()
}

fn use_device(orders: DeviceOrders) -> Result<(), Failure> {
    let told = listen();
    let skew = Arc::new(AtomicI64::new(orders.skew_ms));
    let store = open_device(&orders.directory, orders.version, skew.clone())?;
    say(&Said::Peer(store.sync().peer().0));
    let seen = Seen::begin(&store)?;
    let journal = Arc::new(Journal { store: store.clone(), told: Mutex::default() });
    journal.tell();
    tracing::subscriber::set_global_default(Watcher(journal.clone()))?;
    // Before the client's own place: what was committed is told before anybody sends it.
    let listener = journal.clone();
    let _listener = store.sync().on_outbox(move || listener.tell());
    let client = SyncClient::builder(&store, &orders.url)
        .shared_secret(Secret::new(SECRET))
        .retry_pauses(&PAUSES)
        .connect_timeout(Duration::from_secs(2))
        .protocol(ClientConfig {
            login_timeout: Duration::from_secs(4),
            pong_timeout: PONG,
            ..ClientConfig::default()
        })
        .on_event(|event| match event {
            SyncEvent::Rejected { numbers } => say(&Said::Back(numbers.clone())),
            SyncEvent::Renamed { former, peer, .. } => {
                say(&Said::Wrong(format!("{former} goes on as {peer}, and it is no copy")));
            }
            SyncEvent::GaveUp { closed } => say(&Said::Wrong(format!("it gave up: {closed}"))),
            _ => {}
        })
        .start()?;
    let seed = mix(&[orders.seed, orders.index as u64, u64::from(std::process::id())]);
    let mut user = User::new(orders.index, orders.version, seed);
    let mut pace = Chance::new(seed);
    let (mut is_resting, mut stood) = (false, None);
    loop {
        match told.try_recv() {
            Ok(Told::Clock(by)) => skew.store(by, Ordering::Relaxed),
            Ok(Told::Rest) => is_resting = true,
            Ok(Told::Work) => (is_resting, stood) = (false, None),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        if is_resting {
            // The engine may have found it where no user writes.
            if pace.below(100) == 0 && store.flush().is_err_and(|error| is_spent(&error)) {
                say(&Said::Spent);
                return Ok(());
            }
            if let Some(stand) = stand(&store, &client)
                && stood.as_ref() != Some(&stand)
            {
                if matches!(stand, Said::Resting { undecided: 0, .. }) {
                    seen.check(&store)?;
                }
                say(&stand);
                stood = Some(stand);
            }
            std::thread::sleep(BREATH);
            continue;
        }
        let busy = store.sync().undecided()? >= BACKLOG_MAX;
        if !busy {
            match work(&store, &mut user) {
                Worked::Well => {}
                Worked::InVain => std::thread::sleep(BREATH * 5),
                Worked::OnSpent => {
                    say(&Said::Spent);
                    return Ok(());
                }
            }
        }
        std::thread::sleep(match pace.below(10) {
            _ if busy => BREATH,
            0..=4 => Duration::ZERO,
            5..=8 => Duration::from_millis(pace.below(30)),
            _ => Duration::from_millis(pace.below(250)),
        });
    }
}

/// What came of something that a user did.
enum Worked {
    Well,
    InVain,
    /// The disk failed: nothing more can be written before the store is opened anew.
    OnSpent,
}

/// Lets the user do something.
fn work(store: &Store, user: &mut User) -> Worked {
    match user.acts(store) {
        Ok(()) | Err(StoreError::UniqueViolation { .. }) => Worked::Well,
        Err(StoreError::Engine(SeamError::FileTooLarge | SeamError::DiskFull)) => {
            say(&Said::Full);
            Worked::InVain
        }
        Err(error) if is_spent(&error) => Worked::OnSpent,
        Err(error) => {
            say(&Said::Wrong(format!("a write failed: {error}")));
            Worked::InVain
        }
    }
}

/// Whether the disk has failed, as far as the store can tell.
fn is_spent(error: &StoreError) -> bool {
    matches!(error, StoreError::Engine(SeamError::Spent | SeamError::Io { .. }))
}

/// How far a device has come that is connected and has nothing to catch up with.
fn stand(store: &Store, client: &SyncClient) -> Option<Said> {
    if client.status().state != State::Live {
        return None;
    }
    let login = store.sync().login_state().ok()?;
    Some(Said::Resting {
        epoch: login.cursor.epoch,
        seq: login.cursor.seq.0,
        undecided: store.sync().undecided().ok()?,
    })
}
