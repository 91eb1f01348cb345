//! Owns what the agent must remember through its own death and cannot write into a domain's definition: the highest
//! epoch obeyed, the disks about to be made, the notices of VMs that are gone, and the last console output of those.
//!
//! ```text
//!   <state directory>/  lock               held while an agent runs, so that two never share it
//!                       epoch              one number
//!                       preparations.json  disks that may exist before there is a domain
//!                       checkpoint.json    the highest checkpoint of the coordinator's audit log
//!                       clock.json         by which moment the clock goes that deadlines are taken from
//!                       tombstones.json    VMs that are gone; forgotten ones for a while longer
//!                       consoles/<vm>.log  the end of their output, the newest few
//!                       identity/          see identity.rs
//! ```
//!
//! A file is replaced whole or not at all. What a method returned `Ok` for is on the disk. What cannot be written leaves
//! the old state in file and memory.
//!
//! Must not: be called from an async thread, except for reading what is in memory. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::checkpoint::SignedCheckpoint;
use reeve_common::durable_file::{self, FileError, PRIVATE_FILE};
use reeve_common::ids::{Epoch, Generation, VmId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state_files::{FilesInDirectory, StateFiles};
use crate::state_records::{
    CheckpointFile, ClockFile, PreparationRecord, PreparationsFile, TombstoneRecord, TombstonesFile,
    UnreadableRecord,
};
use crate::steady_clock::ClockAnchor;
use crate::vm::known::{Preparation, Tombstone};
use crate::witness::Judgement;

/// VMs whose end the coordinator has recorded and that are remembered all the same, against commands that come late.
/// They come within minutes if at all; a host does not stop so many VMs in that time.
pub const FORGOTTEN_MAX: usize = 256;

/// The console output kept of each VM that is gone: what a kernel says from boot to panic.
pub const CONSOLE_LENGTH_MAX: u32 = 256 << 10;

/// How many of them are kept, the newest: 16 MiB at most.
pub const CONSOLES_MAX: usize = 64;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process holds it.
    #[error("another agent is running on the state directory {}; stop it first, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{doing} {} failed; the agent needs a state directory that it can read and write", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A small file cannot be read or written.
    #[error("the agent's state cannot be kept")]
    File(#[from] FileError),
    /// A file does not hold what an agent wrote.
    #[error("{} is damaged or from a newer release: restore it from a backup, or remove it when no VM has been started or stopped on this host lately", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Damage,
    },
}

