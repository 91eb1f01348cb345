//! What can be done to a log behind the coordinator's back, each done to a real one: every deed is found, and the finding
//! says which and where. Those who do it are clever: where it helps them they make hashes and heads anew, too.

use std::sync::Arc;

use reeve_common::checkpoint::{Checkpoint, LogHash, LogHead, SignedCheckpoint};
use reeve_common::clock::Timestamp;
use reeve_common::ids::Epoch;

use super::super::event::tests::event;
use super::super::{CHECKPOINTS, CheckpointRecord, page, read_log_head, record_at, verify};
use super::*;
use crate::pki::CheckpointSigner;
use crate::records::Record;
use crate::store::{Batch, Key, MemoryStore, Precondition, Store, head_key, read_link};

fn signer(number: u8) -> CheckpointSigner {
    CheckpointSigner::from_seed(&[number; 32]).unwrap()
}

const AT: Timestamp = Timestamp(1_700_000_000_000);

/// A log in a store, as the coordinator writes it.
struct Log {
    store: MemoryStore,
}

impl Log {
    async fn of(records: u64) -> Self {
        let log = Self { store: MemoryStore::new() };
        log.grow(records).await;
        log
    }

    async fn grow(&self, records: u64) {
        let from = self.head().await.size;
        for number in from + 1..=from + records {
            let entry = event(&format!("hosts/node-{number}")).entry().unwrap();
            self.store.apply(Batch::new().append(AUDIT, entry)).await.unwrap();
        }
    }

    async fn head(&self) -> LogHead {
        read_log_head(&self.store).await.unwrap()
    }

    async fn checkpoint(&self) -> SignedCheckpoint {
        self.checkpoint_by(&signer(1)).await
    }

    async fn checkpoint_by(&self, signer: &CheckpointSigner) -> SignedCheckpoint {
        let signed = signer.sign(Checkpoint { head: self.head().await, at: AT, epoch: Epoch(3) });
        self.put_checkpoint(signed.head().size, signed).await;
        signed
    }

    async fn put_checkpoint(&self, place: u64, signed: SignedCheckpoint) {
        let text = CheckpointRecord::from(signed).encode().unwrap();
        self.store.apply(Batch::new().put(CHECKPOINTS.key(&place), Precondition::Any, text)).await.unwrap();
    }

    async fn text(&self, number: u64) -> Arc<str> {
        self.store.get(&link_key(AUDIT, number)).await.unwrap().unwrap().value
    }

    async fn put(&self, key: Key, text: impl Into<Arc<str>>) {
        self.store.apply(Batch::new().put(key, Precondition::Any, text)).await.unwrap();
    }

    async fn put_text(&self, number: u64, text: impl Into<Arc<str>>) {
        self.put(link_key(AUDIT, number), text).await;
    }

    async fn remove(&self, number: u64) {
        let key = link_key(AUDIT, number);
        self.store.apply(Batch::new().delete(key, Precondition::Any)).await.unwrap();
    }

    async fn edit(&self, number: u64) {
        let edited = self.text(number).await.replace("jane", "mary");
        self.put_text(number, edited).await;
    }

    async fn set_head(&self, head: LogHead) {
        let text = crate::store::encode("log-head", 1, &head).unwrap();
        self.put(head_key(AUDIT), text).await;
    }

    /// Makes every hash after a record anew, and the head: what whoever can write the store can do.
    async fn forge_after(&self, number: u64) {
        let records = self.store.list(AUDIT.prefix()).await.unwrap();
        let mut previous = LogHash::BEFORE_THE_FIRST;
        let mut place = 0;
        for stored in records {
            place += 1;
            let link = read_link(&stored).unwrap();
            let mut text = stored.value.to_string();
            if place > number {
                text = text
                    .replace(&link.previous.to_string(), &previous.to_string())
                    .replace(&format!("\"sequence\":{},", link.sequence), &format!("\"sequence\":{place},"));
                self.put_text(place, text.as_str()).await;
            }
            previous = LogHash::of(&text);
        }
        self.set_head(LogHead { size: place, hash: previous }).await;
    }

    async fn findings(&self) -> Vec<Finding> {
        verify(&self.store, Some(signer(1).key())).await.unwrap().findings
    }

    async fn told(&self) -> Vec<String> {
        self.findings().await.iter().map(ToString::to_string).collect()
    }

