//! Files that appear whole or not at all, and never over another one unless that was asked for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::flag;
use crate::exit::Mistake;

/// The option that lets a command replace what is there.
pub(crate) const FORCE: &str = "force";

/// The option `--force`.
pub(crate) fn force(help: &'static str) -> clap::Arg {
    flag(FORCE).help(help)
}

/// A file that is being made under another name, which goes when this is dropped before [`NewFile::keep`].
pub(crate) struct NewFile {
    target: PathBuf,
    partial: PathBuf,
    force: bool,
    kept: bool,
}

impl NewFile {
    /// Prepares to make this file.
    ///
    /// # Errors
    ///
    /// If it exists and `force` is not given.
    pub(crate) fn new(target: &Path, force: bool) -> anyhow::Result<NewFile> {
        refuse_existing(target, force)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let partial = target.with_file_name(name);
        Ok(NewFile { target: target.to_owned(), partial, force, kept: false })
    }

    /// The name that it has until it is whole.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Creates it for writing.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn create(&self) -> anyhow::Result<File> {
        File::create_new(&self.partial).with_context(|| format!("cannot write {}", self.target.display()))
    }

    /// Gives it its name, durably: it is flushed before, and its directory after.
    ///
    /// # Errors
    ///
    /// Those of the file system, and if somebody else made a file of this name meanwhile.
    pub(crate) fn keep(mut self) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.target.display());
        File::open(&self.partial).and_then(|file| file.sync_all()).with_context(failed)?;
        refuse_existing(&self.target, self.force)?;
        fs::rename(&self.partial, &self.target).with_context(failed)?;
        sync_parent(&self.target).with_context(failed)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: why it was not kept has been told.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn refuse_existing(target: &Path, force: bool) -> Result<(), Mistake> {
    // A link that leads nowhere counts as well.
    if force || target.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Mistake(format!(
        "{} exists already; name another file, or give --force to replace it",
        target.display()
    )))
}

/// Makes the names beside a file durable.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
