//! Owns how much of anything fits into a message, and how long a message of each kind may be.
//!
//! Counts and lengths that are part of wire types are frozen with their version: a larger one is a new version.

use std::time::Duration;

use crate::ids::NAME_LENGTH_MAX as IDS_NAME_LENGTH_MAX;
use crate::text::TEXT_LENGTH_MAX as PLAIN_TEXT_LENGTH_MAX;

/// A name, as everywhere.
pub const NAME_LENGTH_MAX: usize = IDS_NAME_LENGTH_MAX;
/// Free text with the mark that shows it was cut.
pub const TEXT_LENGTH_MAX: usize = PLAIN_TEXT_LENGTH_MAX + '…'.len_utf8();
/// A PEM certificate or signing request: ours have under 1 KiB.
pub const PEM_LENGTH_MAX: usize = 8 << 10;
/// QEMU's longest processor name has 25 characters.
pub const CPU_MODEL_LENGTH_MAX: usize = 64;
/// 16 GiB, the largest huge page of any processor that KVM runs on.
pub const HUGE_PAGE_MEBIBYTES_MAX: u32 = 16 << 10;
/// VMs of one host in one report, gone ones included: ten times what large hosts run.
pub const VMS_MAX: usize = 2048;
/// Domains of others on one host; what is beyond is not ours to report.
pub const FOREIGN_DOMAINS_MAX: usize = 1024;
/// The namespace of a system that manages a domain: those known have under fifty characters.
pub const MANAGER_LENGTH_MAX: usize = 128;
/// Pools of one report: a realm has three.
pub const POOLS_MAX: usize = 16;
/// VMs described in one answer: with the longest origins it stays within a reply's frame.
pub const DESCRIPTIONS_MAX: usize = 64;
/// Commands for a report that one report answers: an agent works on 16 slow commands at a time, and what is beyond is
/// answered by the next report.
pub const REPORT_ANSWERS_MAX: usize = 64;
/// Volumes of one pool in one answer.
pub const VOLUMES_MAX: usize = 8192;
/// Console output in one answer.
pub const CONSOLE_LENGTH_MAX: usize = 1 << 20;
/// Lines of a journal in one answer: at their longest they stay within a reply's frame.
pub const JOURNAL_LINES_MAX: usize = crate::journal::JOURNAL_LINES_MAX as usize;
/// A place in a journal.
pub const JOURNAL_CURSOR_LENGTH_MAX: usize = crate::journal::CURSOR_LENGTH_MAX;
/// Fields of one line that are told: whom it is about, and which message it is.
pub const JOURNAL_FIELDS_MAX: usize = 8;
/// A field's name or value: the longest of ours are names and ids.
pub const JOURNAL_FIELD_LENGTH_MAX: usize = 128;
/// An address as `HOST:PORT`.
pub const ADDRESS_LENGTH_MAX: usize = 262;
/// The longest duration that makes sense in a message.
pub const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest interval between two polls or samples: below it a host would do little else.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The shortest lease that a host takes: below it an ordinary pause would end its VMs.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The shortest time of a watchdog: drivers count in seconds.
pub const WATCHDOG_MIN: Duration = Duration::from_secs(1);

/// `Hello` and `Welcome`: an inventory of texts and lists, 150 KiB at their limits.
pub const HANDSHAKE_FRAME_MAX: usize = 256 << 10;
/// A command: a VM's definition at most.
pub const COMMAND_FRAME_MAX: usize = 256 << 10;
/// A reply: the console's end or a pool's volumes.
pub const REPLY_FRAME_MAX: usize = 4 << 20;
/// An event: a full report.
pub const EVENT_FRAME_MAX: usize = 4 << 20;
/// A sample: about 60 bytes a VM.
pub const SAMPLE_FRAME_MAX: usize = 512 << 10;
/// A join request or answer: three PEM texts.
pub const JOIN_FRAME_MAX: usize = 32 << 10;