    async fn witness(&self, held: &SignedCheckpoint) -> Option<Finding> {
        let record = record_at(&self.store, held.head().size).await.unwrap().map(|link| link.hash);
        contradiction("node-1", held, signer(1).key(), self.head().await, record)
    }
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_whole() {
    let log = Log::of(0).await;
    assert!(log.findings().await.is_empty());
    log.grow(700).await;
    log.checkpoint().await;
    log.grow(3).await;
    let report = verify(&log.store, Some(signer(1).key())).await.unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!((report.records, report.checkpoints, report.head), (703, 1, log.head().await));
    assert_eq!(report.latest.unwrap().head().size, 700);
    let last = page(&log.store, 703, 5).await.unwrap();
    assert_eq!((last.len(), last[0].event.clone()), (1, event("hosts/node-703")));
}

#[tokio::test]
async fn an_edited_record_is_found() {
    let log = Log::of(9).await;
    log.edit(4).await;
    assert_eq!(log.findings().await, [Finding::Broken { sequence: 5 }]);
    assert_eq!(
        log.told().await,
        ["record 5 does not follow record 4 as it is now: one of the two was edited, exchanged or put in"]
    );
    let log = Log::of(9).await;
    log.edit(9).await;
    assert_eq!(log.findings().await, [Finding::HeadHash { sequence: 9 }]);
    let log = Log::of(9).await;
    log.put_text(4, "{}").await;
    let told = log.told().await;
    assert!(told[0].contains("audit/00000000000000000004 cannot be read"), "{told:?}");
}

#[tokio::test]
async fn an_edited_record_with_all_hashes_made_anew_is_found_by_the_next_checkpoint() {
    let log = Log::of(6).await;
    log.checkpoint().await;
    log.grow(3).await;
    log.edit(4).await;
    log.forge_after(4).await;
    assert_eq!(log.findings().await, [Finding::Rewritten { size: 6, at: AT }]);
    assert_eq!(
        log.told().await,
        [
            "record 6 is not the one that the checkpoint of 2023-11-14T22:13:20Z signs: the log was rewritten at or before it"
        ]
    );
}

#[tokio::test]
async fn a_removed_record_is_found() {
    let log = Log::of(9).await;
    log.remove(4).await;
    assert_eq!(log.told().await, ["record 4 is missing before record 5: removed, or never there"]);
    log.remove(5).await;
    assert_eq!(log.told().await, ["records 4 to 5 are missing before record 6: removed, or never there"]);
    // Those after it moved up, everything made anew.
    let log = Log::of(9).await;
    log.checkpoint().await;
    for number in 4..9 {
        let next = log.text(number + 1).await;
        log.put_text(number, next).await;
    }
    log.remove(9).await;
    log.forge_after(3).await;
    assert_eq!(log.findings().await, [Finding::CutBelowCheckpoint { size: 9, at: AT, found: 8 }]);
    log.grow(5).await;
    assert_eq!(log.findings().await, [Finding::Rewritten { size: 9, at: AT }]);
}

#[tokio::test]
async fn exchanged_records_are_found() {
    let log = Log::of(9).await;
    let (fourth, seventh) = (log.text(4).await, log.text(7).await);
    log.put_text(4, seventh).await;
    log.put_text(7, fourth).await;
    let findings = log.findings().await;
    for finding in [
        Finding::Misplaced { place: 4, sequence: 7 },
        Finding::Broken { sequence: 5 },
        Finding::Misplaced { place: 7, sequence: 4 },
        Finding::Broken { sequence: 8 },
    ] {
        assert!(findings.contains(&finding), "{finding}: {findings:?}");
    }
    // With the numbers exchanged as well.
    let renumbered = |text: &str, from: u64, to: u64| {
        text.replace(&format!("\"sequence\":{from},"), &format!("\"sequence\":{to},"))
    };
    log.put_text(4, renumbered(&log.text(4).await, 7, 4)).await;
    log.put_text(7, renumbered(&log.text(7).await, 4, 7)).await;
    let broken: Vec<Finding> = [4, 5, 7, 8].map(|sequence| Finding::Broken { sequence }).into();
    assert_eq!(log.findings().await, broken);
}

#[tokio::test]
async fn a_record_that_was_put_in_is_found() {
    let log = Log::of(9).await;
    log.checkpoint().await;
    for number in (4..=9).rev() {
        let text = log.text(number).await;
        log.put_text(number + 1, text).await;
    }
    assert!(log.findings().await.len() > 3);
    log.forge_after(3).await;
    assert_eq!(log.findings().await, [Finding::Rewritten { size: 9, at: AT }]);
    let log = Log::of(9).await;
    let last = log.text(9).await;
    log.put_text(10, last.clone()).await;
    log.put_text(11, last).await;
    assert!(log.findings().await.contains(&Finding::BeyondHead { size: 9, sequence: 11 }));
}

#[tokio::test]
async fn a_log_that_was_cut_at_its_end_is_found() {
    let log = Log::of(9).await;
    log.remove(9).await;
    log.remove(8).await;
    assert_eq!(log.findings().await, [Finding::Truncated { size: 9, found: 7 }]);
    // The head set back as well: only what was signed knows.
    let log = Log::of(9).await;
    let held = log.checkpoint().await;
    log.remove(9).await;
    log.remove(8).await;
    log.forge_after(7).await;
    assert_eq!(log.findings().await, [Finding::CutBelowCheckpoint { size: 9, at: AT, found: 7 }]);
    // The checkpoint removed as well: only the witness knows.
    let checkpoint = CHECKPOINTS.key(&9_u64);
    log.store.apply(Batch::new().delete(checkpoint, Precondition::Any)).await.unwrap();
    assert!(log.findings().await.is_empty());
    let finding = log.witness(&held).await.unwrap();
    assert_eq!(
        finding.to_string(),
        "host node-1 keeps a checkpoint of 9 records, signed at 2023-11-14T22:13:20Z, and the log here has 7: it was cut, or restored from an old backup"
    );
    // All of it removed.
    let log = Log::of(3).await;
    log.store.apply(Batch::new().delete(head_key(AUDIT), Precondition::Any)).await.unwrap();
    assert_eq!(log.findings().await, [Finding::BeyondHead { size: 0, sequence: 1 }]);
}

#[tokio::test]
async fn a_checkpoint_signed_by_somebody_else_is_found() {
    let log = Log::of(6).await;
    log.edit(4).await;
    log.forge_after(4).await;
    log.checkpoint_by(&signer(2)).await;
    let findings = log.findings().await;
    assert_eq!(findings, [Finding::ForeignKey { size: 6, found: signer(2).key() }]);
    assert!(findings[0].to_string().contains("signed by another key"), "{}", findings[0]);
    // Theirs under our name.
    let mut renamed = log.checkpoint_by(&signer(2)).await;
    renamed.key = signer(1).key();
    log.put_checkpoint(6, renamed).await;
    assert_eq!(log.findings().await, [Finding::Signature { size: 6 }]);
    // An old one of ours in the place of a later one.
    let log = Log::of(6).await;
    let old = log.checkpoint().await;
    log.grow(3).await;
    log.put_checkpoint(9, old).await;
    assert_eq!(log.findings().await, [Finding::MisplacedCheckpoint { place: 9, size: 6 }]);
    // The key is not known to whoever verifies: the signature by itself must be right.
    assert!(verify(&log.store, None).await.unwrap().findings.len() == 1);
    assert_eq!(
        log.witness(&renamed).await,
        Some(Finding::WitnessForeign { host: "node-1".to_owned(), size: 6 })
    );
}

#[tokio::test]
async fn an_old_backup_that_goes_on_as_another_log_is_found_by_its_witness() {
    let log = Log::of(6).await;
    let backup: Vec<_> = log.store.list("").await.unwrap();
    log.grow(3).await;
    let held = log.checkpoint().await;
    assert_eq!(log.witness(&held).await, None);
    let restored = Log { store: MemoryStore::new() };
    for stored in backup {
        restored.put(stored.key, stored.value).await;
    }
    assert!(restored.findings().await.is_empty(), "by itself an old backup is whole");
    let ahead = restored.witness(&held).await.unwrap();
    assert!(matches!(ahead, Finding::WitnessAhead { size: 9, found: 6, .. }), "{ahead}");
    // It goes on, beyond the size that the witness knows.
    let other = event("hosts/another").entry().unwrap();
    restored.store.apply(Batch::new().append(AUDIT, other)).await.unwrap();
    restored.grow(5).await;
    assert!(restored.findings().await.is_empty());
    let fork = restored.witness(&held).await.unwrap();
    assert_eq!(
        fork.to_string(),
        "host node-1 keeps a checkpoint signed at 2023-11-14T22:13:20Z that record 9 here does not match: the log was rewritten or goes on from an old backup"
    );
}

#[tokio::test]
async fn there_is_no_end_of_faults_in_a_report() {
    let log = Log::of(150).await;
    for number in 1..=150 {
        log.put_text(number, "{}").await;
    }
    let report = verify(&log.store, None).await.unwrap();
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert!(report.further >= 50);
}

#[tokio::test]
async fn records_that_come_while_it_is_proved_are_no_fault() {
    let log = Arc::new(Log::of(50).await);
    log.checkpoint().await;
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for _ in 0..200 {
                log.grow(1).await;
                log.checkpoint().await;
                tokio::task::yield_now().await;
            }
        })
    };
    while !writer.is_finished() {
        assert_eq!(log.findings().await, []);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
