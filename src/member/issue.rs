//! Findings about a target, before it is known which routes lead to it.

use crate::diag::{Diag, Field, Reason, Severity};

/// A finding on a member's Service, or on every route to the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// The Service's field; `None` for the routes, because several may share the target.
    pub at: Option<Field>,
    /// How bad it is.
    pub severity: Severity,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Issue {
    /// The finding on the objects it concerns: its own, or those of `origins`.
    pub fn diags<'a>(
        &'a self,
        origins: impl IntoIterator<Item = &'a Field>,
    ) -> impl Iterator<Item = Diag> {
        let origins = origins.into_iter().filter(|_| self.at.is_none());
        self.at.iter().chain(origins).map(|at| Diag {
            object: at.object.clone(),
            field: at.path.clone(),
            severity: self.severity,
            reason: self.reason,
            message: self.message.clone(),
        })
    }

    pub(super) fn on_routes(severity: Severity, reason: Reason, message: String) -> Issue {
        Issue { at: None, severity, reason, message }
    }

    pub(super) fn on_service(at: Field, reason: Reason, message: String) -> Issue {
        Issue { at: Some(at), severity: Severity::Warning, reason, message }
    }
}
