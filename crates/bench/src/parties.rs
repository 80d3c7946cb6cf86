//! Server and devices in processes of their own, each of which tells the processor time that it has used.
//!
//! A party is this program again. It takes orders on its standard input, a line each, and answers each with a line on its
//! standard output; it ends when its input does.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reconvene_client::SyncClient;
use reconvene_server::{Authentication, Server};
use reconvene_store::{EntityBox, Role, Store};

use crate::data::{City, Large, cities};
use crate::measure::cpu_time;

/// How long anything may take; reached only when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is a server or a device; it ends by itself when this is dropped.
pub(crate) struct Party {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Party {
    /// Starts a server with a store in this directory; where it listens.
    pub(crate) fn server(directory: &Path) -> anyhow::Result<(Party, String)> {
        let mut party = Party::start(&[directory.as_os_str()])?;
        let address = party.answer()?;
        Ok((party, address))
    }

    /// Starts a device with a store in this directory and waits until it is live.
    pub(crate) fn device(directory: &Path, address: &str) -> anyhow::Result<Party> {
        let mut party = Party::start(&[directory.as_os_str(), address.as_ref()])?;
        party.answer()?;
        Ok(party)
    }

    fn start(arguments: &[&std::ffi::OsStr]) -> anyhow::Result<Party> {
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut child = Command::new(program)
            .arg("party")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a process could not be started")?;
        let orders = child.stdin.take().context("the input of a process is piped")?;
        let answers = BufReader::new(child.stdout.take().context("the output of a process is piped")?);
        Ok(Party { child, orders, answers })
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "a process ended too early; what it said stands above");
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, order: &str) -> anyhow::Result<u64> {
        writeln!(self.orders, "{order}")?;
        Ok(self.answer()?.parse()?)
    }

    /// The processor time that the process has used so far.
    pub(crate) fn cpu_time(&mut self) -> anyhow::Result<Duration> {
        Ok(Duration::from_nanos(self.ask("cpu")?))
    }

    /// Has a device make cities, to put them later.
    pub(crate) fn make(&mut self, count: usize) -> anyhow::Result<()> {
        self.ask(&format!("make {count}")).map(drop)
    }

    /// Has a device put what it made, and waits until the server has taken it; the position that it has reached then.
    pub(crate) fn put(&mut self) -> anyhow::Result<u64> {
        self.ask("put")
    }

    /// Waits until a device has everything up to this position; how many cities it holds then.
    pub(crate) fn reach(&mut self, seq: u64) -> anyhow::Result<u64> {
        self.ask(&format!("reach {seq}"))
    }

    /// Ends the process in good order.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Party { mut child, orders, answers } = self;
        drop((orders, answers));
        let status = child.wait()?;
        ensure!(status.success(), "a process ended with {status}");
        Ok(())
    }
}

/// Is a party: a server without an address, a device with one.
pub(crate) fn run(directory: &Path, address: Option<&str>) -> anyhow::Result<()> {
    let builder = Store::builder(directory).entity::<City>().entity::<Large>();
    match address {
        None => {
            let store = builder.role(Role::Server).open()?;
            let server = Server::builder(&store)
                .bind(([127, 0, 0, 1], 0).into())
                .authentication(Authentication::None)
                .start()?;
            say(&server.local_addr().to_string())?;
            obey(|order| bail!("a server does not take the order {order:?}"))?;
            Ok(server.shutdown(PATIENCE)?)
        }
        Some(address) => {
            let store = builder.open()?;
            let client = SyncClient::builder(&store, format!("ws://{address}")).start()?;
            client.wait_downloaded(PATIENCE)?;
            say("live")?;
            let of = store.boxed()?;
            let mut device = Device { store, of, client, made: Vec::new() };
            obey(|order| device.obey(order))?;
            device.client.stop();
            Ok(())
        }
    }
}

struct Device {
    store: Store,
    of: EntityBox<City>,
    client: SyncClient,
    made: Vec<City>,
}

impl Device {
    fn obey(&mut self, order: &str) -> anyhow::Result<u64> {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("make", count) => {
                self.made = cities(count.parse()?)?;
                Ok(0)
            }
            ("put", _) => {
                self.of.put_many(&mut self.made)?;
                self.client.wait_uploaded(PATIENCE)?;
                // The transaction is one position, behind that of nobody else.
                self.wait_for(1)
            }
            ("reach", seq) => {
                self.wait_for(seq.parse()?)?;
                Ok(self.of.count()?)
            }
            _ => bail!("a device does not take the order {order:?}"),
        }
    }

    /// Waits until the cursor is there; where it is then.
    fn wait_for(&self, seq: u64) -> anyhow::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let at = self.store.sync().cursor()?.seq.0;
            if at >= seq {
                return Ok(at);
            }
            ensure!(Instant::now() < deadline, "a device stays behind: {:?}", self.client.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Takes orders until there are no more.
fn obey(mut order: impl FnMut(&str) -> anyhow::Result<u64>) -> anyhow::Result<()> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let answer = match line.as_str() {
            "cpu" => u64::try_from(cpu_time().as_nanos())?,
            line => order(line)?,
        };
        say(&answer.to_string())?;
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
