//! Owns the watch over the folders in which libvirt saves its domains' definitions. libvirt writes one anew whenever it
//! changes, also where it sends no event, and the kernel tells of which domain.
//!
//! Must not: read a definition, or take a hint for more than that: libvirt is asked what is true. A folder that cannot be
//! watched means fewer hints and is no error.
//!
//! ```text
//!                  watch_anew: it is there and may be read
//!   ┌───────────┐ ─────────────────────────────────────────▶ ┌─────────┐
//!   │ unwatched │                                            │ watched │ ── NAME.xml was moved here ──▶ a hint
//!   └───────────┘ ◀───────────────────────────────────────── └─────────┘
//!                  it was removed, moved, unmounted: "more"
//! ```

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::definition_folders::{DefinitionFolders, UserFolders};

/// libvirt writes `NAME.xml.new` and moves it over `NAME.xml`; nothing else in the folder is worth waking up for.
const SAVED: AddWatchFlags = AddWatchFlags::IN_MOVED_TO;
/// What ends a watch: the last two the kernel tells unasked.
const LOST: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_UNMOUNT)
    .union(AddWatchFlags::IN_IGNORED);
/// Domains that are told by name at once. More than run on a large host are not remembered one by one: a look at all is
/// cheaper than that many questions.
const DOMAINS_MAX: usize = 256;
/// Reads at once, of 4 KiB each, some hundred events. What is left stays with the kernel, which bounds it and says when it
/// has lost something.
const READS_MAX: usize = 64;

/// What was written since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The names of domains.
    pub(super) domains: BTreeSet<String>,
    /// There may be more than these: hints were lost.
    pub(super) more: bool,
}

/// Watches the folders that are known.
#[derive(Debug)]
pub(super) struct SavedDefinitions {
    kernel: Option<Inotify>,
    folders: Vec<Folder>,
    /// Whether both are known, of what runs and of what is defined.
    all_known: bool,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    watch: Option<WatchDescriptor>,
    /// Why it could not be watched the last time; said when it changes.
    trouble: Option<Errno>,
}

/// The folders of the libvirt at this URI; with a session, that of the user who asks.
pub(super) fn usual_folders(uri: &str) -> DefinitionFolders {
    let folder = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    DefinitionFolders::of(uri, &UserFolders { runtime: folder("XDG_RUNTIME_DIR"), configuration })
}

impl SavedDefinitions {
    /// Knows the folders, and watches none yet.
    pub(super) fn new(folders: DefinitionFolders) -> Self {
        let folders = [folders.status, folders.persistent];
        let all_known = folders.iter().all(Option::is_some);
        let unwatched = |path| Folder { path, watch: None, trouble: None };
        Self { kernel: None, folders: folders.into_iter().flatten().map(unwatched).collect(), all_known }
    }

    /// Whether every change of a definition is told.
    pub(super) fn is_complete(&self) -> bool {
        self.all_known && self.folders.iter().all(|folder| folder.watch.is_some())
    }

    /// Watches what is there now. A folder that was replaced by another of its name is found out, too: the kernel knows
    /// a folder that it watches already.
    pub(super) fn watch_anew(&mut self) {
        if self.folders.is_empty() {
            return;
        }
        if self.kernel.is_none() {
            self.kernel = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
                .inspect_err(|error| log::debug!("libvirt's folders cannot be watched: {error}"))
                .ok();
        }
        let Some(kernel) = &self.kernel else { return };
        for folder in &mut self.folders {
            folder.watch_anew(kernel);
        }
    }

    /// Waits for what is written, at most so long, and returns all that was.
    pub(super) fn wait(&mut self, patience: Duration) -> Written {
        let Some(kernel) = &self.kernel else {
            std::thread::sleep(patience);
            return Written::default();
        };
        let mut wanted = [PollFd::new(kernel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, whole_milliseconds(patience)) {
            Ok(0) | Err(Errno::EINTR) => Written::default(),
            Ok(_) => self.read(),
            Err(_) => {
                // It would fail again at once.
                std::thread::sleep(patience);
                self.give_up()
            }
        }
    }

    fn read(&mut self) -> Written {
        let mut written = Written::default();
        for _ in 0..READS_MAX {
            let Some(kernel) = &self.kernel else { break };
            match kernel.read_events() {
                Ok(events) => {
                    for event in &events {
                        note(event, kernel, &mut self.folders, &mut written);
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return self.give_up(),
            }
        }
        written
    }

    /// The kernel does not serve this watch any more; the next one is made anew.
    fn give_up(&mut self) -> Written {
        self.kernel = None;
        for folder in &mut self.folders {
            folder.watch = None;
        }
        Written { more: true, ..Written::default() }
    }
}

impl Folder {
    fn watch_anew(&mut self, kernel: &Inotify) {
        let wanted =
            SAVED | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
        let watched = kernel.add_watch(&self.path, wanted);
        let now = watched.ok();
        if self.watch != now {
            self.forget(kernel);
        }
        self.watch = now;
        let trouble = watched.err();
        if self.trouble != trouble {
            self.trouble = trouble;
            self.say();
        }
    }

    /// Ends the watch over what was at this path.
    fn forget(&mut self, kernel: &Inotify) {
        if let Some(watch) = self.watch.take() {
            // It has ended by itself if the folder is gone.
            let _ = kernel.rm_watch(watch);
        }
    }

    fn say(&self) {
        let path = self.path.display();
        match self.trouble {
            None => log::debug!("libvirt's folder {path} is watched"),
            Some(Errno::ENOENT) => log::debug!("libvirt's folder {path} is not there yet"),
            Some(error) => log::info!(
                "libvirt's folder {path} cannot be watched, so a domain resized by hand may be noticed later: {error}"
            ),
        }
    }
}

/// Takes up what the kernel tells.
fn note(event: &InotifyEvent, kernel: &Inotify, folders: &mut [Folder], written: &mut Written) {
    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        written.more = true;
        return;
    }
    // Of a watch that was ended here, old news may follow.
    let Some(folder) = folders.iter_mut().find(|folder| folder.watch == Some(event.wd)) else { return };
    if event.mask.intersects(LOST) {
        folder.forget(kernel);
        written.more = true;
    } else if let Some(domain) = event.name.as_deref().and_then(domain_of) {
        if written.domains.len() < DOMAINS_MAX {
            written.domains.insert(domain.to_owned());
        } else if !written.domains.contains(domain) {
            written.more = true;
        }
    }
}

/// The domain whose definition a file of this name is, if it is one.
fn domain_of(file: &OsStr) -> Option<&str> {
    file.to_str()?.strip_suffix(".xml").filter(|name| !name.is_empty())
}

/// The kernel counts milliseconds: rounded up, so that what is waited for has come when the wait is over.
fn whole_milliseconds(patience: Duration) -> PollTimeout {
    let milliseconds = patience.as_micros().div_ceil(1000);
    i32::try_from(milliseconds)
        .ok()
        .and_then(|count| PollTimeout::try_from(count).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
#[path = "saved_definitions_tests.rs"]
mod tests;
