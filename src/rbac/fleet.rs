//! What Convoy may do in the fleet (faults.md S3): read what declares gateways, routes and members;
//! write status, Events and its lease.

use std::collections::BTreeSet;

use crate::{
    key::ObjectName,
    rbac::{Grant, READ, Role, Roles},
    source::registry::Network,
};

/// Name of Convoy's account in the fleet, and of the roles bound to it.
pub const FLEET_ACCOUNT: &str = "convoy";

/// Name of the `Lease` that decides which replica writes; it is in the namespace of the account.
pub const LEASE: &str = "convoy";

/// Name of the `Secret` of Convoy's own certificate authority; it is in the namespace of the account.
pub const AUTHORITY: &str = "convoy-authority";

const INGRESS: &str = "networking.k8s.io";
const MSE: &str = "mse.alibabacloud.com";
const ALB: &str = "alibabacloud.com";
const MEMBER: &str = "convoy.dev";
/// Server-side apply of a status that exists is a patch.
const APPLY: &[&str] = &["patch"];

const ALWAYS: &[Grant<'_>] = &[
    Grant { group: MSE, resource: "mseingressconfigs", ..READ },
    Grant { group: ALB, resource: "albconfigs", ..READ },
    Grant { group: INGRESS, resource: "ingresses", ..READ },
    Grant { group: INGRESS, resource: "ingressclasses", ..READ },
    Grant { group: MEMBER, resource: "memberclusters", ..READ },
    Grant { group: MSE, resource: "mseingressconfigs/status", verbs: APPLY, ..READ },
    Grant { group: ALB, resource: "albconfigs/status", verbs: APPLY, ..READ },
    Grant { group: INGRESS, resource: "ingresses/status", verbs: APPLY, ..READ },
    Grant { group: MEMBER, resource: "memberclusters/status", verbs: APPLY, ..READ },
    // One that is said again is read, and counted on.
    Grant {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "get", "patch"],
        ..READ
    },
];

/// Certificates, and credentials of members. RBAC cannot tell Secrets by their type or label, so
/// this is more than Convoy asks for: it watches type `kubernetes.io/tls` where an Ingress names
/// one, and labelled ones where members are declared.
const SECRETS: &[Grant<'_>] = &[Grant { resource: "secrets", ..READ }];

const LEASES: &[Grant<'_>] = &[
    Grant {
        group: "coordination.k8s.io",
        resource: "leases",
        names: &[LEASE],
        verbs: &["get", "update"],
    },
    // A name cannot be granted for what does not exist yet.
    Grant { group: "coordination.k8s.io", resource: "leases", verbs: &["create"], ..READ },
];

/// Of the authority, which all replicas keep alike.
const AUTHORITIES: &[Grant<'_>] = &[
    Grant { resource: "secrets", names: &[AUTHORITY], verbs: &["get", "update"], ..READ },
    // A name cannot be granted for what does not exist yet.
    Grant { resource: "secrets", verbs: &["create"], ..READ },
];

/// Server-side apply of what may not exist is a patch that may create.
const KEEP: &[&str] = &["get", "list", "watch", "create", "patch"];

/// Watched, looked for by name before they are made, and applied; their removal is the garbage
/// collector's. Secrets are those of Envoys' certificates. A name cannot be granted for what does not
/// exist yet.
const MANAGED: &[Grant<'_>] = &[
    Grant { resource: "serviceaccounts", verbs: KEEP, ..READ },
    Grant { resource: "secrets", verbs: KEEP, ..READ },
    Grant { resource: "configmaps", verbs: KEEP, ..READ },
    Grant { resource: "services", verbs: KEEP, ..READ },
    Grant { group: "apps", resource: "deployments", verbs: KEEP, ..READ },
    Grant { group: "policy", resource: "poddisruptionbudgets", verbs: KEEP, ..READ },
];

/// What a fleet wants of Convoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetAccess {
    /// Of the account and its lease.
    pub namespace: String,
    /// Where Secrets may be read; `None` for everywhere.
    pub secrets: Option<BTreeSet<String>>,
    /// The Service in front of the Envoys (`--publish-service`).
    pub publish_service: Option<ObjectName>,
    /// The fleet is a member itself, and reached so.
    pub member: Option<Network>,
    /// Convoy is its own certificate authority for xDS.
    pub authority: bool,
    /// The Envoys of gateways are kept in the account's namespace.
    pub managed: bool,
}