/// What is wrong with a state file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It is not a number.
    #[error("it does not hold a number")]
    Number(#[source] std::num::ParseIntError),
    /// It is not JSON of this shape.
    #[error("it cannot be read")]
    Json(#[source] serde_json::Error),
    /// A value in it is out of range.
    #[error("a value in it cannot be")]
    Record(#[source] UnreadableRecord),
}

/// The agent's memory on disk.
#[derive(Debug)]
pub struct StateDirectory {
    files: Arc<dyn StateFiles>,
    /// Where the last console output of VMs that are gone is kept; none: nowhere.
    consoles: Option<PathBuf>,
    /// Held open for its lock.
    _lock: Option<File>,
    /// Serialises writers, so that readers never wait for a disk.
    writing: Mutex<()>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Clone, Default)]
struct Memory {
    epoch: Epoch,
    tombstones: BTreeMap<VmId, Tombstone>,
    /// The oldest first.
    forgotten: Vec<(VmId, Generation)>,
    checkpoint: Option<SignedCheckpoint>,
    clock_anchor: Option<ClockAnchor>,
    preparations: BTreeMap<VmId, Preparation>,
    /// Those that the file still names, perhaps settled since.
    preparations_written: BTreeSet<VmId>,
}

impl StateDirectory {
    /// Takes hold of the directory, making it if it is missing, and reads what is in it.
    ///
    /// # Errors
    /// [`StateError`] when another agent has it, or when it cannot be read, written or understood.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(io_error("making the directory", path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error("opening", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StateError::InUse { path: path.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(io_error("locking", &lock_path)(source)),
        }
        let consoles = path.join("consoles");
        builder.create(&consoles).map_err(io_error("making the directory", &consoles))?;
        let files = Arc::new(FilesInDirectory(path.to_owned()));
        Ok(Self { consoles: Some(consoles), _lock: Some(lock), ..Self::on(files)? })
    }

    /// A memory in these files, which nobody else may use meanwhile; console output is not kept.
    ///
    /// # Errors
    /// [`StateError`] when they cannot be read or understood.
    pub fn on(files: Arc<dyn StateFiles>) -> Result<Self, StateError> {
        let memory = Mutex::new(read_memory(files.as_ref())?);
        Ok(Self { files, consoles: None, _lock: None, writing: Mutex::new(()), memory })
    }

    /// The highest epoch obeyed.
    #[must_use]
    pub fn highest_epoch(&self) -> Epoch {
        self.memory().epoch
    }

    /// The notices of VMs that are gone and not yet forgotten.
    #[must_use]
    pub fn tombstones(&self) -> BTreeMap<VmId, Tombstone> {
        self.memory().tombstones.clone()
    }

    /// How many there are.
    #[must_use]
    pub fn tombstone_count(&self) -> usize {
        self.memory().tombstones.len()
    }

    /// The notice of one VM.
    #[must_use]
    pub fn tombstone(&self, vm: VmId) -> Option<Tombstone> {
        self.memory().tombstones.get(&vm).cloned()
    }

    /// The generation of a VM that was forgotten not long ago.
    #[must_use]
    pub fn forgotten(&self, vm: VmId) -> Option<Generation> {
        let memory = self.memory();
        memory.forgotten.iter().find(|(id, _)| *id == vm).map(|(_, generation)| *generation)
    }

    /// The disks that may exist without a domain.
    #[must_use]
    pub fn preparations(&self) -> BTreeMap<VmId, Preparation> {
        self.memory().preparations.clone()
    }

    /// Records an epoch, if it is higher than all before.
    ///
    /// # Errors
    /// [`StateError::Io`]; the epoch must not be obeyed then.
    pub fn raise_epoch(&self, epoch: Epoch) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        if epoch <= self.highest_epoch() {
            return Ok(());
        }
        self.files.replace("epoch", format!("{epoch}\n").as_bytes())?;
        self.memory().epoch = epoch;
        Ok(())
    }

    /// Puts a checkpoint of the audit log in the place of the one that is kept, if `judge` says so. Answers what is kept
    /// then, and what was judged.
    ///
    /// # Errors
    /// [`StateError::Io`]; the one before is kept then.
    pub fn witness(
        &self,
        offered: Option<SignedCheckpoint>,
        judge: impl FnOnce(Option<&SignedCheckpoint>, &SignedCheckpoint) -> Judgement,
    ) -> Result<(Option<SignedCheckpoint>, Option<Judgement>), StateError> {
        let _writing = lock(&self.writing);
        let held = self.memory().checkpoint;
        let Some(offered) = offered else { return Ok((held, None)) };
        let judgement = judge(held.as_ref(), &offered);
        if judgement != Judgement::Keep {
            return Ok((held, Some(judgement)));
        }
        replace_json(self.files.as_ref(), CHECKPOINT, &CheckpointFile::from(&offered))?;
        self.memory().checkpoint = Some(offered);
        Ok((Some(offered), Some(judgement)))
    }

    /// By which moment the clock goes that deadlines are taken from.
    #[must_use]
    pub fn clock_anchor(&self) -> Option<ClockAnchor> {
        self.memory().clock_anchor.clone()
    }

    /// Records that moment.
    ///
    /// # Errors
    /// [`StateError::Io`]; the one before is kept then.
    pub fn keep_clock_anchor(&self, anchor: ClockAnchor) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        replace_json(self.files.as_ref(), CLOCK, &ClockFile::from(&anchor))?;
        self.memory().clock_anchor = Some(anchor);
        Ok(())
    }

    /// Records that a disk is about to be made.
    ///
    /// # Errors
    /// [`StateError::Io`]; the disk must not be made then.
    pub fn prepare(&self, preparation: Preparation) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        let mut preparations = self.preparations();
        preparations.insert(preparation.vm, preparation);
        self.write_preparations(preparations)
    }

    /// Drops preparations that something else has taken the place of. Only from memory: the file follows with the
    /// next preparation, or when the tombstone goes; until then an agent that reads it comes to the same conclusion.
    pub fn settle_preparations(&self, vms: &[VmId]) {
        let mut memory = self.memory();
        for vm in vms {
            memory.preparations.remove(vm);
        }
    }

    /// Records that a VM is gone; a higher generation replaces a lower one.
    ///
    /// # Errors
    /// [`StateError::Io`]; what is left of the VM must stay then.
    pub fn bury(&self, tombstone: Tombstone) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        let vm = tombstone.vm;
        let mut next = self.memory().clone();
        // The VM's own task may record its end after a later wish for it was answered: what was answered stays answered.
        let known = next.tombstones.get(&vm);
        let (generation, epoch) = known.map_or((tombstone.generation, tombstone.epoch), |known| {
            (known.generation.max(tombstone.generation), known.epoch.max(tombstone.epoch))
        });
        next.tombstones.insert(vm, Tombstone { generation, epoch, ..tombstone });
        next.preparations.remove(&vm);
        self.write_tombstones(&next)?;
        *self.memory() = next;
        Ok(())
    }

    /// Stops reporting a VM that is gone.
    ///
    /// # Errors
    /// [`StateError::Io`]; it goes on being reported then.
    pub fn forget(&self, vm: VmId) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        if self.memory().preparations_written.contains(&vm) {
            // Without its tombstone, what the file says of its preparation would be taken for true.
            let mut preparations = self.preparations();
            preparations.remove(&vm);
            self.write_preparations(preparations)?;
        }
        let mut next = self.memory().clone();
        let Some(tombstone) = next.tombstones.remove(&vm) else { return Ok(()) };
        next.forgotten.push((vm, tombstone.generation));
        let excess = next.forgotten.len().saturating_sub(FORGOTTEN_MAX);
        next.forgotten.drain(..excess);
        self.write_tombstones(&next)?;
        *self.memory() = next;
        Ok(())
    }

    /// Keeps the end of a VM's console output, and drops the oldest ones of others.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn save_console(&self, vm: VmId, output: &[u8]) -> Result<(), StateError> {
        let _writing = lock(&self.writing);
        let Some(directory) = &self.consoles else { return Ok(()) };
        let length_max = usize::try_from(CONSOLE_LENGTH_MAX).unwrap_or(usize::MAX);
        let start = output.len().saturating_sub(length_max);
        let end = output.get(start..).unwrap_or_default();
        durable_file::write(&directory.join(console_name(vm)), end, PRIVATE_FILE)?;
        drop_oldest(directory, CONSOLES_MAX)
    }

    /// The end of what was kept of a VM's console output; none when nothing was.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn console(&self, vm: VmId, length_max: u32) -> Result<Option<Vec<u8>>, StateError> {
        let Some(directory) = &self.consoles else { return Ok(None) };
        let path = directory.join(console_name(vm));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("opening", &path)(source)),
        };
        let wanted = u64::from(length_max.min(CONSOLE_LENGTH_MAX));
        let mut read = || -> io::Result<Vec<u8>> {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
            let mut output = Vec::new();
            (&mut file).take(wanted).read_to_end(&mut output)?;
            Ok(output)
        };
        read().map(Some).map_err(io_error("reading", &path))
    }

    fn write_preparations(&self, preparations: BTreeMap<VmId, Preparation>) -> Result<(), StateError> {
        let file = PreparationsFile::new(preparations.values().map(PreparationRecord::from).collect());
        replace_json(self.files.as_ref(), PREPARATIONS, &file)?;
        let mut memory = self.memory();
        memory.preparations_written = preparations.keys().copied().collect();
        memory.preparations = preparations;
        Ok(())
    }

    fn write_tombstones(&self, memory: &Memory) -> Result<(), StateError> {
        let tombstones = memory.tombstones.values().map(TombstoneRecord::from).collect();
        let file = TombstonesFile::new(tombstones, memory.forgotten.clone());
        replace_json(self.files.as_ref(), TOMBSTONES, &file)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

const TOMBSTONES: &str = "tombstones.json";
const PREPARATIONS: &str = "preparations.json";
const CHECKPOINT: &str = "checkpoint.json";
const CLOCK: &str = "clock.json";

fn console_name(vm: VmId) -> String {
    format!("{vm}.log")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is replaced in one assignment, so a panic elsewhere cannot have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path, source }
}

