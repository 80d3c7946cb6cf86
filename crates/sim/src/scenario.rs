//! What happens in one run: settings, and a list of steps with their times. It can be written down, cut shorter and replayed.

use serde::{Deserialize, Serialize};

use crate::schema::Kind;

/// One run, complete: the same scenario always takes the same course.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Where keys, delays and jitter come from.
    pub seed: u64,
    /// What holds throughout.
    pub settings: Settings,
    /// What happens, in order of time.
    pub steps: Vec<Timed>,
}

/// What holds throughout a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How many devices there are.
    pub devices: usize,
    /// Whether stores lie in directories; in memory they do not.
    #[serde(default)]
    pub on_disk: bool,
    /// The version of the server's schema.
    pub server_version: u8,
    /// The version of each device's application.
    pub versions: Vec<u8>,
    /// How far each device's clock is from the server's, in milliseconds.
    pub skews: Vec<i64>,
    /// The shortest time that a frame travels, in milliseconds.
    pub latency: u64,
    /// By how much it may be longer.
    pub jitter: u64,
    /// How many frames a connection holds in each direction before its sender has to wait.
    pub frames_in_flight: usize,
    /// How long a device takes before it looks at what arrived, in milliseconds.
    pub device_pause: u64,
    /// How long the committer takes for a commit, in milliseconds.
    pub commit_time: u64,
    /// The bytes of pushes that the server remembers for those who are slow.
    pub ring_bytes: usize,
    /// The bytes that may wait in a server's session.
    pub queue_bytes: usize,
    /// About how long a chunk of a catch-up is, in bytes.
    pub chunk_bytes: usize,
    /// How many transactions may wait for their verdict.
    pub window_txs: usize,
    /// How many frames in a thousand arrive twice, from a device.
    pub twice_up: u64,
    /// How many frames in a thousand arrive twice, from the server.
    pub twice_down: u64,
}

/// A step and when it is taken, in milliseconds from the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// When.
    pub at: u64,
    /// What.
    pub step: Step,
}

/// Something that happens from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A user does these things in one transaction; with `abort` he changes his mind at the end.
    Write {
        /// On which device.
        device: usize,
        /// What.
        writes: Vec<Write>,
        /// Whether nothing comes of it.
        #[serde(default)]
        abort: bool,
    },
    /// A user opens a note in a form.
    Hold {
        /// On which device.
        device: usize,
        /// Which note, counted round.
        pick: u8,
    },
    /// A user changes one field of the form and puts the note back.
    PutHeld {
        /// On which device.
        device: usize,
    },
    /// The device goes on or off the network.
    Network {
        /// Which device.
        device: usize,
        /// Whether it is on.
        on: bool,
    },
    /// The connection breaks; both sides notice, or only one of them.
    Cut {
        /// Whose connection.
        device: usize,
        /// Whether the server notices.
        told_server: bool,
        /// Whether the device notices.
        told_device: bool,
    },
    /// Nothing arrives in this direction any more, until the connection ends.
    Silence {
        /// Whose connection.
        device: usize,
        /// Whether it is the direction to the server.
        up: bool,
    },
    /// Nothing arrives in this direction for some time; then everything does.
    Stall {
        /// Whose connection.
        device: usize,
        /// Whether it is the direction to the server.
        up: bool,
        /// How long.
        ms: u64,
    },
    /// From here on a frame takes so much longer for every 100 bytes.
    Throttle {
        /// Whose connection.
        device: usize,
        /// Milliseconds for 100 bytes.
        ms: u64,
    },
    /// The device is busy with something else and looks at nothing for some time.
    Busy {
        /// Which device.
        device: usize,
        /// How long.
        ms: u64,
    },
    /// A device crashes when it next comes to this point.
    Crash {
        /// Which device.
        device: usize,
        /// Where.
        at: DevicePoint,
        /// How long it stays down, in milliseconds.
        down: u64,
    },
    /// The server crashes when it next comes to this point.
    CrashServer {
        /// Where.
        at: ServerPoint,
        /// How long it stays down, in milliseconds.
        down: u64,
    },
    /// A backup of a device is made.
    Backup {
        /// Which device.
        device: usize,
    },
    /// A backup of the server is made.
    BackupServer,
    /// The server is restored from its last backup; its history goes on as another one.
    RestoreServer,
    /// A device is restored from its last backup.
    Restore {
        /// Which device.
        device: usize,
    },
    /// A device's directory is copied over another's, which is lost.
    Copy {
        /// Which device is copied.
        device: usize,
        /// Which one becomes the copy.
        onto: usize,
    },
    /// A device's clock is moved, in milliseconds.
    Clock {
        /// Which device.
        device: usize,
        /// By how much.
        by: i64,
    },
    /// A device gets the newest version of the application.
    Upgrade {
        /// Which device.
        device: usize,
    },
    /// The server gets the newest schema.
    UpgradeServer,
    /// A peer that is none of ours uploads something that is well formed and says what no device would say.
    Stranger {
        /// What it says.
        dice: u64,
    },
    /// The auditor looks at everything on a device.
    Look {
        /// Which device.
        device: usize,
    },
}

