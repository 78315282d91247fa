//! What Convoy may do in a member: the one table of it (faults.md S4).
//!
//! Owns the rules; whoever installs Convoy takes them from here. Must not know how they are
//! applied. Secrets are in no rule, and the only write is a token for Convoy's own account.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::source::registry::Network;

/// Where it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the whole cluster: a ClusterRole.
    Cluster,
    /// In the namespace of Convoy's account: a Role.
    OwnNamespace,
}

/// One line of the table.
struct Grant {
    reach: Reach,
    group: &'static str,
    resource: &'static str,
    /// Objects by name; empty for all.
    names: &'static [&'static str],
    verbs: &'static [&'static str],
    /// Only for members that are reached through NodePorts.
    overlay_only: bool,
}

/// Name of Convoy's account in a member, and of the roles bound to it.
pub const MEMBER_ACCOUNT: &str = "convoy-member";

const READ: &[&str] = &["get", "list", "watch"];

const MEMBER: [Grant; 6] = [
    Grant { resource: "services", ..READ_ALL },
    Grant { group: "discovery.k8s.io", resource: "endpointslices", ..READ_ALL },
    // Labels of subsets.
    Grant { resource: "pods", ..READ_ALL },
    Grant { resource: "nodes", overlay_only: true, ..READ_ALL },
    // Its UID is the identity of the cluster.
    Grant { resource: "namespaces", names: &["kube-system"], verbs: &["get"], ..READ_ALL },
    // The token is renewed before it ends.
    Grant {
        reach: Reach::OwnNamespace,
        resource: "serviceaccounts/token",
        names: &[MEMBER_ACCOUNT],
        verbs: &["create"],
        ..READ_ALL
    },
];

const READ_ALL: Grant = Grant {
    reach: Reach::Cluster,
    group: "",
    resource: "",
    names: &[],
    verbs: READ,
    overlay_only: false,
};

/// What Convoy may do in a member, as rules of a role with this reach.
pub fn member_rules(network: Network, reach: Reach) -> Vec<PolicyRule> {
    let holds = |grant: &&Grant| {
        grant.reach == reach && (!grant.overlay_only || network == Network::Overlay)
    };
    MEMBER.iter().filter(holds).map(rule).collect()
}

fn rule(grant: &Grant) -> PolicyRule {
    let texts = |own: &[&str]| own.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(texts(&[grant.group])),
        resources: Some(texts(&[grant.resource])),
        resource_names: (!grant.names.is_empty()).then(|| texts(grant.names)),
        verbs: texts(grant.verbs),
        non_resource_urls: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complete table: a verb more, and this fails (faults.md S4).
    #[test]
    fn fault_s04_an_account_in_a_member_may_do_this_and_nothing_else() {
        let check = |network: Network, reach: Reach, expect: &[&str]| {
            let rules = member_rules(network, reach).into_iter().map(|rule| {
                let join = |texts: Option<Vec<String>>| texts.unwrap_or_default().join(",");
                let names = rule.resource_names.map(|names| format!(" [{}]", names.join(",")));
                let verbs = rule.verbs.join(",");
                let resource = format!("{}/{}", join(rule.api_groups), join(rule.resources));
                format!("{resource}{}: {verbs}", names.unwrap_or_default())
            });
            assert_eq!(rules.collect::<Vec<_>>(), expect, "{network:?} {reach:?}");
        };
        const SERVICES: &str = "/services: get,list,watch";
        const SLICES: &str = "discovery.k8s.io/endpointslices: get,list,watch";
        const PODS: &str = "/pods: get,list,watch";
        const NODES: &str = "/nodes: get,list,watch";
        const IDENTITY: &str = "/namespaces [kube-system]: get";
        const TOKEN: &str = "/serviceaccounts/token [convoy-member]: create";
        check(Network::Underlay, Reach::Cluster, &[SERVICES, SLICES, PODS, IDENTITY]);
        check(Network::Overlay, Reach::Cluster, &[SERVICES, SLICES, PODS, NODES, IDENTITY]);
        check(Network::Underlay, Reach::OwnNamespace, &[TOKEN]);
        check(Network::Overlay, Reach::OwnNamespace, &[TOKEN]);
    }
}
