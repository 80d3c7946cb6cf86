//! How to open an engine on disk.

/// What a successful commit promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Committed data survives a power loss. Two flushes of the device per commit.
    #[default]
    Full,
    /// A power loss may undo the last commit, never part of one, and never damages the store. One flush per commit.
    Relaxed,
}

/// How to open an LMDB environment.
#[derive(Clone, Debug)]
pub(crate) struct EngineOptions {
    /// Address space reserved at first, in bytes: the data fits into it until the map grows. It costs neither memory nor
    /// disk. Halved while the system refuses it, and raised to what the data needs. Default: 256 GiB, on phones and
    /// tablets 4 GiB, on 32-bit systems 256 MiB.
    pub(crate) map_bytes: u64,
    /// The largest size the map may grow to, in bytes. Default: 16 TiB, on phones and tablets 256 GiB, on 32-bit systems
    /// 1 GiB.
    pub(crate) map_bytes_max: u64,
    /// The largest number of open tables. Each costs every read transaction 49 bytes to clear. Default: 256.
    pub(crate) tables_max: u32,
    /// The largest number of snapshots at a time, in all processes together; the first process that opens the directory
    /// decides. Default: 512.
    pub(crate) readers_max: u32,
    /// What a successful commit promises. Default: full durability.
    pub(crate) durability: Durability,
    /// Open an existing store without ever writing to it. Default: no.
    pub(crate) read_only: bool,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        const MIB: u64 = 1024 * 1024;
        const GIB: u64 = 1024 * MIB;
        let (map_bytes, map_bytes_max) = if cfg!(target_pointer_width = "32") {
            (256 * MIB, GIB)
        } else if cfg!(any(target_os = "android", target_os = "ios")) {
            (4 * GIB, 256 * GIB)
        } else {
            (256 * GIB, 16 * 1024 * GIB)
        };
        EngineOptions {
            map_bytes,
            map_bytes_max,
            tables_max: 256,
            readers_max: 512,
            durability: Durability::Full,
            read_only: false,
        }
    }
}
