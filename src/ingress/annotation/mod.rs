//! Annotations of an Ingress, one concern a file.
//!
//! Owns the look-up by prefix and the set of keys that are honoured: a closed set of typed
//! values, so that no byte of an annotation reaches Envoy except through one (faults.md S9).
//! An invalid value is ignored by itself and reported with its key. A new concern is a file
//! here, its keys in `treatment::HONOURED`, and a field of [`Settings`].

mod balance;
mod canary;
mod cluster_weight;
mod cors;
mod custom;
mod default_backend;
mod health_check;
mod listen_ports;
mod order;
mod path_mode;
mod policy;
mod rate_limit;
mod rewrite;
mod subset;
mod treatment;
mod value;

use std::{collections::BTreeMap, sync::Arc};

pub use canary::{Canary, Choice, Share};
pub(super) use custom::{Conditions, Custom, Customs, Final, Group};
pub use policy::Policy;
pub(super) use rewrite::Template;
pub(super) use treatment::Treatment;

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        dialect::Dialect,
        listens::Listens,
        path::PathMode,
        row::{Order, Role},
    },
    model::{Balance, ClusterWeights, Filters, HealthCheck, Subset, Target},
    settings::GatewayDefaults,
};

/// The vendor's own prefixes, one a kind of gateway.
const VENDORS: [&str; 2] = ["mse.ingress.kubernetes.io/", "alb.ingress.kubernetes.io/"];

/// What all annotations of one Ingress say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Main or canary.
    pub(super) role: Role,
    /// Whether it can be served as it asks.
    pub(super) treatment: Treatment,
    /// How its routes behave.
    pub(super) policy: Policy,
    /// Where its rules stand among those of others.
    pub(super) order: Order,
    /// On which listeners it is.
    pub(super) listens: Listens,
    /// How its paths are read.
    pub(super) path_mode: PathMode,
    /// What the backends see as the path.
    pub(super) rewrite: Option<Template>,
    /// What is done on the way of every rule.
    pub(super) filters: Filters,
    /// What is said of the rules with one backend.
    pub(super) custom: Customs,
    /// Which endpoint a request goes to.
    pub(super) balance: Balance,
    /// How endpoints are checked.
    pub(super) health_check: Option<Arc<HealthCheck>>,
    /// Which endpoints come first.
    pub(super) subset: Subset,
    /// The shares of members.
    pub(super) weights: ClusterWeights,
    /// Where traffic goes when the backend has no endpoint.
    pub(super) fallback: Option<Target>,
}

/// Reads every concern.
pub(super) fn parse(
    annotations: &Annotations<'_>,
    defaults: &GatewayDefaults,
) -> (Settings, Vec<Diag>) {
    let mut diags = Vec::new();
    let role = canary::parse(annotations, &mut diags);
    let rewrite = rewrite::parse(annotations, &mut diags);
    let settings = Settings {
        treatment: treatment::parse(annotations, &role, &mut diags),
        policy: policy::parse(annotations, &mut diags),
        order: order::parse(annotations, &mut diags),
        listens: listen_ports::parse(annotations, &mut diags),
        path_mode: path_mode::parse(annotations, rewrite.is_some(), &mut diags),
        rewrite,
        filters: Filters {
            limit: rate_limit::parse(annotations, &mut diags),
            cors: cors::parse(annotations, &mut diags),
            headers: Vec::new(),
        },
        custom: custom::parse(annotations, &role, &mut diags),
        balance: balance::parse(annotations, &mut diags),
        health_check: health_check::parse(annotations, &mut diags),
        subset: subset::parse(annotations, &mut diags),
        weights: cluster_weight::parse(annotations, &mut diags),
        fallback: default_backend::parse(annotations, defaults, &mut diags),
        role,
    };
    (settings, diags)
}

/// The annotations of one Ingress.
pub(super) struct Annotations<'a> {
    map: &'a BTreeMap<Arc<str>, Arc<str>>,
    dialect: Dialect,
    root: &'a Field,
}

/// An annotation that is present.
pub(super) struct Entry<'a> {
    /// Its value without surrounding white space; empty only as one of a family.
    value: &'a str,
    /// Where it stands.
    at: Field,
}

