//! Owns what a cost function says of one host and one request: everything that goes into it and everything that comes out.

use std::sync::Arc;

use reeve_common::ids::HostId;

use super::Fleet;
use super::binding::BoundFunction;
use super::realm::terms_of;
use crate::cost::CostFunction;
use crate::explanation::{AttributeValue, CostEvaluation};
use crate::request::Request;

impl Fleet {
    /// Works out `function`, which need not be the host's own, for a host as it stands and a VM that may come, whether it
    /// fits there or not. None when the fleet has no such host.
    #[must_use]
    pub fn evaluate(
        &self,
        host: HostId,
        request: &Request,
        function: &Arc<CostFunction>,
    ) -> Option<CostEvaluation> {
        let (realm, slot) = self.find(host)?;
        let described = realm.host(slot)?;
        // A class that no host of the realm has is one of which there is nothing.
        let bound =
            BoundFunction::new(Arc::clone(function), |class| realm.class_number(class).unwrap_or(usize::MAX));
        let mut ground = realm.ground(&self.book);
        ground.asks_whose_it_is = true;
        let asked = realm.asked(request);
        let mut cells = (function.after().workspace(), function.before().workspace());
        let (cost, values) = ground.cost_by_term_of(&bound, request, &asked, slot, &mut cells);
        let lanes = ground.lanes_of_one(request, &asked, slot);
        let attributes = bound.attributes(&lanes).into_iter();
        Some(CostEvaluation {
            host: described.id,
            name: described.name.clone(),
            cost_function: function.name().clone(),
            rule: function.rule(),
            attributes: attributes
                .map(|(name, before, after)| AttributeValue { name, before, after })
                .collect(),
            terms: terms_of(function, &values),
            before: cost.before,
            after: cost.after,
            increase: cost.after - cost.before,
        })
    }
}
