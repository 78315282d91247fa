//! What one member brings to a target.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    member::ServiceShards,
    model::{Link, Shard},
    store::Locality,
};

/// A member's shards by Service; a Service that the member does not have has no row.
pub type ServicesOfMember = BTreeMap<ObjectName, Arc<ServiceShards>>;

/// One member of a gateway. Offers are passed in the order of `remote-clusters`.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The member.
    pub member: &'a MemberId,
    /// Where it is.
    pub locality: &'a Locality,
    /// How far it is from the gateway: the least is used first, the greater for what is left.
    pub rank: u32,
    /// What it has; at least the Services that the target names.
    pub services: &'a ServicesOfMember,
    /// It was never read to the end: it may have what it does not offer.
    pub is_unread: bool,
}

impl<'a> Offer<'a> {
    /// Whether the link asks for this member's endpoints at all.
    pub(super) fn is_asked(&self, link: &Link) -> bool {
        link.subset.member.as_ref().is_none_or(|id| **id == *self.member.as_str())
    }

    /// The member's shards of the link's Service, if it has the Service and is asked.
    pub(super) fn service(&self, link: &Link) -> Option<&'a ServiceShards> {
        let service = self.services.get(&link.backend.service).filter(|_| self.is_asked(link))?;
        Some(service)
    }

    /// The member's shard of the link's backend, if it has the port too.
    pub(super) fn shard(&self, link: &Link) -> Option<&'a Shard> {
        self.service(link)?.shard(&link.backend.port)
    }

    /// Whether the member may have the link's backend: it does, or nobody knows yet.
    pub(super) fn may_have(&self, link: &Link) -> bool {
        self.shard(link).is_some() || (self.is_unread && self.is_asked(link))
    }

    /// The member's Service, to say something about it.
    pub(super) fn service_ref(&self, link: &Link) -> ObjectRef {
        ObjectRef {
            scope: Scope::Member(self.member.clone()),
            kind: ObjectKind::Service,
            name: link.backend.service.clone(),
        }
    }
}