impl<'a> Annotations<'a> {
    pub(super) fn new(
        map: &'a BTreeMap<Arc<str>, Arc<str>>,
        dialect: Dialect,
        root: &'a Field,
    ) -> Annotations<'a> {
        Annotations { map, dialect, root }
    }

    /// The annotation with this key, under the first prefix that has it, if Ingresses of the
    /// dialect have such a key. An empty value is as good as none.
    fn get(&self, key: &str) -> Option<Entry<'a>> {
        if !treatment::is_honoured(self.dialect, key) {
            return None;
        }
        self.dialect.prefixes().iter().find_map(|prefix| {
            let full = format!("{prefix}{key}");
            let value = self.map.get(full.as_str())?.trim();
            (!value.is_empty()).then(|| Entry { value, at: self.root.annotation(&full) })
        })
    }

    /// The value with this key, if it is present and `parse` accepts it.
    fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&'a str) -> Result<T, String>,
        diags: &mut Vec<Diag>,
    ) -> Option<T> {
        let entry = self.get(key)?;
        match parse(entry.value) {
            Ok(value) => Some(value),
            Err(problem) => {
                let message = format!("{problem}; the annotation is ignored");
                diags.push(Diag::warning(&entry.at, Reason::InvalidAnnotation, message));
                None
            }
        }
    }

    /// A boolean that is false unless set.
    fn flag(&self, key: &str, diags: &mut Vec<Diag>) -> bool {
        self.read(key, value::boolean, diags).unwrap_or(false)
    }

    /// The annotations whose keys begin with `family`, by what follows it, in order. Those of
    /// the vendor's other kind of gateway are read too, and empty ones are there: leaving one out would change
    /// what the others mean.
    fn family(&self, family: &str) -> Vec<(&'a str, Entry<'a>)> {
        let mut found = BTreeMap::new();
        // The first prefix wins.
        for prefix in self.dialect.prefixes().iter().chain(&VENDORS).rev() {
            let ours = self.map.iter().filter_map(|(full, value)| {
                let rest = full.strip_prefix(prefix)?.strip_prefix(family)?;
                Some((rest, Entry { value: value.trim(), at: self.root.annotation(full) }))
            });
            found.extend(ours);
        }
        found.into_iter().collect()
    }

    /// Every annotation under our prefixes that is not empty: its key and its entry.
    fn iter(&self) -> impl Iterator<Item = (&'a str, Entry<'a>)> {
        self.map.iter().filter_map(|(full, value)| {
            let mut prefixes = self.dialect.prefixes().iter();
            let key = prefixes.find_map(|prefix| full.strip_prefix(prefix))?;
            let value = value.trim();
            (!value.is_empty()).then(|| (key, Entry { value, at: self.root.annotation(full) }))
        })
    }
}

/// What a table of a concern's tests needs: annotations under the first prefix.
#[cfg(test)]
fn with<T>(
    pairs: &[(&str, &str)],
    parse: impl Fn(&Annotations<'_>, &mut Vec<Diag>) -> T,
) -> (T, Vec<String>) {
    with_prefix(Dialect::Mse, "mse.ingress.kubernetes.io/", pairs, parse)
}

/// The same for an ALB.
#[cfg(test)]
fn with_alb<T>(
    pairs: &[(&str, &str)],
    parse: impl Fn(&Annotations<'_>, &mut Vec<Diag>) -> T,
) -> (T, Vec<String>) {
    with_prefix(Dialect::Alb, "alb.ingress.kubernetes.io/", pairs, parse)
}

#[cfg(test)]
fn with_prefix<T>(
    dialect: Dialect,
    prefix: &str,
    pairs: &[(&str, &str)],
    parse: impl Fn(&Annotations<'_>, &mut Vec<Diag>) -> T,
) -> (T, Vec<String>) {
    use crate::key::{ObjectKind, ObjectName, ObjectRef};

    let map = pairs.iter().map(|(key, value)| {
        let full = if key.contains('/') { (*key).to_owned() } else { format!("{prefix}{key}") };
        (full.into(), (*value).into())
    });
    let root = Field::of(&ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("ns", "i")));
    let mut diags = Vec::new();
    let value = parse(&Annotations::new(&map.collect(), dialect, &root), &mut diags);
    let shown = diags.iter().map(|diag| {
        let key = diag.field.trim_start_matches("metadata.annotations[").trim_end_matches(']');
        let key = key.strip_prefix(prefix).unwrap_or(key);
        format!("{key}: {}: {}", diag.reason, diag.message)
    });
    (value, shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_prefix_wins() {
        let key = |prefix: &str| format!("{prefix}timeout");
        let all: Vec<_> = Dialect::Mse.prefixes().iter().map(|prefix| key(prefix)).collect();
        for present in 0..Dialect::Mse.prefixes().len() {
            let pairs: Vec<_> =
                all[present..].iter().map(|full| (full.as_str(), full.as_str())).collect();
            let (found, _) = with(&pairs, |annotations, _| {
                annotations.get("timeout").map(|entry| entry.value.to_owned())
            });
            assert_eq!(found.as_deref(), Some(all[present].as_str()));
        }
    }

    #[test]
    fn an_empty_value_is_none_and_foreign_prefixes_are_not_read() {
        for (key, value, expect) in [
            ("mse.ingress.kubernetes.io/timeout", " 5 ", Some("5")),
            ("mse.ingress.kubernetes.io/timeout", " ", None),
            ("alb.ingress.kubernetes.io/timeout", "5", None),
            ("timeout.example.com/timeout", "5", None),
        ] {
            let (found, _) = with(&[(key, value)], |annotations, _| {
                annotations.get("timeout").map(|entry| entry.value.to_owned())
            });
            assert_eq!(found.as_deref(), expect, "{key}: {value:?}");
        }
        let (found, _) = with(
            &[("mse.ingress.kubernetes.io/timeout", ""), ("higress.io/timeout", "7")],
            |annotations, _| annotations.get("timeout").map(|entry| entry.value.to_owned()),
        );
        assert_eq!(found.as_deref(), Some("7"));
    }
}
