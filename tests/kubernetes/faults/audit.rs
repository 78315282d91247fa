//! Audit logs against the table of what Convoy may do (rows S3 and S4).
//!
//! Convoy runs as its own accounts, so that the log tells its requests from everybody else's.

use std::{collections::BTreeMap, fmt};

use convoy::{
    rbac::{FLEET_ACCOUNT, FleetAccess, MEMBER_ACCOUNT, Role, fleet_roles, member_roles},
    source::registry::{DEFAULT_NAMESPACES, Network},
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::{clusters::cluster::Cluster, rows::figure, scene::Scene};

/// Where Convoy's accounts are.
const NAMESPACE: &str = DEFAULT_NAMESPACES[0];

/// Where Secrets may be listed and watched: where members are declared, and where an Ingress with TLS
/// is; no row has one.
const SECRETS: &[&str] = &DEFAULT_NAMESPACES;

/// One request, as an audit log has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) verb: String,
    group: String,
    /// With its subresource; a path, where it is no resource.
    pub(super) resource: String,
    /// Empty for a cluster-scoped object, and for all namespaces.
    namespace: String,
    /// Empty for all objects.
    pub(super) name: String,
}

impl Request {
    fn of(entry: &Value) -> Request {
        let own = &entry["objectRef"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = match (own["resource"].as_str(), own["subresource"].as_str()) {
            (Some(resource), Some(sub)) => format!("{resource}/{sub}"),
            (Some(resource), None) => resource.to_owned(),
            (None, _) => word(&entry["requestURI"]),
        };
        Request {
            verb: word(&entry["verb"]),
            group: word(&own["apiGroup"]),
            resource,
            namespace: word(&own["namespace"]),
            name: word(&own["name"]),
        }
    }

    fn is_in(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| {
            let covers = role.namespace.as_ref().is_none_or(|own| *own == self.namespace);
            covers && role.rules.iter().any(|rule| self.is_allowed(rule))
        })
    }

    fn is_allowed(&self, rule: &PolicyRule) -> bool {
        let has = |own: &Option<Vec<String>>, word: &String| {
            own.as_ref().is_some_and(|words| words.contains(word))
        };
        has(&rule.api_groups, &self.group)
            && has(&rule.resources, &self.resource)
            && rule.verbs.contains(&self.verb)
            && rule.resource_names.as_ref().is_none_or(|names| names.contains(&self.name))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { verb, group, resource, namespace, name } = self;
        write!(f, "{verb} {group}/{resource} in `{namespace}` named `{name}`")
    }
}

/// The requests of an account of Convoy so far, in order. A watch is there once it has begun, and
/// again when it has ended.
pub(super) fn requests(cluster: &Cluster, account: &str) -> Vec<Request> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let log = cluster.audit_log();
    let own = log.iter().filter(|entry| entry["user"]["username"] == user.as_str());
    own.filter(|entry| entry["stage"] == "ResponseComplete" || entry["verb"] == "watch")
        .map(Request::of)
        .collect()
}

/// # Panics
/// If the fleet was asked for what the table does not grant, or for more Secrets than row S3 says.
pub(super) fn fleet(scene: &Scene) {
    let access =
        FleetAccess { namespace: NAMESPACE.to_owned(), authority: true, ..FleetAccess::default() };
    let asked = requests(&scene.world.fleet, FLEET_ACCOUNT);
    check("fleet", &asked, &fleet_roles(&access), ("watch", "ingresses"));
    let secrets = asked.iter().filter(|request| request.resource == "secrets");
    let wholesale = secrets.filter(|request| request.verb != "get");
    let elsewhere = wholesale.filter(|request| !SECRETS.contains(&&*request.namespace));
    let elsewhere: Vec<_> = elsewhere.map(ToString::to_string).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

/// # Panics
/// If a member was asked for what the table does not grant.
pub(super) fn members(scene: &Scene, members: &[&str]) {
    let roles = member_roles(NAMESPACE, Network::Underlay);
    for name in members {
        let asked = requests(&scene.world.member(name).cluster, MEMBER_ACCOUNT);
        check(name, &asked, &roles, ("watch", "endpointslices"));
    }
}

/// `known` is a verb and a resource without which the log would not be Convoy's.
fn check(cluster: &str, asked: &[Request], roles: &[Role], known: (&str, &str)) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for request in asked {
        *counts.entry((&request.resource, &request.verb)).or_default() += 1;
    }
    assert!(counts.contains_key(&(known.1, known.0)), "{cluster}: {counts:?}");
    let counts = counts.iter().map(|((resource, verb), n)| format!("{verb} {resource} {n}"));
    figure(&format!("{cluster}: {}", counts.collect::<Vec<_>>().join(", ")));
    let mut outside: Vec<_> = asked.iter().filter(|request| !request.is_in(roles)).collect();
    outside.sort_unstable();
    outside.dedup();
    let outside: Vec<_> = outside.iter().map(ToString::to_string).collect();
    assert!(outside.is_empty(), "{cluster} was asked for more than the table grants: {outside:#?}");
}
