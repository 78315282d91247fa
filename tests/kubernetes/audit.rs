//! Audit logs against the table of what Convoy may do (rows S3 and S4), at the end of every scenario.
//!
//! Convoy runs as its own accounts, so that the log tells its requests from everybody else's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use convoy::{
    rbac::{FLEET_ACCOUNT, FleetAccess, MEMBER_ACCOUNT, Role, fleet_roles, member_roles},
    source::registry::{DEFAULT_NAMESPACES, Network},
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::{
    bed::fleet,
    clusters::{cluster::Cluster, line::Routes},
    harness::{Scenario, steps},
    rows::figure,
    scene::Scene,
};

/// Where Convoy's accounts are, but for a chart that is installed elsewhere.
const NAMESPACE: &str = DEFAULT_NAMESPACES[0];

/// What every ServiceAccount may read by a role that is built in
/// (`system:service-account-issuer-discovery`), so that no table of ours has it.
const DISCOVERY: [&str; 2] = ["/.well-known/openid-configuration", "/openid/v1/jwks"];

steps! {
    fault_s03_the_fleet_is_asked_for_nothing_else,
    fault_s04_members_are_asked_for_nothing_else,
}

/// The scenario, and at its end a look at what was asked in it.
pub(crate) fn audited(scenario: Scenario) -> Scenario {
    Scenario { steps: [scenario.steps, STEPS].concat().leak(), ..scenario }
}

/// One request, as an audit log has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) verb: String,
    group: String,
    /// With its subresource; a path, where it is no resource.
    pub(crate) resource: String,
    /// Empty for a cluster-scoped object, and for all namespaces.
    namespace: String,
    /// Empty for all objects.
    pub(crate) name: String,
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
        let is_discovery = self.verb == "get" && DISCOVERY.contains(&&*self.resource);
        is_discovery
            || roles.iter().any(|role| {
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

/// An account, as the API server names it in requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Account {
    namespace: String,
    name: String,
}

impl Account {
    fn of(entry: &Value) -> Option<Account> {
        let user = entry["user"]["username"].as_str()?;
        let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(Account { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// A chart's release may have a name of its own before ours.
    fn is_of_fleet(&self) -> bool {
        self.name.split('-').next_back() == Some(FLEET_ACCOUNT)
    }
}

/// The requests of each account so far, in order. A watch is there once it has begun, and again when it
/// has ended.
fn by_account(cluster: &Cluster) -> BTreeMap<Account, Vec<Request>> {
    let mut all: BTreeMap<Account, Vec<Request>> = BTreeMap::new();
    for entry in cluster.audit_log() {
        let is_whole = entry["stage"] == "ResponseComplete" || entry["verb"] == "watch";
        if let Some(account) = Account::of(&entry).filter(|_| is_whole) {
            all.entry(account).or_default().push(Request::of(&entry));
        }
    }
    all
}

/// The requests of an account of Convoy in its usual namespace.
pub(crate) fn requests(cluster: &Cluster, account: &str) -> Vec<Request> {
    let account = Account { namespace: NAMESPACE.to_owned(), name: account.to_owned() };
    by_account(cluster).remove(&account).unwrap_or_default()
}

/// Whoever plays this step alone has a log too.
async fn fault_s03_the_fleet_is_asked_for_nothing_else(scene: &mut Scene) {
    let has_worked = by_account(&scene.world.fleet).keys().any(Account::is_of_fleet);
    if !has_worked {
        scene.start_convoy().await;
    }
    let all = by_account(&scene.world.fleet);
    let mut ours = all.iter().filter(|(account, _)| account.is_of_fleet()).peekable();
    assert!(ours.peek().is_some(), "nobody asked as Convoy: {:?}", all.keys());
    for (account, asked) in ours {
        // The most that an account is ever granted: in some scenarios the fleet is a member too, and
        // in some Convoy keeps Envoys.
        let access = FleetAccess {
            namespace: account.namespace.clone(),
            member: Some(Network::Underlay),
            authority: true,
            managed: true,
            ..FleetAccess::default()
        };
        check("the fleet", asked, &fleet_roles(&access));
        // Where members are declared, and where an Ingress has TLS.
        let may_list: BTreeSet<&str> = DEFAULT_NAMESPACES
            .into_iter()
            .chain([account.namespace.as_str(), fleet::NAMESPACE])
            .collect();
        let secrets = asked.iter().filter(|request| request.resource == "secrets");
        let wholesale = secrets.filter(|request| request.verb != "get");
        let elsewhere = wholesale.filter(|request| !may_list.contains(&*request.namespace));
        let elsewhere: Vec<_> = elsewhere.map(ToString::to_string).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    }
}

async fn fault_s04_members_are_asked_for_nothing_else(scene: &mut Scene) {
    for cluster in scene.world.clusters() {
        for (account, asked) in by_account(cluster) {
            if account.name == MEMBER_ACCOUNT {
                let network = match scene.world.routes(cluster) {
                    Routes::Underlay => Network::Underlay,
                    Routes::Overlay => Network::Overlay,
                };
                let roles = member_roles(&account.namespace, network);
                check(cluster.name, &asked, &roles);
            }
        }
    }
}

fn check(cluster: &str, asked: &[Request], roles: &[Role]) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for request in asked {
        *counts.entry((&request.resource, &request.verb)).or_default() += 1;
    }
    let counts = counts.iter().map(|((resource, verb), n)| format!("{verb} {resource} {n}"));
    figure(&format!("{cluster}: {}", counts.collect::<Vec<_>>().join(", ")));
    let outside: BTreeSet<_> = asked.iter().filter(|request| !request.is_in(roles)).collect();
    let outside: Vec<_> = outside.into_iter().map(ToString::to_string).collect();
    assert!(outside.is_empty(), "{cluster} was asked for more than the table grants: {outside:#?}");
}
