//! The control plane under test, in this process: the only file that knows how it is started.

use std::path::Path;

use convoy::{
    diag::Diag,
    settings::{Mechanisms, Timings},
};

use super::{Variant, netns::CONTROL_PLANE};

/// Convoy, serving a directory.
pub(crate) struct Convoy(());

impl Convoy {
    pub(crate) async fn start(dir: &Path, mechanisms: Mechanisms, timings: Timings) -> Convoy {
        panic!("serve::start is not merged: {dir:?} {mechanisms:?} {timings:?}")
    }

    /// Ends it; Envoys keep what they have.
    pub(crate) async fn stop(self) {}

    /// What is wrong with the objects, now.
    pub(crate) fn diags(&self) -> Vec<Diag> {
        Vec::new()
    }
}

/// How an Envoy of `gateway` is started.
pub(crate) fn bootstrap(gateway: &str, variant: Variant) -> String {
    format!("{gateway} {variant:?} {CONTROL_PLANE} {}", super::envoy::ADMIN)
}
