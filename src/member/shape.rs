//! The shape of a target: how it is built in Envoy, whatever its endpoints are today.
//!
//! Depends on which members there are and have the Services, and on what the target asks of them,
//! so that scaling a member to zero changes no cluster (semantics.md 5.4). A member that was never
//! read counts as having them, so that its first list moves no route of a target that spans members,
//! and a restart while it is away moves none either (xds.md 3.15). Cost: members times links.

use std::collections::BTreeSet;

use crate::{
    diag::{Field, Reason, Severity},
    key::{BackendKey, MemberId},
    member::{
        Issue, Offer,
        groups::{self, Group},
    },
    model::{Form, Link, Protocol, Shape, Target},
};

/// The shape of a target, and what of it some member lacks. `offers` in order of `remote-clusters`.
pub fn shape(target: &Target, offers: &[Offer<'_>]) -> (Shape, Vec<Issue>) {
    let mut issues = missing(target, offers);
    issues.extend(groups::strangers(target, offers));
    let protocol = protocol(target, offers, &mut issues);
    let groups = groups::groups(target, offers);
    let form = form(&groups);
    let groups = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    (Shape { form, protocol, groups }, issues)
}

/// Composite if some group may have endpoints in two members. A link without labels takes all
/// endpoints of the members it asks, so a later link of the same backend has none left there.
fn form(groups: &[Group<'_, '_>]) -> Form {
    let mut taken: BTreeSet<(&BackendKey, &MemberId)> = BTreeSet::new();
    let mut form = Form::Plain;
    for Group { link, offers } in groups {
        let members = offers.iter().filter(|offer| offer.may_have(link));
        let members = members.map(|offer| offer.member);
        let left: Vec<_> = members.filter(|id| !taken.contains(&(&link.backend, *id))).collect();
        if left.len() > 1 {
            form = Form::Composite;
        }
        if link.subset.labels.is_empty() {
            taken.extend(left.into_iter().map(|id| (&link.backend, id)));
        }
    }
    form
}

/// The first member in order decides for the first link that somebody has.
fn protocol(target: &Target, offers: &[Offer<'_>], issues: &mut Vec<Issue>) -> Protocol {
    let mut decided: Option<(&Offer<'_>, &Link, Protocol)> = None;
    let mut told = BTreeSet::new();
    for link in &target.chain {
        for offer in offers {
            let Some(protocol) = offer.shard(link).map(|shard| shard.protocol) else { continue };
            let (first, first_link, expected) = *decided.get_or_insert((offer, link, protocol));
            if protocol != expected && told.insert((offer.member, &link.backend)) {
                let message = format!(
                    "port {} speaks {}, but {} of member {}, which comes first, speaks {}, \
                     which is used for both",
                    link.backend.port,
                    spoken(protocol),
                    first_link.backend,
                    first.member,
                    spoken(expected)
                );
                let at = Field::of(&offer.service_ref(link)).key("spec.ports");
                issues.push(Issue::on_service(at, Reason::ProtocolConflict, message));
            }
        }
    }
    decided.map_or(Protocol::Http1, |(_, _, protocol)| protocol)
}

fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    }
}

/// Services that no member has, and ports that some member's Service lacks.
fn missing(target: &Target, offers: &[Offer<'_>]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut told = BTreeSet::new();
    for link in &target.chain {
        let BackendKey { service, port } = &link.backend;
        if !told.insert(&link.backend) {
            continue;
        }
        let having: Vec<_> =
            offers.iter().filter_map(|o| Some((o.member, o.services.get(service)?))).collect();
        if having.is_empty() && !offers.iter().any(|offer| offer.is_unread) {
            // The route's own backend leads to 503; without a fallback, all is as it was.
            let is_own = link.backend == *target.backend();
            let severity = if is_own { Severity::Error } else { Severity::Warning };
            let message = format!("no member has the Service {service}");
            issues.push(Issue::on_routes(severity, Reason::ServiceNotFound, message));
        }
        for (member, shards) in having {
            if let Some(unsupported) = shards.unsupported {
                let message =
                    format!("{service} of member {member} {}; not used", unsupported.what());
                issues.push(Issue::on_routes(Severity::Warning, unsupported.reason(), message));
            } else if shards.shard(port).is_none() {
                let message = format!("{service} of member {member} has no port `{port}`");
                issues.push(Issue::on_routes(Severity::Warning, Reason::PortNotFound, message));
            }
        }
    }
    issues
}
