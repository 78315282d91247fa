//! What Convoy may do, in the fleet (faults.md S3) and in a member (S4): the one table of it.
//!
//! Owns the rules and which role holds them. Whoever installs Convoy, documents it, or reads an
//! audit log takes them from here. Must not know how they are applied, nor who asks for what.

mod fleet;
mod manifest;
mod member;

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

pub use fleet::{AUTHORITY, FLEET_ACCOUNT, FleetAccess, LEASE, fleet_roles};
pub use manifest::{Account, Manifest, manifests};
pub use member::{MEMBER_ACCOUNT, member_roles};

/// What is granted in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Where it holds; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// In the order of the table.
    pub rules: Vec<PolicyRule>,
}

/// One line of the table.
#[derive(Clone, Copy)]
struct Grant<'a> {
    group: &'static str,
    resource: &'static str,
    /// Objects by name; empty for all.
    names: &'a [&'a str],
    verbs: &'static [&'static str],
}

/// A line to start from: all objects are read.
const READ: Grant<'_> =
    Grant { group: "", resource: "", names: &[], verbs: &["get", "list", "watch"] };

impl Grant<'_> {
    fn rule(&self) -> PolicyRule {
        let texts = |own: &[&str]| own.iter().map(ToString::to_string).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(texts(&[self.group])),
            resources: Some(texts(&[self.resource])),
            resource_names: (!self.names.is_empty()).then(|| texts(self.names)),
            verbs: texts(self.verbs),
            non_resource_urls: None,
        }
    }
}

/// Roles as they grow: one a place, the whole cluster first.
#[derive(Default)]
struct Roles(BTreeMap<Option<String>, Vec<PolicyRule>>);

impl Roles {
    fn everywhere(&mut self, grants: &[Grant<'_>]) {
        self.grant(None, grants);
    }

    fn within(&mut self, namespace: &str, grants: &[Grant<'_>]) {
        self.grant(Some(namespace.to_owned()), grants);
    }

    fn grant(&mut self, namespace: Option<String>, grants: &[Grant<'_>]) {
        self.0.entry(namespace).or_default().extend(grants.iter().map(Grant::rule));
    }

    fn build(self) -> Vec<Role> {
        self.0.into_iter().map(|(namespace, rules)| Role { namespace, rules }).collect()
    }
}

/// Roles as lines, for golden tables: the place, and each rule as `group/resource [names]: verbs`.
#[cfg(test)]
fn lines(roles: &[Role]) -> Vec<String> {
    let line = |rule: &PolicyRule| {
        let join = |texts: &Option<Vec<String>>| texts.clone().unwrap_or_default().join(",");
        let names = rule.resource_names.as_ref().map(|names| format!(" [{}]", names.join(",")));
        let resource = format!("{}/{}", join(&rule.api_groups), join(&rule.resources));
        format!("  {resource}{}: {}", names.unwrap_or_default(), rule.verbs.join(","))
    };
    let role = |role: &Role| {
        let place = role.namespace.as_ref().map_or("everywhere".into(), |own| format!("in {own}"));
        [place].into_iter().chain(role.rules.iter().map(line)).collect::<Vec<_>>()
    };
    roles.iter().flat_map(role).collect()
}
