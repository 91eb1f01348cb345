//! Owns the question why a VM is on a host or is not: what was found of the host when the VM was placed, and what would be
//! found now.

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostName;
use reeve_scheduler::{ChoiceRule, ExplanationDigest, HostExplanation, HostsTold};

use super::simulating::{find_host, not_in_the_fleet};
use super::views::VmView;
use super::{Service, ServiceError};

/// Of the decision as it would be now the chosen host is compared, and no other.
const CHOSEN_ONLY: HostsTold = HostsTold { feasible: 1, refused: 0 };

/// A host and a VM.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The VM.
    pub view: VmView,
    /// The host.
    pub host: HostName,
    /// When the VM was placed, or last found no place; none when nothing is kept of it.
    pub then: Option<Judgement>,
    /// Now, as if the VM were nowhere.
    pub now: Judgement,
}

/// What was found of a host beside the one chosen.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// When.
    pub at: Timestamp,
    /// What was compared.
    pub rule: ChoiceRule,
    /// The host asked about; none when a kept decision does not name it.
    pub host: Option<HostExplanation>,
    /// The host that was chosen; none when no host could take the VM.
    pub chosen: Option<HostExplanation>,
}

impl Judgement {
    fn of(digest: ExplanationDigest, at: Timestamp, host: &HostName) -> Self {
        let explanation = digest.explanation;
        let asked = explanation.hosts.iter().find(|known| known.name == *host).cloned();
        let chosen = explanation.hosts.into_iter().find(|known| Some(known.host) == explanation.chosen);
        Self { at, rule: explanation.rule, host: asked, chosen }
    }
}

impl Service {
    /// Why a VM is on a host, or is not.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM or host, or the VM is over.
    pub async fn compare(&self, selector: &str, host: &HostName) -> Result<Comparison, ServiceError> {
        let detail = self.vm(selector).await?;
        let vm = &detail.view.vm;
        if vm.state.is_final() {
            return Err(ServiceError::conflict(format!(
                "VM {} is over ({}), and has no place to explain",
                vm.name, vm.state
            ))
            .advise(format!("`reeve vm show {}` says why it was where it was", vm.name)));
        }
        let now = self.now();
        let mut core = self.core_for_decisions();
        let id = find_host(&core, host)?;
        let (asked, digest) = core.fleet.without(vm.id, |fleet| {
            (fleet.explain_host(id, &vm.request), fleet.digest(&vm.request, CHOSEN_ONLY))
        });
        drop(core);
        let asked = asked.ok_or_else(|| not_in_the_fleet(host))?;
        Ok(Comparison {
            host: host.clone(),
            then: detail.decision.map(|decision| Judgement::of(decision.digest, decision.at, host)),
            now: Judgement { host: Some(asked), ..Judgement::of(digest, now, host) },
            view: detail.view,
        })
    }
}
