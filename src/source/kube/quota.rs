//! How much is held of one member (faults.md S18).
//!
//! Owns the limits. A member is trusted with what is its own, and its memory use is not: whoever
//! runs its API must not take the others' memory. The fleet is whose memory it is, and has no limit
//! here. Cost: a number for each object.

use std::collections::HashMap;

use crate::{
    key::{ObjectKind, ObjectName, Scope},
    source::kube::{
        request::{Fault, Trouble},
        watch::{Seen, Sighting},
    },
    store::Object,
};

/// The limits of one watch.
#[derive(Clone, Copy, Debug)]
struct Quota {
    objects: usize,
    /// Of all objects together.
    entries: usize,
    /// What these are.
    what: &'static str,
}

/// As many Services as Kubernetes is tested with in one cluster, of ten ports each.
const SERVICES: Quota = Quota { objects: 10_000, entries: 100_000, what: "ports" };

/// Two families of each of these Services, twice; in them every one of the 150,000 Pods that
/// Kubernetes supports, in both families.
const SLICES: Quota = Quota { objects: 40_000, entries: 300_000, what: "endpoints and ports" };

/// All the Pods that Kubernetes supports in one cluster, of twenty labels each.
const PODS: Quota = Quota { objects: 150_000, entries: 3_000_000, what: "labels" };

/// All the Nodes that Kubernetes supports.
const NODES: Quota = Quota { objects: 5_000, entries: 5_000, what: "nodes" };

impl Quota {
    fn of(scope: &Scope, kind: ObjectKind) -> Option<Quota> {
        match (scope, kind) {
            (Scope::Fleet, _) => None,
            (Scope::Member(_), ObjectKind::Service) => Some(SERVICES),
            (Scope::Member(_), ObjectKind::EndpointSlice) => Some(SLICES),
            (Scope::Member(_), ObjectKind::Pod) => Some(PODS),
            (Scope::Member(_), ObjectKind::Node) => Some(NODES),
            // Nothing else is read of a member.
            (
                Scope::Member(_),
                ObjectKind::MseIngressConfig
                | ObjectKind::AlbConfig
                | ObjectKind::IngressClass
                | ObjectKind::Ingress
                | ObjectKind::Secret
                | ObjectKind::MemberCluster
                | ObjectKind::CustomResourceDefinition
                | ObjectKind::File,
            ) => None,
        }
    }
}

/// What one watch has shown so far.
#[derive(Debug)]
pub(super) struct Load {
    quota: Option<Quota>,
    /// Entries of each object.
    objects: HashMap<ObjectName, usize>,
    entries: usize,
}

impl Load {
    /// Nothing so far.
    pub(super) fn new(scope: &Scope, kind: ObjectKind) -> Load {
        Load { quota: Quota::of(scope, kind), objects: HashMap::new(), entries: 0 }
    }

    /// Takes note of an object. The error says that this is too much.
    pub(super) fn add(&mut self, Sighting { name, seen }: &Sighting) -> Result<(), Trouble> {
        let Some(quota) = self.quota else { return Ok(()) };
        let before = match seen {
            Seen::Object(object, _) => {
                self.entries += entries(object);
                self.objects.insert(name.clone(), entries(object))
            }
            // Its last good version may be held.
            Seen::Refused(_) => None,
            Seen::Absent => self.objects.remove(name),
        };
        self.entries -= before.unwrap_or_default();
        let Quota { objects, entries, what } = quota;
        let message = if self.objects.len() > objects {
            format!("more than {objects} objects")
        } else if self.entries > entries {
            format!("more than {entries} {what}")
        } else {
            return Ok(());
        };
        Err(Trouble::new(Fault::QuotaExceeded, message))
    }
}

/// What an object is long by.
fn entries(object: &Object) -> usize {
    match object {
        Object::Service(own) => own.ports.len(),
        Object::EndpointSlice(own) => own.endpoints.len() + own.ports.len(),
        Object::Pod(own) => own.labels.len(),
        Object::Node(_) => 1,
        Object::Gateway(_)
        | Object::IngressClass(_)
        | Object::Ingress(_)
        | Object::Secret(_)
        | Object::MemberCluster(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::MemberId,
        store::{AddressFamily, Endpoint, EndpointSlice, Node},
    };

    fn node(own: usize) -> Sighting {
        let name = ObjectName::cluster_scoped(&format!("n{own}"));
        let node = Node { name: name.clone(), v4: None, v6: None, is_eligible: true };
        Sighting { name, seen: Seen::Object(Object::Node(node.into()), vec![]) }
    }

    fn absent(own: usize) -> Sighting {
        Sighting { seen: Seen::Absent, ..node(own) }
    }

    /// As long as one may be.
    fn slice(own: usize) -> Sighting {
        let name = ObjectName::new("shop", &format!("s{own}"));
        let endpoint = Endpoint { address: None, is_ready: true, pod: None, node: None };
        let slice = EndpointSlice {
            name: name.clone(),
            service: "web".into(),
            family: AddressFamily::V4,
            ports: [].into(),
            endpoints: vec![endpoint; 1000],
        };
        Sighting { name, seen: Seen::Object(Object::EndpointSlice(slice.into()), vec![]) }
    }

    #[test]
    fn fault_s18_a_million_endpoints_are_refused_long_before_they_are_read() {
        let member = Scope::Member(MemberId::new("c1").unwrap());
        let mut load = Load::new(&member, ObjectKind::EndpointSlice);
        let read = (0..1000).find_map(|own| Some((own, load.add(&slice(own)).err()?)));
        let (count, excess) = read.unwrap();
        assert_eq!(count * 1000, SLICES.entries);
        let expect = "QuotaExceeded: more than 300000 endpoints and ports";
        assert_eq!(excess.to_string(), expect);
    }

    #[test]
    fn fault_s18_a_member_may_have_so_much_and_no_more() {
        let member = Scope::Member(MemberId::new("c1").unwrap());
        let mut load = Load::new(&member, ObjectKind::Node);
        for own in 0..NODES.objects {
            load.add(&node(own)).unwrap();
        }
        // The same once more is nothing more.
        load.add(&node(0)).unwrap();
        let excess = load.add(&node(NODES.objects)).unwrap_err();
        assert_eq!(excess.to_string(), "QuotaExceeded: more than 5000 objects");
        load.add(&absent(0)).unwrap();
        let mut fleet = Load::new(&Scope::Fleet, ObjectKind::Ingress);
        (0..NODES.objects * 2).for_each(|own| fleet.add(&node(own)).unwrap());
    }
}