fn read_memory(files: &dyn StateFiles) -> Result<Memory, StateError> {
    let mut memory = Memory::default();
    if let Some(text) = files.read("epoch")? {
        let epoch = text.trim().parse().map_err(|error| damaged(files, "epoch", Damage::Number(error)))?;
        memory.epoch = Epoch(epoch);
    }
    if let Some(file) = read_json::<TombstonesFile>(files, TOMBSTONES)? {
        let (tombstones, forgotten) =
            file.into_parts().map_err(|error| damaged(files, TOMBSTONES, Damage::Record(error)))?;
        memory.tombstones = tombstones.into_iter().map(|tombstone| (tombstone.vm, tombstone)).collect();
        memory.forgotten = forgotten;
    }
    if let Some(file) = read_json::<CheckpointFile>(files, CHECKPOINT)? {
        let checkpoint =
            file.into_checkpoint().map_err(|error| damaged(files, CHECKPOINT, Damage::Record(error)))?;
        memory.checkpoint = Some(checkpoint);
    }
    if let Some(file) = read_json::<ClockFile>(files, CLOCK)? {
        let anchor = file.into_anchor().map_err(|error| damaged(files, CLOCK, Damage::Record(error)))?;
        memory.clock_anchor = Some(anchor);
    }
    if let Some(file) = read_json::<PreparationsFile>(files, PREPARATIONS)? {
        let preparations =
            file.into_parts().map_err(|error| damaged(files, PREPARATIONS, Damage::Record(error)))?;
        memory.preparations_written = preparations.iter().map(|preparation| preparation.vm).collect();
        memory.preparations =
            preparations.into_iter().map(|preparation| (preparation.vm, preparation)).collect();
    }
    Ok(memory)
}

fn read_json<T: DeserializeOwned>(files: &dyn StateFiles, name: &str) -> Result<Option<T>, StateError> {
    let Some(text) = files.read(name)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| damaged(files, name, Damage::Json(error)))
}

fn damaged(files: &dyn StateFiles, name: &str, source: Damage) -> StateError {
    StateError::Damaged { path: files.place().join(name), source }
}

fn replace_json<T: Serialize>(files: &dyn StateFiles, name: &str, value: &T) -> Result<(), StateError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| io_error("encoding", &files.place().join(name))(io::Error::other(error)))?;
    Ok(files.replace(name, &bytes)?)
}

/// Removes the oldest files but `keep`.
fn drop_oldest(directory: &Path, keep: usize) -> Result<(), StateError> {
    let list = || -> io::Result<Vec<(std::time::SystemTime, PathBuf)>> {
        fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.metadata()?.modified()?, entry.path()))
            })
            .collect()
    };
    let mut files = list().map_err(io_error("listing", directory))?;
    files.sort();
    let excess = files.len().saturating_sub(keep);
    for (_, path) in files.into_iter().take(excess) {
        fs::remove_file(&path).map_err(io_error("removing", &path))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "state_directory_tests.rs"]
mod tests;
