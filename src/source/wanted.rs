//! What is read only because something else names it.
//!
//! Owns the question that the engine answers for the sources. Secrets are never read wholesale
//! (faults.md S3), nor Pods where nobody asks for their labels.

use std::{collections::BTreeSet, sync::Arc};

use crate::key::ObjectName;

/// What the objects that were taken in so far refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the fleet's gateways, IngressClasses and Ingresses were taken in. Before that,
    /// nothing else here means anything.
    pub is_known: bool,
    /// The Secrets that accepted Ingresses name.
    pub secrets: BTreeSet<ObjectName>,
    /// The namespaces in which a subset names labels of Pods.
    pub pod_namespaces: BTreeSet<Arc<str>>,
}
