//! Owns the answer to the coordinator that wants its audit log witnessed: the highest checkpoint is kept through this
//! agent's death, and one that contradicts it is not.

use reeve_common::checkpoint::SignedCheckpoint;
use reeve_common::logging::messages;
use reeve_common::protocol::{Refusal, ReplyBody};

use super::{Host, not_recorded};
use crate::witness::{Judgement, judge};

impl Host {
    pub(super) async fn witness(&self, offered: Option<SignedCheckpoint>) -> Result<ReplyBody, Refusal> {
        let judged = self.driver().remember(move |state| state.witness(offered, judge)).await;
        let (held, judgement) = judged.map_err(|error| not_recorded(&error))?;
        if let Some(Judgement::Refused(why)) = judgement {
            // The coordinator learns it from what is kept; whoever reads this host's journal should as well.
            log::error!(MESSAGE_ID:% = messages::WITNESS_CONTRADICTS;
                "a checkpoint of the coordinator's audit log was refused: {why}");
        }
        Ok(ReplyBody::Witnessed { held })
    }
}