/// Something that a user does to objects, which are picked by counting round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Makes an object; `pick` is the id, for those whose ids are shared.
    Insert {
        /// Of this entity.
        kind: Kind,
        /// Which id, or folder to link to.
        pick: u8,
        /// Which code, for notes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
    },
    /// Writes some numbers of an object.
    Set {
        /// Of this entity.
        kind: Kind,
        /// Which object.
        pick: u8,
        /// Which of its numbers, as bits.
        fields: u8,
    },
    /// Gives a note a code, or none.
    Code {
        /// Which note.
        pick: u8,
        /// Which code.
        code: Option<u8>,
    },
    /// Brings a sale to a stage, or to none.
    Stage {
        /// Which sale.
        pick: u8,
        /// Which stage.
        stage: Option<u8>,
    },
    /// Links a note to a folder, or to none.
    Link {
        /// Which note.
        pick: u8,
        /// Which folder.
        folder: Option<u8>,
    },
    /// Removes an object.
    Remove {
        /// Of this entity.
        kind: Kind,
        /// Which object.
        pick: u8,
    },
    /// Makes an object again that was removed, under its former id.
    Again {
        /// Of this entity.
        kind: Kind,
        /// Which of the removed ones.
        pick: u8,
    },
}

macro_rules! points {
    ($(#[doc = $of:literal] $name:ident { $(#[doc = $doc:literal] $point:ident = $text:literal,)+ })+) => {$(
        #[doc = $of]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $(#[doc = $doc] $point,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$point,)+];

            /// What the table of coverage calls it.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$point => $text,)+
                }
            }
        }
    )+};
}

points! {
    /// Where a device may crash.
    DevicePoint {
        /// Between everything else.
        Idle = "device: between steps",
        /// With a transaction written and not committed.
        BeforeCommit = "device: before the commit of a write",
        /// With a transaction committed that the session has not heard of.
        AfterCommit = "device: after the commit of a write",
        /// With a transaction handed to the session and not sent.
        BeforeSend = "device: before an upload is sent",
        /// With an upload on its way.
        AfterSend = "device: after an upload was sent",
        /// With the answer to the login stored, and nothing after it.
        AfterLogin = "device: after the login's commit",
        /// With what arrived not applied.
        BeforeApply = "device: before what arrived is applied",
        /// With what arrived applied and not confirmed.
        AfterApply = "device: after what arrived is applied",
    }
    /// Where a server may crash.
    ServerPoint {
        /// Between everything else.
        Idle = "server: between steps",
        /// With a login judged and not answered.
        AfterLogin = "server: after a login is judged",
        /// With uploads in the queue and not decided.
        BeforeCommit = "server: before the commit of decisions",
        /// With decisions committed and told nobody.
        AfterCommit = "server: after the commit of decisions",
        /// With verdicts told and pushes not, or only some of both.
        AfterSend = "server: after verdicts are sent",
        /// With a part of a catch-up on its way.
        WithinCatchUp = "server: within a catch-up",
        /// With a part of what a compare fetches on its way.
        WithinCompare = "server: within a compare",
    }
}