/// What Convoy's account may do in a fleet.
pub fn fleet_roles(access: &FleetAccess) -> Vec<Role> {
    let FleetAccess { namespace, secrets, publish_service, member, authority, managed } = access;
    let mut roles = Roles::default();
    roles.everywhere(ALWAYS);
    match secrets {
        None => roles.everywhere(SECRETS),
        Some(namespaces) => namespaces.iter().for_each(|own| roles.within(own, SECRETS)),
    }
    if let Some(network) = member {
        roles.read_member(*network);
    }
    roles.within(namespace, LEASES);
    if *authority {
        roles.within(namespace, AUTHORITIES);
    }
    if *managed {
        roles.within(namespace, MANAGED);
    }
    if let Some(service) = publish_service {
        let names: &[&str] = &[&service.name];
        let verbs = &["list", "watch"];
        roles.within(&service.namespace, &[Grant { resource: "services", names, verbs, ..READ }]);
    }
    roles.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::lines;

    const ALWAYS: [&str; 11] = [
        "everywhere",
        "  mse.alibabacloud.com/mseingressconfigs: get,list,watch",
        "  alibabacloud.com/albconfigs: get,list,watch",
        "  networking.k8s.io/ingresses: get,list,watch",
        "  networking.k8s.io/ingressclasses: get,list,watch",
        "  convoy.dev/memberclusters: get,list,watch",
        "  mse.alibabacloud.com/mseingressconfigs/status: patch",
        "  alibabacloud.com/albconfigs/status: patch",
        "  networking.k8s.io/ingresses/status: patch",
        "  convoy.dev/memberclusters/status: patch",
        "  events.k8s.io/events: create,get,patch",
    ];
    const SECRETS: &str = "  /secrets: get,list,watch";
    const LEASE: [&str; 2] = [
        "  coordination.k8s.io/leases [convoy]: get,update",
        "  coordination.k8s.io/leases: create",
    ];

    #[track_caller]
    fn check(access: FleetAccess, expect: &[&[&str]]) {
        let access = FleetAccess { namespace: "system".to_owned(), ..access };
        assert_eq!(lines(&fleet_roles(&access)), expect.concat());
    }

    /// The complete table: a verb more, and this fails (faults.md S3).
    #[test]
    fn fault_s03_the_account_in_the_fleet_may_do_this_and_nothing_else() {
        check(FleetAccess::default(), &[&ALWAYS, &[SECRETS], &["in system"], &LEASE]);
    }

    #[test]
    fn fault_s03_secrets_are_read_in_no_other_namespace_than_told() {
        let secrets = ["shop", "system"].map(str::to_owned);
        check(
            FleetAccess { secrets: Some(secrets.into()), ..FleetAccess::default() },
            &[&ALWAYS, &["in shop", SECRETS], &["in system", SECRETS], &LEASE],
        );
    }

    #[test]
    fn of_its_own_authority_one_secret_is_kept() {
        let authority = ["  /secrets [convoy-authority]: get,update", "  /secrets: create"];
        check(
            FleetAccess { authority: true, ..FleetAccess::default() },
            &[&ALWAYS, &[SECRETS], &["in system"], &LEASE, &authority],
        );
    }

    #[test]
    fn a_service_is_read_where_it_is_published() {
        let publish_service = Some(ObjectName::new("edge", "envoy"));
        check(
            FleetAccess { publish_service, ..FleetAccess::default() },
            &[
                &ALWAYS,
                &[SECRETS],
                &["in edge", "  /services [envoy]: list,watch"],
                &["in system"],
                &LEASE,
            ],
        );
    }

    #[test]
    fn managed_gateways_are_kept_in_one_namespace() {
        let managed = [
            "  /serviceaccounts: get,list,watch,create,patch",
            "  /secrets: get,list,watch,create,patch",
            "  /configmaps: get,list,watch,create,patch",
            "  /services: get,list,watch,create,patch",
            "  apps/deployments: get,list,watch,create,patch",
            "  policy/poddisruptionbudgets: get,list,watch,create,patch",
        ];
        check(
            FleetAccess { managed: true, ..FleetAccess::default() },
            &[&ALWAYS, &[SECRETS], &["in system"], &LEASE, &managed],
        );
    }

    #[test]
    fn a_fleet_that_is_a_member_is_read_as_one() {
        check(
            FleetAccess { member: Some(Network::Underlay), ..FleetAccess::default() },
            &[
                &ALWAYS,
                &[SECRETS],
                &[
                    "  /services: get,list,watch",
                    "  discovery.k8s.io/endpointslices: get,list,watch",
                    "  /pods: get,list,watch",
                    "  /namespaces [kube-system]: get",
                ],
                &["in system"],
                &LEASE,
            ],
        );
    }
}
