//! Owns what is remembered of all commands that were ever said, by somebody who listens to the network: to say one again
//! late, and to see that no host obeys a coordinator or a wish that has been succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::ids::{Epoch, Generation, HostId, OperationId, VmId};
use reeve_common::protocol::{Command, CommandBody, Reply, ReplyBody};
use reeve_common::vm::DesiredVm;
use tokio::sync::mpsc;

use super::chance::Chance;
use super::trace::{Place, Trace, violated};

#[derive(Default)]
struct Heard {
    commands: BTreeMap<HostId, Vec<Command>>,
    by_operation: BTreeMap<OperationId, (Epoch, Option<Wish>)>,
    highest_epoch: BTreeMap<HostId, Epoch>,
    highest_generation: BTreeMap<(HostId, VmId), Generation>,
    forgotten: BTreeSet<(HostId, VmId)>,
    ways_in: BTreeMap<HostId, mpsc::Sender<Command>>,
}

/// What a command says of a VM.
#[derive(Clone, Copy)]
struct Wish {
    vm: VmId,
    generation: Generation,
    kind: WishKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WishKind {
    /// Something is to be there.
    There,
    /// Nothing is to be there.
    Gone,
    /// What is gone need not be remembered.
    Forgotten,
}

/// Who listens.
pub struct Obedience {
    heard: Mutex<Heard>,
    trace: Trace,
}

impl Obedience {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(trace: Trace) -> Arc<Self> {
        Arc::new(Self { heard: Mutex::default(), trace })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command is said to a host.
    pub fn hear_command(&self, host: HostId, command: &Command) {
        let wish = match &command.body {
            CommandBody::EnsureVm { vm, generation, desired: DesiredVm::Stopped { .. } } => {
                Some(Wish { vm: *vm, generation: *generation, kind: WishKind::Gone })
            }
            CommandBody::EnsureVm { vm, generation, .. } => {
                Some(Wish { vm: *vm, generation: *generation, kind: WishKind::There })
            }
            CommandBody::ForgetVm { vm, generation } => {
                Some(Wish { vm: *vm, generation: *generation, kind: WishKind::Forgotten })
            }
            _ => None,
        };
        let mut heard = self.heard();
        heard.by_operation.insert(command.operation, (command.epoch, wish));
        heard.commands.entry(host).or_default().push(command.clone());
    }

    /// A host can be spoken to this way from now on.
    pub fn learn_way_in(&self, host: HostId, way: mpsc::Sender<Command>) {
        self.heard().ways_in.insert(host, way);
    }

    /// Says to a host once more some of what it was told before.
    pub fn repeat(&self, host: HostId, chance: &mut Chance) {
        for _ in 0..chance.within(1..=4) {
            self.repeat_one(host, chance);
        }
    }

    fn repeat_one(&self, host: HostId, chance: &mut Chance) {
        let heard = self.heard();
        let Some(command) = heard.commands.get(&host).and_then(|commands| chance.pick(commands)) else {
            return;
        };
        let words = format!("of epoch {}", command.epoch);
        if heard.ways_in.get(&host).is_some_and(|way| way.try_send(command.clone()).is_ok()) {
            let vm =
                heard.by_operation.get(&command.operation).and_then(|(_, wish)| *wish).map(|wish| wish.vm);
            match vm {
                Some(vm) => self.trace.tell_vm(Place::Host(host), "hears an old wish again for", vm, words),
                None => self.trace.tell(Place::Host(host), "hears an old command again", words),
            }
        }
    }

    /// A host answers.
    pub fn hear_reply(&self, host: HostId, reply: &Reply) {
        if reply.outcome != Ok(ReplyBody::Accepted) {
            return;
        }
        let mut heard = self.heard();
        let Some((epoch, wish)) = heard.by_operation.get(&reply.operation).copied() else { return };
        let highest = heard.highest_epoch.entry(host).or_default();
        if epoch < *highest {
            let how = format!("host {host} obeyed epoch {epoch} after epoch {highest}");
            violated(&self.trace, "no coordinator is obeyed that was succeeded", how);
        }
        *highest = epoch.max(*highest);
        if let Some(Wish { vm, generation, kind }) = wish {
            if kind == WishKind::Forgotten {
                heard.forgotten.insert((host, vm));
                return;
            }
            // That nothing be there of what is forgotten is so already, whoever wished it when.
            if kind == WishKind::Gone && heard.forgotten.contains(&(host, vm)) {
                return;
            }
            let highest = heard.highest_generation.entry((host, vm)).or_default();
            if generation < *highest {
                let how = format!("host {host} obeyed generation {generation} after {highest} for VM {vm}");
                violated(&self.trace, "no wish is obeyed that was succeeded", how);
            }
            *highest = generation.max(*highest);
        }
    }
}
