//! What another room says about the Envoys that it keeps for gateways.
//!
//! Owns how that is said in a status.

use std::collections::BTreeMap;

use crate::{diag::Diag, gateway::Address, key::GatewayId, status::desired::Condition};

/// Of every gateway whose Envoys are managed; empty where nobody manages them.
pub type Provisions = BTreeMap<GatewayId, Provision>;

/// The Envoys of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provision {
    /// Where they are reached.
    pub addresses: Vec<Address>,
    /// Whether everything is as it should be.
    pub is_settled: bool,
    /// What keeps it from that.
    pub findings: Vec<Diag>,
}

impl Provision {
    /// What is wrong, in one line; empty if nothing is.
    pub(super) fn trouble(&self) -> String {
        self.findings.iter().map(|own| own.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// `Provisioned`.
    pub(super) fn condition(&self, generation: i64) -> Condition {
        let (is_true, reason) = match self.findings.first() {
            Some(first) => (false, first.reason.to_string()),
            None if self.is_settled => (true, "Provisioned".to_owned()),
            None => (false, "Pending".to_owned()),
        };
        Condition::new("Provisioned", is_true, &reason, self.trouble(), generation)
    }
}
