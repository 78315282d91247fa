//! Which annotations an Ingress is read by: those of the kind of its gateway.

use crate::key::{GatewayId, ObjectKind};

/// What the annotations of an Ingress mean. It follows from the gateway that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// MSE's, which is ingress-nginx's with more (semantics.md 3).
    Mse,
    /// ALB's (semantics.md 2).
    Alb,
}

impl Dialect {
    /// What the gateway reads.
    pub fn of(gateway: &GatewayId) -> Dialect {
        if gateway.kind == ObjectKind::AlbConfig { Dialect::Alb } else { Dialect::Mse }
    }

    /// Prefixes of its annotations, most specific first: the first that is present wins
    /// (semantics.md 3.0, 2.5).
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Dialect::Mse => &[
                "mse.ingress.kubernetes.io/",
                "nginx.ingress.kubernetes.io/",
                "higress.ingress.kubernetes.io/",
                "higress.io/",
            ],
            Dialect::Alb => &["nginx.ingress.kubernetes.io/", "alb.ingress.kubernetes.io/"],
        }
    }
}
