//! Owns the conversation with QEMU's guest agent: asking for a sign of life, and asking for a shutdown.
//!
//! Must not: believe the guest. Its answers are a stranger's bytes: checked strictly, and everything else is no answer.

use std::time::Duration;

use reeve_common::ids::VmId;
use serde_json::Value;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use super::domains;
use super::failure::{self, Failure, not_found, words};

/// The longest answer to a ping that is looked at; a right one has 13 bytes.
const PING_ANSWER_LENGTH_MAX: usize = 1024;
/// libvirt counts whole seconds.
const PATIENCE_MIN_SECONDS: u64 = 1;
/// More would keep the guests' lane from the others.
const PATIENCE_MAX_SECONDS: u64 = 10;
/// How long the agent is listened to after a shutdown was asked of it. It says nothing when it obeys.
const SHUTDOWN_PATIENCE_SECONDS: i32 = 2;

/// How long libvirt is told to wait.
pub(super) fn whole_seconds(patience: Duration) -> u64 {
    patience.as_secs().clamp(PATIENCE_MIN_SECONDS, PATIENCE_MAX_SECONDS)
}

pub(super) fn ping(connect: &Connect, vm: VmId, patience: Duration) -> Result<bool, Failure> {
    let domain = domains::lookup(connect, vm)?.ok_or_else(|| not_found(format!("the domain {vm}")))?;
    let seconds = i32::try_from(whole_seconds(patience)).unwrap_or(1);
    match domain.qemu_agent_command(r#"{"execute":"guest-ping"}"#, seconds, 0).map_err(Failure::from) {
        Ok(answer) => Ok(is_pong(&answer)),
        Err(error) if error.is(ErrorNumber::NoDomain) => Err(not_found(format!("the domain {vm}"))),
        Err(Failure::Libvirt(error)) if failure::is_alive(connect) => {
            log::debug!(REEVE_VM:% = vm; "no sign of life from the guest: {}", words(&error));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Exactly `{"return": {}}`.
fn is_pong(answer: &str) -> bool {
    if answer.len() > PING_ANSWER_LENGTH_MAX {
        return false;
    }
    let Ok(Value::Object(answer)) = serde_json::from_str(answer) else { return false };
    let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    answer.len() == 1 && answer.get("return").is_some_and(empty)
}

/// Presses the power button, and asks the guest agent as well: some guests listen only to one of them.
pub(super) fn shut_down(connect: &Connect, vm: VmId) -> Result<(), Failure> {
    let Some((domain, _)) = domains::ours(connect, vm, "asking the guest to shut down")? else {
        return Ok(());
    };
    if !domain.is_active()? {
        return Ok(());
    }
    let button = domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
    let agent =
        domain.qemu_agent_command(r#"{"execute":"guest-shutdown"}"#, SHUTDOWN_PATIENCE_SECONDS, 0).err();
    match button {
        Ok(()) => Ok(()),
        Err(_) if !domain.is_active().unwrap_or(true) => Ok(()),
        // The agent was asked and gave no answer, which is how it says yes.
        Err(_) if agent.is_some_and(|error| Failure::from(error).is(ErrorNumber::AgentUnresponsive)) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_right_answer_is_one() {
        assert!(is_pong(r#"{"return":{}}"#));
        assert!(is_pong(" { \"return\" : { } } \n"));
        for nonsense in [
            "",
            "{}",
            "[]",
            r#"{"return":[]}"#,
            r#"{"return":{"x":1}}"#,
            r#"{"return":{},"more":1}"#,
            r#"{"error":{"class":"CommandNotFound"}}"#,
            r#"{"return":NaN}"#,
            "\u{0}{\"return\":{}}",
            &"[".repeat(1000),
            &format!("{{\"return\":{{}}}}{}", " ".repeat(PING_ANSWER_LENGTH_MAX)),
        ] {
            assert!(!is_pong(nonsense), "{nonsense:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in any::<String>()) {
            prop_assert!(!is_pong(&answer));
        }
    }
}
