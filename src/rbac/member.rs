//! What Convoy may do in a member (faults.md S4). Secrets are in no rule, and the only write is a
//! token for Convoy's own account.

use crate::{
    rbac::{Grant, READ, Role, Roles},
    source::registry::Network,
};

/// Name of Convoy's account in a member, and of the roles bound to it.
pub const MEMBER_ACCOUNT: &str = "convoy-member";

const ALWAYS: &[Grant<'_>] = &[
    Grant { resource: "services", ..READ },
    Grant { group: "discovery.k8s.io", resource: "endpointslices", ..READ },
    // Labels of subsets.
    Grant { resource: "pods", ..READ },
    // Its UID is the identity of the cluster.
    Grant { resource: "namespaces", names: &["kube-system"], verbs: &["get"], ..READ },
];

/// Of a member that is reached through NodePorts.
const OVERLAY: &[Grant<'_>] = &[Grant { resource: "nodes", ..READ }];

/// The token is renewed before it ends.
const OWN_TOKEN: &[Grant<'_>] = &[Grant {
    resource: "serviceaccounts/token",
    names: &[MEMBER_ACCOUNT],
    verbs: &["create"],
    ..READ
}];

/// What Convoy's account, which is in `namespace`, may do in a member.
pub fn member_roles(namespace: &str, network: Network) -> Vec<Role> {
    let mut roles = Roles::default();
    roles.read_member(network);
    roles.within(namespace, OWN_TOKEN);
    roles.build()
}

impl Roles {
    /// Everything that is read of a member.
    pub(super) fn read_member(&mut self, network: Network) {
        self.everywhere(ALWAYS);
        match network {
            Network::Underlay => {}
            Network::Overlay => self.everywhere(OVERLAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::lines;

    /// The complete table: a verb more, and this fails (faults.md S4).
    #[test]
    fn fault_s04_an_account_in_a_member_may_do_this_and_nothing_else() {
        let check = |network: Network, nodes: &[&str]| {
            let read = [
                "everywhere",
                "  /services: get,list,watch",
                "  discovery.k8s.io/endpointslices: get,list,watch",
                "  /pods: get,list,watch",
                "  /namespaces [kube-system]: get",
            ];
            let own = ["in system", "  /serviceaccounts/token [convoy-member]: create"];
            let expect = [&read[..], nodes, &own[..]].concat();
            assert_eq!(lines(&member_roles("system", network)), expect, "{network:?}");
        };
        check(Network::Underlay, &[]);
        check(Network::Overlay, &["  /nodes: get,list,watch"]);
    }
}
